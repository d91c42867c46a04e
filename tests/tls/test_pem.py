"""tls/pem.py: bytes as a file that OpenSSL can open, of which nothing is left."""

import os
import ssl
import stat

import pytest

from greenhttp.tls import pem
from greenhttp.tls.pem import Encrypted, Pair
from tests.tls import certificates


def open_files():
    return set(os.listdir("/dev/fd"))


@pytest.fixture(params=["memory", "disk"])
def way(request, monkeypatch, tmp_path):
    if request.param == "disk":
        monkeypatch.setattr(pem, "_memory", lambda: (-1, ""))
        monkeypatch.setattr(pem, "_DIRECTORIES", (str(tmp_path / "missing"), str(tmp_path)))
    elif not hasattr(os, "memfd_create"):
        pytest.skip("no files in memory here")
    return request.param


def test_the_bytes_can_be_read_by_name_and_are_gone_afterwards(way, tmp_path):
    before = open_files()
    with pem.as_file(b"secret") as path:
        with open(path, "rb") as first, open(path, "rb") as second:
            assert (first.read(), second.read()) == (b"secret", b"secret")
        if way == "disk":
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
            assert os.path.dirname(path) == str(tmp_path)
        else:
            assert not os.listdir(tmp_path)
    assert not os.path.exists(path) and not os.listdir(tmp_path)
    assert open_files() == before


def test_they_are_gone_after_an_error_too(way, tmp_path):
    before = open_files()
    with pytest.raises(ZeroDivisionError), pem.as_file(b"secret") as path:
        raise ZeroDivisionError
    assert not os.path.exists(path) and not os.listdir(tmp_path) and open_files() == before


def test_no_child_inherits_them(way):
    with pem.as_file(b"secret"):
        opened = [int(name) for name in open_files() if name not in ("0", "1", "2")]
        ours = [fd for fd in opened if _is(fd, b"secret")]
        assert len(ours) == 1 and not os.get_inheritable(ours[0])


def _is(fd, data):
    try:
        return os.pread(fd, 100, 0) == data
    except OSError:
        return False


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no files in memory here")
@pytest.mark.parametrize("why", ["no proc", "forbidden"])
def test_where_there_is_no_memory_by_name_it_is_a_file(monkeypatch, tmp_path, why):
    def refused(*_):
        raise OSError(1, "forbidden")

    if why == "no proc":
        monkeypatch.setattr(pem.os, "access", lambda *_: False)
    else:
        monkeypatch.setattr(pem.os, "memfd_create", refused)
    monkeypatch.setattr(pem, "_DIRECTORIES", (str(tmp_path),))
    before = open_files()
    with pem.as_file(b"secret") as path:
        assert path.startswith(str(tmp_path))
    assert open_files() == before


def test_a_pair_is_loaded(way):
    leaf = certificates.leaf()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Pair(leaf.chain, leaf.key, None, "c", "k").load(context)
    encrypted = leaf.encrypted(b"sesame")
    Pair(encrypted.chain, encrypted.key, b"sesame", "c", "k").load(context)
    with pytest.raises(ssl.SSLError):
        Pair(encrypted.chain, encrypted.key, b"wrong", "c", "k").load(context)
    with pytest.raises(Encrypted):  # and OpenSSL asks nobody at the terminal
        Pair(encrypted.chain, encrypted.key, None, "c", "k").load(context)


def test_a_pair_shows_no_secret():
    leaf = certificates.leaf().encrypted(b"sesame")
    for text in (repr, str, "{}".format, "{!r}".format):
        assert text(Pair(leaf.chain, leaf.key, b"sesame", "c.pem", "k.pem")) == "Pair('c.pem', 'k.pem')"
