"""tls/material.py: what the files of certificates must be, and the words for what they are not."""

import base64
import os
import pickle
import subprocess
import sys

import pytest

from greenhttp.errors import ConfigError
from greenhttp.settings.values import Settings
from greenhttp.tls.material import CIPHERS, Material, authorities, read, read_one
from tests.tls import certificates
from tests.tls.certificates import put


def told(**settings):
    """Why they are refused; each message is one line."""
    with pytest.raises(ConfigError) as failure:
        read(Settings(**settings))
    assert "\n" not in str(failure.value)
    return str(failure.value)


@pytest.mark.parametrize("key", ["p256", "p384", "rsa", "ed25519"])
@pytest.mark.parametrize("way", ["beside", "given", "inside", "encrypted"])
def test_a_pair_is_read(tmp_path, key, way):
    leaf = certificates.leaf("a.example", key=key)
    if way == "encrypted":
        leaf = leaf.encrypted()
    chain, secret = leaf.write(tmp_path)
    settings = {"certfile": chain}
    if way == "inside":
        settings = {"certfile": leaf.both(tmp_path / "both.pem")}
    elif way == "given":
        settings["keyfile"] = put(tmp_path / "elsewhere", leaf.key)
    elif way == "encrypted":
        settings["keyfile_password"] = "sesame"
    (pair,) = read(Settings(**settings)).pairs
    assert leaf.chain.strip() in pair.chain and leaf.key.strip() in pair.key
    assert pair.password == (b"sesame" if way == "encrypted" else None)


def test_the_rest_is_taken_from_the_settings(tmp_path):
    chain, _ = certificates.leaf().write(tmp_path)
    ca = put(tmp_path / "ca.pem", certificates.authority().authorities())
    usual = read(Settings(certfile=chain))
    assert (usual.authorities, usual.cert_reqs, usual.ciphers, usual.minimum) == (b"", "none", CIPHERS, "1.2")
    given = read(Settings(certfile=chain, ca_certs=ca, cert_reqs=2, ciphers="ECDHE+AESGCM", tls_min="1.3"))
    assert given.authorities == certificates.authority().authorities()
    assert (given.cert_reqs, given.ciphers, given.minimum) == ("required", "ECDHE+AESGCM", "1.3")


def test_a_key_for_tickets_is_made_unless_there_are_some(tmp_path):
    settings = Settings(certfile=certificates.leaf().write(tmp_path)[0])
    (first,), (second,) = read(settings).ticket_keys, read(settings).ticket_keys
    assert len(first) == 80 and first != second
    assert read(settings, [second, first]).ticket_keys == (second, first)


def test_it_is_the_same_behind_a_pipe(tmp_path):
    leaf = certificates.leaf().encrypted(b"\xff\x00 sesame")
    chain, key = leaf.write(tmp_path)
    other, _ = certificates.leaf("b.example").write(tmp_path, "b")
    put(tmp_path / "password", b"\xff\x00 sesame\n")
    ca = put(tmp_path / "ca.pem", leaf.authority)
    settings = Settings(certfile=[chain, other], keyfile_password=f"file:{tmp_path / 'password'}", ca_certs=ca)
    material = read(settings, [b"k" * 80, b"l" * 80])
    assert material.pairs[0].password == b"\xff\x00 sesame" and material.pairs[1].password is None
    assert Material.from_bytes(material.to_bytes()) == material


def test_its_repr_shows_no_secret(tmp_path):
    leaf = certificates.leaf().encrypted()
    chain, key = leaf.write(tmp_path)
    material = read(Settings(certfile=chain, keyfile_password="sesame"), [b"ticket" + b"k" * 74])
    assert repr(material).startswith(f"Material(pairs=(Pair('{chain}', '{key}'),), cert_reqs='none', ")
    assert "sesame" not in repr(material) and "BEGIN" not in repr(material) and "ticket" not in repr(material)


# ---- what is wrong


def test_files_that_are_something_else(tmp_path):
    leaf = certificates.leaf()
    chain, key = leaf.write(tmp_path)
    der = put(tmp_path / "a.der", b"\x30\x82\x01\x00abc")
    empty, text = put(tmp_path / "empty", b" \n"), put(tmp_path / "text", b"hello")
    assert told(certfile=key, keyfile=chain) .startswith(f"certfile: {key}: it is a private key without a certificate;")
    assert told(certfile=chain, keyfile=chain) == f"keyfile: {chain}: it is a certificate, not a key"
    assert told(certfile=empty) == f"certfile: {empty}: it is empty"
    assert told(certfile=text) == f"certfile: {text}: it is not a PEM certificate"
    assert told(certfile=der).startswith(f"certfile: {der}: it is not a PEM certificate but in binary form (DER or PKC")
    assert "convert it with openssl x509 -inform der" in told(certfile=der)
    assert told(certfile=chain, keyfile=text) == f"keyfile: {text}: it is not a private key in PEM"
    assert told(certfile=chain, keyfile=der).startswith(f"keyfile: {der}: it is not a private key in PEM but in binary")
    assert told(certfile="nowhere.pem") == "certfile: nowhere.pem: there is no such file"
    assert told(certfile=chain, keyfile="nowhere.key") == "keyfile: nowhere.key: there is no such file"
    assert told() == "certfile: there is no certificate; give certfile"


def test_a_key_that_is_nowhere(tmp_path):
    alone = put(tmp_path / "fullchain.pem", certificates.leaf().chain)
    places = r"privkey.pem, fullchain.key, fullchain-key.pem, fullchain.pem.key"
    assert told(certfile=alone) == f"certfile: {alone}: its key is not in it, nor beside it ({places}); give keyfile"


@pytest.mark.parametrize("key", ["p256", "rsa", "ed25519"])
def test_a_key_of_another_certificate(tmp_path, key):
    chain, secret = certificates.mismatched(tmp_path, key=key)
    assert told(certfile=chain) == (
        f"keyfile: {secret} is not the key of the first certificate in {chain}; give the key it was made with, or put"
        " the server's own certificate first"
    )


def test_a_chain_in_the_wrong_order(tmp_path):
    leaf = certificates.intermediate()
    end = b"-----END CERTIFICATE-----\n"
    first, second, _ = leaf.chain.split(end)
    chain = put(tmp_path / "c.pem", second + end + first + end)
    line = told(certfile=chain, keyfile=put(tmp_path / "k", leaf.key))
    assert line.endswith("put the server's own certificate first")


@pytest.mark.parametrize("key", ["p256", "rsa"])
def test_passwords(tmp_path, key):
    chain, secret = certificates.leaf(key=key).encrypted().write(tmp_path)
    assert told(certfile=chain) == f"keyfile: {secret}: the key is encrypted; give keyfile_password"
    wrong = f"keyfile: {secret}: keyfile_password does not decrypt this key; correct the password"
    for password in ("Sesame", "s\u00e9same", "s" * 2000):  # OpenSSL takes 1024 bytes at most
        assert told(certfile=chain, keyfile_password=password) == wrong
    for content in (b"sesame", b"sesame\n", b"sesame\r\nanother line"):
        path = put(tmp_path / "password", content)
        assert read(Settings(certfile=chain, keyfile_password=f"file:{path}")).pairs[0].password == b"sesame"
    empty = put(tmp_path / "password", b"\nsesame\n")
    assert told(certfile=chain, keyfile_password=f"file:{empty}") == (
        f"keyfile_password: {empty}: its first line is empty; write the password there"
    )
    assert told(certfile=chain, keyfile_password="file:nowhere") == "keyfile_password: nowhere: there is no such file"


def test_no_message_shows_a_secret(tmp_path):
    chain, secret = certificates.leaf().encrypted(b"open").write(tmp_path)
    body = (tmp_path / "server.key").read_text().splitlines()[1]
    for line in (told(certfile=chain, keyfile_password="sesame"), told(certfile=chain)):
        assert "sesame" not in line and body not in line


def test_the_text_of_a_file_in_the_place_of_its_name_is_not_shown(tmp_path):
    leaf = certificates.leaf("a.example")
    chain, _ = leaf.write(tmp_path)
    texts = {"certfile": (leaf.key.decode(), None), "keyfile": (chain, leaf.key), "ca_certs": (chain,)}
    for name, given in texts.items():
        with pytest.raises(ConfigError) as failure:
            read_one(*given, ca_certs=leaf.key.decode() if name == "ca_certs" else None)
        assert str(failure.value) == f"{name}: this is the text of a PEM file; write it to a file and give its path"


def test_messages_say_what_to_do(tmp_path):
    leaf = certificates.leaf("a.example")
    chain, key = leaf.write(tmp_path)
    assert told(certfile=key) == (
        f"certfile: {key}: it is a private key without a certificate; give it as keyfile, and its certificate as"
        " certfile"
    )
    der = put(tmp_path / "der", base64.b64decode(b"".join(leaf.key.splitlines()[1:-1])))
    assert "in binary form (DER or PKCS #12); convert it" in told(certfile=chain, keyfile=der)
    bom = put(tmp_path / "bom.pem", b"\xef\xbb\xbf" + leaf.chain[:200])
    assert told(certfile=bom, keyfile=key).endswith("; it may be damaged, or save it without the byte order mark")
    cut = put(tmp_path / "cut.pem", leaf.chain[:200])
    assert told(certfile=cut, keyfile=key).endswith("; it may be damaged, or cut off")
    told_of = f"keyfile: {tmp_path} is a directory, whose keys are beside the certificates; leave out keyfile"
    assert told(certfile=str(tmp_path), keyfile=key) == told_of
    assert told(certfile=chain, keyfile_password="file:") == (
        "keyfile_password: file: has no path behind it; give file:/path"
    )
    secret = leaf.encrypted().write(tmp_path, "secret")[0]
    path = put(tmp_path / "password", b"sesame")
    said = told(certfile=secret, keyfile_password=path)
    assert said.endswith("it is the name of a file: write file: before it to have the password read from there")
    assert path not in said


def test_a_terminal_is_asked_for_no_password(tmp_path):
    """OpenSSL would, and wait."""
    chain, secret = certificates.leaf().encrypted().write(tmp_path)
    code = "import sys; from greenhttp import tls; tls.server(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, chain], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[-1].endswith(f"{secret}: the key is encrypted; give keyfile_password")
    assert "PEM pass phrase" not in done.stderr + done.stdout


def test_damaged_files(tmp_path):
    leaf, long = certificates.leaf(), certificates.intermediate()
    chain, key = leaf.write(tmp_path)
    begin = leaf.chain.index(b"\n") + 1
    put(tmp_path / "server.pem", leaf.chain[:begin] + b"AAAA" + leaf.chain[begin + 4 :])
    assert told(certfile=chain).startswith(f"certfile: {chain}: OpenSSL cannot read this certificate")
    put(tmp_path / "server.pem", leaf.chain)
    for data in (leaf.key[:100], leaf.key[:100] + leaf.key[120:]):
        put(tmp_path / "server.key", data)
        assert told(certfile=chain).startswith(f"keyfile: {key}: OpenSSL cannot read this key")
    chain, _ = certificates.Leaf(long.chain[:-300], long.key, b"").write(tmp_path, "cut")
    assert told(certfile=chain).startswith(f"certfile: {chain}: OpenSSL cannot read all its certificates")


def test_a_key_that_is_too_short(tmp_path):
    chain = certificates.of_rsa_bits(1024).both(tmp_path / "weak.pem")
    assert told(certfile=chain).startswith(f"certfile: {chain}: OpenSSL refuses it (ee key too small); have one made")


def test_what_has_expired_is_no_error(tmp_path):
    ((_, described),) = read(Settings(certfile=certificates.expired("a.example").write(tmp_path)[0])).described()
    assert described.names == ("a.example",) and described.doubt(described.ends + 86400).startswith("expired 1 day ago")


def test_authorities(tmp_path):
    chain, key = certificates.leaf().write(tmp_path)
    assert told(certfile=chain, cert_reqs="optional") == (
        "cert_reqs: optional needs the authorities that clients' certificates come from; give ca_certs"
    )
    assert told(certfile=chain, ca_certs=key) == f"ca_certs: {key}: it is not a PEM file of certificates"
    assert told(certfile=chain, ca_certs="nowhere") == "ca_certs: nowhere: there is no such file"
    cut = put(tmp_path / "cut.pem", certificates.leaf().authority[:-100])
    assert told(certfile=chain, ca_certs=cut).startswith(f"ca_certs: {cut}: OpenSSL cannot read this file")
    # with text between, as bundles of the system have it
    text = put(tmp_path / "text.pem", "# Société\n".encode() + certificates.leaf().authority)
    assert authorities(text).count(b"BEGIN") == 1


@pytest.mark.parametrize("ciphers", ["nonsense", "TLS_AES_128_GCM_SHA256"])
def test_ciphers_that_openssl_does_not_know(tmp_path, ciphers):
    chain, _ = certificates.leaf().write(tmp_path)
    line = told(certfile=chain, ciphers=ciphers)
    assert line.startswith(f"ciphers: '{ciphers}' has none that OpenSSL knows") and "give some like" in line
    assert ("those of TLS 1.3 cannot be set" in line) is ciphers.startswith("TLS_")


def test_one_certificate_for_a_script(tmp_path):
    leaf = certificates.leaf()
    chain, key = leaf.write(tmp_path)
    assert read_one(tmp_path / "server.pem").pairs == read_one(chain, key).pairs
    assert read_one(chain).ticket_keys == ()
    encrypted, _ = leaf.encrypted().write(tmp_path, "encrypted")
    assert read_one(encrypted, password="sesame").pairs[0].password == b"sesame"
    assert read_one(encrypted, password=b"sesame").pairs[0].password == b"sesame"
    for arguments, line in (
        ({"cert_reqs": 3}, "^cert_reqs: '3' is not known"),
        ({"minimum": "1.1"}, "^minimum: 1.1 is not safe any more"),
    ):
        with pytest.raises(ConfigError, match=line):
            read_one(chain, **arguments)
    with pytest.raises(ConfigError, match=f"^certfile: {tmp_path}: there are 2 certificates in it; give the"):
        read_one(tmp_path)


def test_a_master_reads_without_ssl(tmp_path):
    """It must come after the patch, in the workers."""
    chain, _ = certificates.leaf().write(tmp_path)
    code = (
        "import sys; from greenhttp.tls.material import read; from greenhttp.settings.values import Settings;"
        "import greenhttp.tls.renewal;"
        "m = read(Settings(certfile=sys.argv[1])); m.described(); m.to_bytes();"
        "late = {'ssl', 'socket', 'gevent', 'greenlet'} & set(sys.modules); assert not late, late"
    )
    subprocess.run([sys.executable, "-c", code, chain], check=True, timeout=60)


def test_nothing_is_left_open(tmp_path):
    chain, _ = certificates.leaf().write(tmp_path)
    os.mkdir(tmp_path / "directory")
    before = set(os.listdir("/dev/fd"))
    read(Settings(certfile=chain))
    told(certfile=chain, keyfile=str(tmp_path / "directory"))
    assert set(os.listdir("/dev/fd")) == before


def test_it_is_no_pickle(tmp_path):
    """What comes from a pipe is read as data alone."""
    data = read(Settings(certfile=certificates.leaf().write(tmp_path)[0])).to_bytes()
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(data)
