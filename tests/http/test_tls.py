"""What handlers and WSGI applications are told of TLS: request.tls, request.scheme, the environ; and ALPN."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from gevent import ssl

from greenhttp.green import tls as green_tls
from greenhttp.tls.agreed import agreed
from greenhttp.tls.peer import PeerCertificate
from tests import proxied as px
from tests.http.client import Client
from tests.tls import certificates

HELLO = b"GET /a%20b?c=d HTTP/1.1\r\nHost: shop.example\r\n\r\n"


@pytest.fixture(params=["direct", "simple"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(green_tls, "force_simple", request.param == "simple")
    return str(request.param)


class Seen:
    """An application of either kind that keeps what it was given."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def native(self, request: Any) -> str:
        self.requests.append(request)
        return str(request.scheme)

    def wsgi(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.requests.append(environ)
        start_response("200 OK", [])
        return [environ["wsgi.url_scheme"].encode()]


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def files(tmp_path: Any) -> dict[str, Any]:
    """Settings of a server that asks its clients for certificates."""
    certfile, keyfile = certificates.leaf("shop.example").write(tmp_path)
    ca_certs = certificates.put(tmp_path / "ca.pem", certificates.authority().authorities())
    return {"certfile": [certfile], "keyfile": [keyfile], "ca_certs": ca_certs, "cert_reqs": "optional"}


def context(tmp_path: Any = None, who: Any = None, **attributes: Any) -> Any:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(cadata=certificates.authority().authorities().decode())
    if who is not None:
        made.load_cert_chain(*who.write(tmp_path, "client"))
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def secured(serving: Any, client_context: Any, name: str = "shop.example", session: Any = None) -> Client:
    client: Client = serving.connect()
    client.sock = client_context.wrap_socket(client.sock, server_hostname=name, session=session)
    return client


# ---- native handlers


def test_a_plain_connection_has_no_tls(serve, seen):
    serving = serve(seen.native)
    assert serving.ask(HELLO).content == b"http"
    assert seen.requests[0].tls is None and seen.requests[0].scheme == "http"


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_handler_is_told_what_was_agreed_on(serve, seen, files, way, version):
    serving = serve(seen.native, **files)
    wanted = ssl.TLSVersion[version.replace(".", "_")]
    client = secured(serving, context(minimum_version=wanted, maximum_version=wanted))
    assert client.ask(HELLO).content == b"https"
    name, _, bits = client.sock.cipher()
    [request] = seen.requests
    told = request.tls
    assert (told.version, told.cipher, told.bits) == (version, name, bits)
    assert told[4:] == (None, False, None, False)
    assert told.server_name == "shop.example" or (way == "simple" and told.server_name is None)
    assert request.scheme == "https" and request.host == "shop.example"


def test_what_was_agreed_on_can_be_read_after_the_connection_has_gone(serve, seen, files, tmp_path):
    serving = serve(seen.native, **files)
    client = secured(serving, context(tmp_path, certificates.client("alice")))
    client.ask(HELLO)
    client.close()
    serving.until(lambda: serving.count("connections") == 0)
    [request] = seen.requests
    assert request.scheme == "https" and request.tls.version == "TLSv1.3"
    assert request.tls.certificate.common_name == "alice"


def test_the_certificate_of_a_client(serve, seen, files, tmp_path, way):
    serving = serve(seen.native, **files)
    alice = certificates.client("alice")
    secured(serving, context(tmp_path, alice)).ask(HELLO)
    [request] = seen.requests
    certificate = request.tls.certificate
    assert certificate.pem == alice.chain.decode()
    assert certificate.der == ssl.PEM_cert_to_DER_cert(alice.chain.decode())
    assert request.tls.verified and certificate.verified and certificate.names == (("email", "alice@example.com"),)
    known = certificates.x509.load_pem_x509_certificate(alice.chain)
    assert certificate.subject == known.subject.rfc4514_string()
    assert certificate.issuer == known.issuer.rfc4514_string()
    assert int(certificate.serial, 16) == known.serial_number
    assert certificate.not_before == known.not_valid_before_utc and certificate.not_after == known.not_valid_after_utc
    assert repr(certificate) == f"<PeerCertificate {certificate.subject!r}>"


def made(subject: list[list[tuple[str, str]]]) -> PeerCertificate:
    """A certificate of this subject: attributes by their numbers."""
    x509 = certificates.x509
    name = x509.Name([
        x509.RelativeDistinguishedName([
            x509.NameAttribute(x509.ObjectIdentifier(number), value) for number, value in part
        ])
        for part in subject
    ])  # fmt: skip
    key = certificates.ec.generate_private_key(certificates.ec.SECP256R1())
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(0xABC).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    signed = builder.sign(key, certificates.hashes.SHA256())
    return PeerCertificate(signed.public_bytes(certificates.serialization.Encoding.DER), False)


COUNTRY, ORG, UNIT, CN, EMAIL, UID = (
    "2.5.4.6",
    "2.5.4.10",
    "2.5.4.11",
    "2.5.4.3",
    "1.2.840.113549.1.9.1",
    "0.9.2342.19200300.100.1.1",
)


@pytest.mark.parametrize(("subject", "written"), [
    # as `openssl x509 -noout -subject -nameopt RFC2253` writes them
    ([[(COUNTRY, "DE")], [(ORG, "Example")], [(CN, "a")]], "CN=a,O=Example,C=DE"),
    ([[(ORG, 'A, "B" + C; <D>\\')]], 'O=A\\, \\"B\\" \\+ C\\; \\<D\\>\\\\'),
    ([[(ORG, " #x ")], [(UNIT, "#x")], [(CN, "a=b")]], "CN=a=b,OU=\\#x,O=\\ #x\\ "),
    ([[(CN, "Jürgen\n€")]], "CN=J\\C3\\BCrgen\\0A\\E2\\82\\AC"),
    ([[(EMAIL, "a@b.example")], [(UID, "17")]], "UID=17,emailAddress=a@b.example"),
    ([[(CN, "a"), (UID, "17")]], "UID=17+CN=a"),
    ([], ""),
])  # fmt: skip
def test_names_are_written_as_apache_writes_them(subject, written):
    certificate = made(subject)
    assert certificate.subject == certificate.issuer == written
    assert certificate.serial == "0ABC"


def test_a_certificate_that_openssl_cannot_read(serve):
    certificate = PeerCertificate(b"\x30\x03\x02\x01\x01", True)
    with pytest.raises(ValueError, match=r"^OpenSSL cannot read this certificate"):
        certificate.subject  # noqa: B018


def test_certificates_are_equal_if_their_bytes_are_and_what_is_known_of_them():
    der = b"\x30"
    assert PeerCertificate(der, True) == PeerCertificate(der, True) != PeerCertificate(der, False)
    assert len({PeerCertificate(der, True), PeerCertificate(der, True), PeerCertificate(der, False)}) == 2
    assert PeerCertificate(der, True) != der


def test_a_resumed_session(serve, seen, files):
    serving = serve(seen.native, **files)
    older = context(maximum_version=ssl.TLSVersion.TLSv1_2)
    first = secured(serving, older)
    first.ask(HELLO)
    secured(serving, older, session=first.sock.session).ask(HELLO)
    assert [request.tls.resumed for request in seen.requests] == [False, True]


def test_connections_that_have_agreed_on_the_same_share_what_is_known_of_it(serve, seen, files):
    serving = serve(seen.native, **files)
    for _ in range(2):
        secured(serving, context()).ask(HELLO)
    secured(serving, context(check_hostname=False), "other.example").ask(HELLO)
    first, second, other = (request.tls for request in seen.requests)
    assert first is second
    assert (first.server_name, other.server_name) == ("shop.example", "other.example")


def test_what_is_remembered_for_connections_is_bounded(serve, seen, files):
    """A client may name another server each time."""
    serving = serve(seen.wsgi, **files)
    for n in range(70):
        assert secured(serving, context(check_hostname=False), f"n{n}.example").ask(HELLO).content == b"https"
    assert [environ["SSL_TLS_SNI"] for environ in seen.requests] == [f"n{n}.example" for n in range(70)]


@pytest.mark.parametrize(("sent", "told"), [("a.example", "a.example"), ("a b", None), ("a\r\nb", None), ("ü", None)])
def test_a_server_name_that_no_host_has_is_none(sent, told):
    class Layer:
        version, cipher, server_name, alpn, resumed, certificate, verified = (
            "TLSv1.3",
            None,
            sent,
            None,
            False,
            None,
            False,
        )

    assert agreed(Layer()).server_name == told


# ---- behind proxies


@pytest.mark.parametrize(("line", "scheme"), [
    (b"", b"https"),
    (b"X-Forwarded-Proto: https\r\n", b"https"),
    (b"X-Forwarded-Proto: http\r\n", b"http"),
    (b"X-Forwarded-For: 192.0.2.7\r\n", b"https"),
])  # fmt: skip
@pytest.mark.parametrize("app", ["native", "wsgi"])
def test_a_trusted_proxy_that_speaks_tls_says_what_its_client_speaks(serve, seen, files, app, line, scheme):
    serving = serve(getattr(seen, app), forwarded_allow_ips="127.0.0.1", **files)
    assert secured(serving, context()).ask(HELLO[:-2] + line + b"\r\n").content == scheme
    [request] = seen.requests
    if app == "wsgi":
        assert request.get("HTTPS") == ("on" if scheme == b"https" else None)
    else:
        assert request.tls is not None


@pytest.mark.parametrize("app", ["native", "wsgi"])
def test_nobody_else_takes_https_back(serve, seen, files, app):
    serving = serve(getattr(seen, app), forwarded_allow_ips="192.0.2.1", **files)
    assert secured(serving, context()).ask(HELLO[:-2] + b"X-Forwarded-Proto: http\r\n\r\n").content == b"https"


def test_the_port_of_a_host_that_a_proxy_names_is_that_of_https(serve, seen, files):
    serving = serve(seen.wsgi, forwarded_host=True, **files)
    secured(serving, context()).ask(HELLO[:-2] + b"X-Forwarded-Host: www.example\r\n\r\n")
    [environ] = seen.requests
    assert [environ[key] for key in ("HTTP_HOST", "SERVER_NAME", "SERVER_PORT")] == [
        "www.example",
        "www.example",
        "443",
    ]


TLV = px.tls(1, 0, version=b"TLSv1.2", cipher=b"ECDHE-RSA-AES128-GCM-SHA256")
WITH_CERTIFICATE = px.tls(7, 0, version=b"TLSv1.3", cn="Jürgen".encode())


def test_tls_that_ends_at_a_proxy_with_the_proxy_protocol(serve, seen):
    serving = serve(seen.native, proxy_protocol="v2", proxy_allow_from="127.0.0.1")
    header = px.v2("192.0.2.7", 4711, px.tlv(px.ALPN, b"h2"), px.tlv(px.AUTHORITY, b"shop.example"), TLV)
    assert serving.ask(header + HELLO).content == b"https"
    [request] = seen.requests
    assert request.tls == ("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", None, "shop.example", "h2", None, None, True)


def test_the_environ_has_what_that_proxy_tells(serve, seen):
    serving = serve(seen.wsgi, proxy_protocol="v2", proxy_allow_from="127.0.0.1")
    for block in (TLV, WITH_CERTIFICATE, px.tls(3, 1, cn=b"eve"), None):
        serving.ask(px.v2("192.0.2.7", 4711, *([block] if block else [])) + HELLO)
    told = [{key: value for key, value in one.items() if key.startswith(("SSL_", "HTTPS"))} for one in seen.requests]
    assert told == [
        {"HTTPS": "on", "SSL_PROTOCOL": "TLSv1.2", "SSL_CIPHER": "ECDHE-RSA-AES128-GCM-SHA256",
         "SSL_CLIENT_VERIFY": "NONE"},
        {"HTTPS": "on", "SSL_PROTOCOL": "TLSv1.3", "SSL_CLIENT_VERIFY": "SUCCESS",
         "SSL_CLIENT_S_DN_CN": "Jürgen".encode().decode("latin-1")},
        {"HTTPS": "on", "SSL_CLIENT_VERIFY": "FAILED:1"},
        {},
    ]  # fmt: skip


def test_the_proxys_own_tls_counts_where_it_speaks_it_with_this_server(serve, seen, files):
    serving = serve(seen.native, proxy_protocol="v2", proxy_allow_from="127.0.0.1", **files)
    client = serving.connect().send(px.v2("192.0.2.7", 4711, WITH_CERTIFICATE))
    client.sock = context().wrap_socket(client.sock, server_hostname="shop.example")
    assert client.ask(HELLO).content == b"https"
    [request] = seen.requests
    assert not request.tls.proxied and request.tls.certificate is None
    assert request.peer == ("192.0.2.7", 4711) and request.proxied.tls.verified


# ---- WSGI


def test_the_environ(serve, seen, files, tmp_path, way):
    serving = serve(seen.wsgi, **files)
    alice = certificates.client("alice")
    client = secured(serving, context(tmp_path, alice))
    name, version, bits = client.sock.cipher()
    assert [client.ask(HELLO).content for _ in range(2)] == [b"https"] * 2
    for environ in seen.requests:
        certificate = environ["greenhttp.tls"].certificate
        said = {key: value for key, value in environ.items() if key.startswith(("SSL_", "HTTPS"))}
        if way == "simple":
            said["SSL_TLS_SNI"] = "shop.example"  # SSLObject does not tell it
        assert said == {
            "HTTPS": "on", "SSL_PROTOCOL": "TLSv1.3", "SSL_CIPHER": name, "SSL_CIPHER_USEKEYSIZE": str(bits),
            "SSL_SESSION_RESUMED": "Initial", "SSL_TLS_SNI": "shop.example", "SSL_CLIENT_VERIFY": "SUCCESS",
            "SSL_CLIENT_S_DN": certificate.subject, "SSL_CLIENT_S_DN_CN": "alice",
            "SSL_CLIENT_I_DN": certificate.issuer, "SSL_CLIENT_M_SERIAL": certificate.serial,
            "SSL_CLIENT_V_START": certificate.validity[0], "SSL_CLIENT_V_END": certificate.validity[1],
            "SSL_CLIENT_CERT": alice.chain.decode(),
        }  # fmt: skip
        assert environ["wsgi.url_scheme"] == "https" and environ["REMOTE_ADDR"] == "127.0.0.1"
        assert environ["PATH_INFO"] == "/a b" and environ["QUERY_STRING"] == "c=d"


def test_one_client_is_never_told_of_as_another(serve, seen, files, tmp_path):
    """Connections share what their environs begin as."""
    serving = serve(seen.wsgi, **files)
    clients = [
        secured(serving, context(tmp_path, certificates.client(who) if who else None)) for who in ("alice", "bob", None)
    ]
    for _ in range(2):
        for client in clients:
            client.ask(HELLO)
    told = [
        (one["SSL_CLIENT_VERIFY"], one.get("SSL_CLIENT_S_DN_CN"), "SSL_CLIENT_CERT" in one) for one in seen.requests
    ]
    assert told == [("SUCCESS", "alice", True), ("SUCCESS", "bob", True), ("NONE", None, False)] * 2


def test_what_an_application_does_to_its_environ_reaches_no_other(serve, files):
    def app(environ, start_response):
        start_response("200 OK", [])
        found = environ.pop("SSL_CLIENT_VERIFY", "gone")
        environ["SSL_CLIENT_S_DN"] = "CN=root"
        return [found.encode() + (b" twice" if "HTTP_MARK" in environ else b"")]

    serving = serve(app, **files)
    client = secured(serving, context())
    assert [client.ask(HELLO).content for _ in range(2)] == [b"NONE"] * 2


def test_fields_forge_nothing(serve, seen, files):
    names = ("SSL_CLIENT_VERIFY", "SSL-Client-Verify", "HTTPS", "Ssl-Client-S-Dn", "SSL_CLIENT_S_DN", "greenhttp.tls")
    lines = b"".join(name.encode() + b": SUCCESS\r\n" for name in names)
    secure = serve(seen.wsgi, allow_headers="ssl_client_verify,ssl_client_s_dn", **files)
    plain = serve(seen.wsgi, allow_headers="ssl_client_verify,ssl_client_s_dn")
    secured(secure, context()).ask(HELLO[:-2] + lines + b"\r\n")
    plain.ask(HELLO[:-2] + lines + b"\r\n")
    by_tls, by_http = seen.requests
    assert by_tls["SSL_CLIENT_VERIFY"] == "NONE" and "SSL_CLIENT_S_DN" not in by_tls and by_tls["HTTPS"] == "on"
    assert [key for key in by_http if key.startswith(("SSL_", "HTTPS", "greenhttp."))] == []


def test_many_fields(serve, seen, files):
    """More than the smaller table of an environ takes."""
    serving = serve(seen.wsgi, **files)
    client = secured(serving, context())
    for count in (0, 10, 15, 40):
        client.ask(HELLO[:-2] + b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(count)) + b"\r\n")
        environ = seen.requests[-1]
        assert [environ[f"HTTP_X_{n}"] for n in range(count)] == [str(n) for n in range(count)]
        assert environ["SSL_PROTOCOL"] == "TLSv1.3"


def test_plain_and_tls_addresses_of_one_server(seen, files):
    from greenhttp.server import Server

    server = Server(seen.wsgi, bind=["http://127.0.0.1:0", "https://127.0.0.1:0"], **files)
    server.start()
    try:
        plain, secure = server.addresses
        assert plain.startswith("http://") and secure.startswith("https://")
        with closing(Client(("127.0.0.1", int(plain.rpartition(":")[2])))) as client:
            assert client.ask(HELLO).content == b"http"
        with closing(Client(("127.0.0.1", int(secure.rpartition(":")[2])))) as client:
            client.sock = context().wrap_socket(client.sock, server_hostname="shop.example")
            assert client.ask(HELLO).content == b"https"
        assert "HTTPS" not in seen.requests[0] and seen.requests[1]["HTTPS"] == "on"
        assert seen.requests[1]["SERVER_PORT"] == secure.rpartition(":")[2]
    finally:
        server.stop(0)


# ---- ALPN


@pytest.mark.parametrize(("offered", "chosen"), [
    (["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (["h2"], None), (["acme-tls/1"], None),
])  # fmt: skip
def test_whatever_a_client_offers_it_gets_http_1(serve, seen, files, way, offered, chosen):
    serving = serve(seen.native, **files)
    made = context()
    made.set_alpn_protocols(offered)
    client = secured(serving, made)
    assert client.sock.selected_alpn_protocol() == chosen
    assert client.ask(HELLO).content == b"https"
    assert seen.requests[0].tls.alpn == chosen


def test_a_client_that_speaks_http_2_all_the_same_is_refused(serve, seen, files):
    serving = serve(seen.native, **files)
    made = context()
    made.set_alpn_protocols(["h2"])
    answer = secured(serving, made).ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert answer.status in (400, 505) and seen.requests == []
