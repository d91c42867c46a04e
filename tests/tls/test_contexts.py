"""tls/contexts.py, tls/__init__.py: contexts as the server makes them, tried with Python's own client in memory."""

import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from greenhttp import tls
from greenhttp.errors import ConfigError
from greenhttp.green.tls import Certificates
from greenhttp.settings.values import Settings
from greenhttp.tls import contexts
from greenhttp.tls.material import read, read_one
from tests.tls import certificates
from tests.tls.certificates import put


def agreed(server, client, name="localhost", session=None):
    """Both ends after a handshake in memory, in which the client may go on with a session."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname=name, session=session),
        server.wrap_bio(up, down, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(20):
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
        if not waiting:
            ends[1].write(b"hello")
            assert ends[0].read(5) == b"hello"
            return ends
    raise AssertionError("no handshake")


def trusting(**changes):
    client = ssl.create_default_context(cadata=certificates.authority().authorities().decode())
    for name, value in changes.items():
        setattr(client, name, value)
    return client


@pytest.fixture
def chain(tmp_path):
    return certificates.leaf().write(tmp_path)[0]


def test_a_server_for_scripts(chain):
    client, server = agreed(tls.server(chain), tls.client(authority_of(chain)))
    assert server.version() == client.version() == "TLSv1.3"
    assert client.getpeercert()["subjectAltName"][0] == ("DNS", "localhost")
    assert server.getpeercert() is None


def authority_of(chain):
    return put(Path(chain).with_name("authority.pem"), certificates.authority().authorities())


def test_a_client_trusts_nobody_else(tmp_path, chain):
    other = put(tmp_path / "other.pem", certificates.other_authority().authorities())
    with pytest.raises(ssl.SSLCertVerificationError):
        agreed(tls.server(chain), tls.client(other))
    with pytest.raises(ssl.SSLCertVerificationError):  # those of the system do not know it either
        agreed(tls.server(chain), tls.client())
    with pytest.raises(ssl.SSLCertVerificationError, match="a.example"):
        agreed(tls.server(chain), tls.client(authority_of(chain)), "a.example")


@pytest.mark.parametrize("key", ["p256", "p384", "rsa", "ed25519"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_every_kind_of_key_serves_both_versions(tmp_path, key, version):
    chain, _ = certificates.leaf(key=key).write(tmp_path)
    _, server = agreed(tls.server(chain), trusting(maximum_version=version))
    assert server.version() == version.name.replace("_", ".")
    name = server.cipher()[0]
    if version == ssl.TLSVersion.TLSv1_2:
        assert name.startswith("ECDHE-") and ("GCM" in name or "CHACHA20" in name)


def test_suites_of_tls_1_2_have_forward_secrecy_and_authenticate(chain):
    older = [suite for suite in tls.server(chain).get_ciphers() if suite["protocol"] != "TLSv1.3"]
    assert older and all(suite["aead"] and suite["kea"] in ("kx-ecdhe", "any") for suite in older), older
    assert not [suite["name"] for suite in older if not suite["name"].startswith("ECDHE-")]


@pytest.mark.parametrize("suites", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE+AESCCM"])
def test_a_client_that_only_knows_weaker_ones_is_refused(chain, suites):
    client = trusting(maximum_version=ssl.TLSVersion.TLSv1_2)
    client.set_ciphers(suites)
    with pytest.raises(ssl.SSLError):
        agreed(tls.server(chain), client)
    if suites.startswith("ECDHE"):
        assert agreed(tls.server(chain, ciphers=suites), client)[1].cipher()[0].startswith("ECDHE")


def test_the_servers_preference_counts_but_for_a_client_that_would_rather_have_chacha(chain):
    client = trusting(maximum_version=ssl.TLSVersion.TLSv1_2)
    suites = ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    small, large, chacha = (f"ECDHE-ECDSA-{suite}" for suite in suites)
    for wanted, chosen in (([large, small], small), ([large, chacha, small], small), ([chacha, large, small], chacha)):
        client.set_ciphers(":".join(wanted))
        assert agreed(tls.server(chain), client)[1].cipher()[0] == chosen


def test_the_oldest_version(chain):
    old = trusting(maximum_version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError):
        agreed(tls.server(chain, minimum="1.3"), old)
    assert tls.server(chain).minimum_version == ssl.TLSVersion.TLSv1_2


def test_no_compression_no_renegotiation(chain):
    for context in (tls.server(chain), tls.client()):
        assert context.options & ssl.OP_NO_COMPRESSION and context.options & ssl.OP_NO_RENEGOTIATION
    _, server = agreed(tls.server(chain), trusting(maximum_version=ssl.TLSVersion.TLSv1_2))
    assert server.compression() is None


@pytest.mark.parametrize(
    ("offered", "wanted", "got"),
    [(["h2", "http/1.1"], ("http/1.1",), "http/1.1"), (["h2"], ("http/1.1",), None), (["b", "a"], ("a", "b"), "a"),
     (["http/1.1"], (), None)],
)  # fmt: skip
def test_alpn(chain, offered, wanted, got):
    client = trusting()
    client.set_alpn_protocols(offered)
    assert agreed(tls.server(chain, alpn=wanted), client)[1].selected_alpn_protocol() == got


def test_clients_with_a_certificate(tmp_path, chain):
    authority = authority_of(chain)
    alice, _ = certificates.client("alice").write(tmp_path, "alice")
    mallory, _ = certificates.other_authority().leaf("m@example.com", common="mallory").write(tmp_path, "mallory")
    for reqs in (ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED):
        server = tls.server(chain, ca_certs=authority, cert_reqs=reqs)
        _, end = agreed(server, tls.client(authority, certfile=alice))
        assert (("commonName", "alice"),) in end.getpeercert()["subject"]
        with pytest.raises(ssl.SSLError):
            agreed(server, tls.client(authority, certfile=mallory))
    assert agreed(tls.server(chain, ca_certs=authority, cert_reqs=ssl.CERT_OPTIONAL), tls.client(authority))
    with pytest.raises(ssl.SSLError):
        agreed(tls.server(chain, ca_certs=authority, cert_reqs=ssl.CERT_REQUIRED), tls.client(authority))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_of_clients_with_a_certificate_are_resumed(tmp_path, chain, version):
    """Without a session id context OpenSSL would end such a handshake with an error."""
    authority = authority_of(chain)
    server = tls.server(chain, ca_certs=authority, cert_reqs=ssl.CERT_REQUIRED)
    client = tls.client(authority, certfile=certificates.client("alice").write(tmp_path, "alice")[0])
    client.maximum_version = version
    first, _ = agreed(server, client)
    second, end = agreed(server, client, session=first.session)
    assert second.session_reused and end.session_reused
    assert (("commonName", "alice"),) in end.getpeercert()["subject"]


def test_the_whole_chain_is_sent(tmp_path):
    chain, _ = certificates.intermediate().write(tmp_path)
    client, _ = agreed(tls.server(chain), trusting())
    assert client.getpeercert()


# ---- from settings


def made(tmp_path, **leaves):
    """Settings with a certificate of each."""
    return Settings(certfile=[leaf.write(tmp_path, name)[0] for name, leaf in leaves.items()])


def test_each_certificate_has_its_context_and_names(tmp_path):
    leaves = {"a": certificates.leaf("a.example", "*.a.example"), "b": certificates.leaf("b.example")}
    found = list(contexts.named_contexts(read(made(tmp_path, **leaves))))
    assert [names for names, _ in found] == [("*.a.example", "a.example"), ("b.example",)]
    for (names, context), expected in zip(found, leaves.values(), strict=True):
        client, _ = agreed(context, trusting(), names[-1])
        assert ssl.DER_cert_to_PEM_cert(client.getpeercert(True)).encode() == expected.chain


def test_certificates_for_the_same_names_share_a_context(tmp_path):
    """An old client that knows only RSA gets that certificate, all others the other one."""
    ecdsa, rsa = certificates.leaf("a.example"), certificates.leaf("a.example", key="rsa")
    ((names, context),) = contexts.named_contexts(read(made(tmp_path, ecdsa=ecdsa, rsa=rsa)))
    client = trusting(maximum_version=ssl.TLSVersion.TLSv1_2)
    for suites, leaf in (("ECDHE+ECDSA", ecdsa), ("ECDHE+aRSA", rsa)):
        client.set_ciphers(suites)
        end, _ = agreed(context, client, "a.example")
        assert ssl.DER_cert_to_PEM_cert(end.getpeercert(True)).encode() == leaf.chain


def test_of_two_of_one_kind_the_first_counts(tmp_path):
    first, second = certificates.leaf("a.example"), certificates.leaf("a.example", days=50)
    ((_, context),) = contexts.named_contexts(read(made(tmp_path, first=first, second=second)))
    end, _ = agreed(context, trusting(), "a.example")
    assert ssl.DER_cert_to_PEM_cert(end.getpeercert(True)).encode() == first.chain


def test_certificates_choose_by_name(tmp_path):
    leaves = {"a": certificates.leaf("a.example"), "b": certificates.leaf("*.b.example")}
    material = read(made(tmp_path, **leaves))
    chooser = Certificates(contexts.named_contexts(material))
    assert [names for names, _ in chooser.contexts] == [("a.example",), ("*.b.example",)]
    first, second = (context for _, context in chooser.contexts)
    assert chooser.chosen("x.b.example") is second
    assert chooser.chosen("a.example") is chooser.chosen("elsewhere") is first


def test_settings_reach_the_context(tmp_path, chain):
    ca = authority_of(chain)
    settings = Settings(certfile=chain, ca_certs=ca, cert_reqs="required", ciphers="ECDHE+AESGCM", tls_min="1.3")
    ((_, context),) = contexts.named_contexts(read(settings))
    assert (context.verify_mode, context.minimum_version) == (ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_3)
    assert len(context.get_ca_certs()) == 1
    assert all("CHACHA" not in suite["name"] for suite in context.get_ciphers() if suite["protocol"] != "TLSv1.3")


def test_gunicorns_hook_makes_the_context(chain):
    asked = []

    def hook(factory):
        asked.append(context := factory())
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    ((_, context),) = contexts.named_contexts(read(Settings(certfile=chain)), hook)
    assert asked == [context] and context.minimum_version == ssl.TLSVersion.TLSv1_3
    ((_, context),) = contexts.named_contexts(read(Settings(certfile=chain)), hook)
    assert asked[1:] == [context]


def test_contexts_of_what_has_not_changed_are_kept(tmp_path):
    leaves = {name: certificates.leaf(f"{name}.example") for name in "abc"}
    settings, kept, pauses = made(tmp_path, **leaves), contexts.Kept(), []

    def of(settings, hook=None, alpn=contexts.HTTP):
        pauses.clear()
        named = list(contexts.named_contexts(read(settings), hook, alpn, kept, lambda: pauses.append(1)))
        return [context for _, context in named]

    first = of(settings)
    assert len(set(first)) == 3 and len(pauses) == 6  # for the names of each, and for its context
    assert of(settings) == first and pauses == []  # though the key of tickets is another
    certificates.leaf("b.example", days=50).write(tmp_path, "b")
    second = of(settings)
    assert [one is two for one, two in zip(first, second, strict=True)] == [True, False, True] and len(pauses) == 2
    assert len(kept.contexts) == len(kept.names) == 3
    assert of(settings.replace(certfile=settings.certfile[::-1])) == second[::-1]  # another default
    for other in (
        settings.replace(tls_min="1.3"), settings.replace(ciphers="ECDHE+AESGCM"),
        settings.replace(ca_certs=authority_of(settings.certfile[0])),
    ):  # fmt: skip
        assert not set(of(other)) & set(second)
    assert not set(of(settings, alpn=())) & set(of(settings)) and not set(of(settings)) & set(second)
    hooked = of(settings, lambda factory: factory())
    assert not set(of(settings, lambda factory: factory())) & set(hooked)  # which is asked for each
    assert not set(of(settings)) & set(hooked)
    before = dict(kept.contexts)
    put(Path(settings.certfile[0]), certificates.leaf("z.example").chain)
    put(Path(settings.certfile[0]).with_suffix(".key"), certificates.leaf("z.example").key)
    with pytest.raises(RuntimeError):
        for _ in contexts.named_contexts(read(settings), None, contexts.HTTP, kept):
            raise RuntimeError
    assert kept.contexts == before


@pytest.mark.parametrize(
    ("made", "line"),
    [(lambda factory: None, "^ssl_context returned NoneType; an ssl.SSLContext is needed"),
     (lambda factory: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "^ssl_context returned a context for clients")],
)  # fmt: skip
def test_a_hook_that_makes_no_context(chain, made, line):
    with pytest.raises(ConfigError, match=line):
        list(contexts.named_contexts(read(Settings(certfile=chain)), made))


def test_what_a_script_gives_is_checked(tmp_path, chain):
    with pytest.raises(ConfigError, match="^certfile: nowhere: there is no such file"):
        tls.server("nowhere")
    with pytest.raises(ConfigError, match="^ca_certs: nowhere: there is no such file"):
        tls.client("nowhere")
    with pytest.raises(ConfigError, match="is not the key of the first certificate"):
        tls.client(certfile=certificates.mismatched(tmp_path, "wrong")[0])
    assert read_one(chain).minimum == "1.2"


def test_importing_it_loads_nothing():
    code = "import sys, greenhttp.tls; late = {'ssl', 'socket', 'gevent'} & set(sys.modules); assert not late, late"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_script_needs_no_hub(chain):
    code = (
        "import sys; from greenhttp import tls; tls.server(sys.argv[1]); tls.client();"
        "assert not [name for name in sys.modules if name.startswith('gevent')]"
    )
    subprocess.run([sys.executable, "-c", code, chain], check=True, timeout=60)
