"""tls/files.py: which files are a certificate and its key, and when they have changed."""

import os

import pytest

from greenhttp.errors import ConfigError
from greenhttp.settings.values import Settings
from greenhttp.tls.files import Unreadable, content, looked_at, places
from tests.tls.certificates import leaf, put

CHAIN, KEY = leaf("a.example").chain, leaf("a.example").key


def found(directory, **settings):
    """The pairs, without the directory that all are in."""
    def short(path):
        return path and os.path.relpath(path, directory)

    return [(short(chain), short(key)) for chain, key in places(Settings(**settings))]


def tree(directory, *names):
    """Files of these names: keys for those that end like one, certificates, or both for `+`."""
    for name in names:
        path = directory / name.rstrip("+")
        path.parent.mkdir(parents=True, exist_ok=True)
        is_key = path.name.endswith((".key", "-key.pem")) or path.name in ("key.pem", "privkey.pem")
        put(path, CHAIN + KEY if name.endswith("+") else KEY if is_key else CHAIN)


@pytest.mark.parametrize(
    ("chain", "key"),
    [
        ("a.pem", "a.key"), ("a.crt", "a.key"), ("a.pem", "a-key.pem"), ("tls.crt", "tls.key"), ("a.pem", "a.pem.key"),
        ("fullchain.pem", "privkey.pem"), ("cert.pem", "privkey.pem"), ("cert.pem", "key.pem"), ("a", "a.key"),
    ],
)  # fmt: skip
def test_a_key_is_found_beside_its_certificate(tmp_path, chain, key):
    tree(tmp_path, chain, key)
    assert found(tmp_path, certfile=str(tmp_path / chain)) == [(chain, key)]


def test_the_key_in_the_file_comes_before_one_beside_it(tmp_path):
    tree(tmp_path, "a.pem+", "a.key")
    assert found(tmp_path, certfile=str(tmp_path / "a.pem")) == [("a.pem", None)]


def test_keys_are_given_in_the_order_of_the_certificates(tmp_path):
    tree(tmp_path, "a.pem", "b.pem", "dir/c.pem", "dir/c.key")
    certfile = [str(tmp_path / name) for name in ("a.pem", "dir", "b.pem")]
    pairs = found(tmp_path, certfile=certfile, keyfile=[str(tmp_path / "1"), str(tmp_path / "2")])
    assert pairs == [("a.pem", "1"), ("dir/c.pem", "dir/c.key"), ("b.pem", "2")]
    same = str(tmp_path / "1")
    assert found(tmp_path, certfile=[certfile[0], certfile[2]], keyfile=[same, same])[1] == ("b.pem", "1")


@pytest.mark.parametrize("keys", [["1"], ["1", "2", "3"]])
def test_keys_for_some_certificates_alone_are_refused(tmp_path, keys):
    with pytest.raises(ConfigError, match=rf"^keyfile: {len(keys)} for 2 of certfile; give one for each"):
        places(Settings(certfile=["a", "b"], keyfile=keys))


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["live/b/fullchain.pem", "live/b/privkey.pem", "live/b/cert.pem", "live/b/chain.pem", "live/README",
          "live/a/fullchain.pem", "live/a/privkey.pem"],
         [("live/a/fullchain.pem", "live/a/privkey.pem"), ("live/b/fullchain.pem", "live/b/privkey.pem")]),
        (["fullchain.pem", "privkey.pem", "cert.pem", "chain.pem"], [("fullchain.pem", "privkey.pem")]),
        (["fullchain.pem", "privkey.pem", "cert.pem", "chain.pem", "a.pem", "a.key", "b/c.crt", "b/c.key"],
         [("fullchain.pem", "privkey.pem"), ("a.pem", "a.key"), ("b/c.crt", "b/c.key")]),
        (["b.crt", "b.key", "a.pem", "a.key", "ca.crt", "c.cert", "c-key.pem"],
         [("a.pem", "a.key"), ("b.crt", "b.key"), ("c.cert", "c-key.pem")]),
        (["both.pem+", "ca.pem"], [("both.pem", None)]),
        ([".hidden.pem", ".hidden.key", "..data/x.crt", "..data/x.key", "a.crt", "a.key"], [("a.crt", "a.key")]),
        (["one/two/a.crt", "one/two/a.key", "one/b.crt", "one/b.key"], [("one/b.crt", "one/b.key")]),
        (["a.key", "b.crt", "b.key"], [("b.crt", "b.key")]),
    ],
)  # fmt: skip
def test_a_directory_stands_for_the_pairs_in_it(tmp_path, names, pairs):
    tree(tmp_path, *names)
    top = tmp_path / "live" if names[0].startswith("live/") else tmp_path
    assert found(tmp_path, certfile=str(top)) == pairs


def test_a_directory_as_certbot_has_it_is_links(tmp_path):
    tree(tmp_path, "archive/a/fullchain1.pem", "archive/a/privkey1.pem")
    put(tmp_path / "archive/a/privkey1.pem", KEY)
    live = tmp_path / "live" / "a"
    live.mkdir(parents=True)
    for name in ("fullchain", "privkey"):
        (live / f"{name}.pem").symlink_to(f"../../archive/a/{name}1.pem")
    assert found(live, certfile=str(live.parent)) == [("fullchain.pem", "privkey.pem")]


def test_a_directory_without_a_pair_says_what_it_needs(tmp_path):
    tree(tmp_path, "ca.pem", "a.key")
    with pytest.raises(ConfigError, match=rf"^certfile: {tmp_path}: there is no certificate with a key in this direc"):
        places(Settings(certfile=str(tmp_path)))


def test_certbots_chain_needs_its_key(tmp_path):
    tree(tmp_path, "a/fullchain.pem", "b.crt", "b.key")
    with pytest.raises(ConfigError, match=r"^certfile: .*/a/fullchain.pem: its key is missing; privkey.pem must be"):
        places(Settings(certfile=str(tmp_path)))


@pytest.mark.parametrize("setting", ["certfile", "keyfile", "ca_certs"])
def test_what_cannot_be_read(tmp_path, setting):
    (tmp_path / "large.pem").write_bytes(b"x" * ((1 << 20) + 1))
    (tmp_path / "link.pem").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo.pem")
    for name, why in (
        ("none.pem", ": there is no such file"), ("large.pem", " is larger than 1 MiB"), ("fifo.pem", " is not a file"),
        ("link.pem", ": there is no such file, but a link to one that is gone"), ("", " is not a file"),
        ("large.pem/x", r": cannot read it \(Not a directory\)"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=f"^{setting}: {tmp_path / name}{why}"):
            content(setting, str(tmp_path / name))


def test_what_this_user_may_not_read(tmp_path, monkeypatch):
    path = tmp_path / "k.pem"

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(Unreadable, match=rf"^keyfile: {path}: cannot read it \(Perm.*\); let user \d+ read it, or "):
        content("keyfile", str(path))


def changed_by(settings, change):
    before = looked_at(settings)
    assert looked_at(settings) == before
    change()
    return looked_at(settings) != before


def test_each_file_that_counts_is_looked_at(tmp_path):
    tree(tmp_path, "a.pem", "a.key", "ca.pem", "given.key")
    (tmp_path / "password").write_text("sesame")
    certfile, ca = str(tmp_path / "a.pem"), str(tmp_path / "ca.pem")
    beside = Settings(certfile=certfile, ca_certs=ca, keyfile_password=f"file:{tmp_path / 'password'}")
    given = Settings(certfile=certfile, keyfile=str(tmp_path / "given.key"))
    for name in ("a.pem", "a.key", "ca.pem", "password"):
        assert changed_by(beside, lambda name=name: put(tmp_path / name, CHAIN)), name
    assert changed_by(given, lambda: put(tmp_path / "given.key", KEY))
    assert changed_by(beside, lambda: os.unlink(tmp_path / "a.key"))
    assert changed_by(beside, lambda: put(tmp_path / "a-key.pem", KEY))
    assert not changed_by(beside, lambda: put(tmp_path / "other.pem", KEY))


def test_a_link_is_followed(tmp_path):
    tree(tmp_path, "1.pem", "2.pem")
    (tmp_path / "a.pem").symlink_to("1.pem")

    def relinked():
        (tmp_path / "new").symlink_to("2.pem")
        (tmp_path / "new").rename(tmp_path / "a.pem")

    assert changed_by(Settings(certfile=str(tmp_path / "a.pem")), relinked)


def test_what_is_in_a_directory_is_looked_at(tmp_path):
    tree(tmp_path, "a/fullchain.pem", "a/privkey.pem")
    settings = Settings(certfile=str(tmp_path))
    assert changed_by(settings, lambda: put(tmp_path / "a" / "fullchain.pem", CHAIN))
    assert changed_by(settings, lambda: tree(tmp_path, "b/fullchain.pem"))
    assert changed_by(settings, lambda: tree(tmp_path, "b/privkey.pem"))
    assert changed_by(settings, lambda: tree(tmp_path, "c.pem"))
    assert changed_by(settings, lambda: os.unlink(tmp_path / "c.pem"))
    # written over, which the directory does not show
    assert changed_by(settings, lambda: os.utime(tmp_path / "a" / "privkey.pem", ns=(1, 1)))
    tree(tmp_path, "c.pem")
    assert changed_by(settings, lambda: os.utime(tmp_path / "c.pem", ns=(1, 1)))


def test_a_file_of_the_same_size_and_time_is_another_one(tmp_path):
    tree(tmp_path, "a.pem")
    settings, path = Settings(certfile=str(tmp_path / "a.pem")), tmp_path / "a.pem"
    when = os.stat(path).st_mtime_ns

    def replaced():
        put(path, CHAIN)
        os.utime(path, ns=(when, when))

    assert changed_by(settings, replaced)
