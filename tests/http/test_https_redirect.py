"""--https-redirect: what has not come by https is answered with 308 and the https:// address of the same."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from gevent import ssl

from greenhttp.server import Server
from greenhttp.testing import exchange
from tests import proxied as px
from tests.http.client import Client
from tests.tls import certificates


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"asked"]


def native(request: Any) -> str:
    return "asked"


def asked(*lines: bytes, target: bytes = b"/a/%2Fb?c=d%20e&f", host: bytes = b"shop.example", app: Any = wsgi,
          method: bytes = b"GET", **settings: Any) -> Any:  # fmt: skip
    head = [method + b" " + target + b" HTTP/1.1", b"Host: " + host, *lines, b"", b""]
    return exchange(app, [b"\r\n".join(head)], keep_open=True, **{"https_redirect": True, **settings})


def where(outcome: Any) -> bytes | None:
    """The address that a redirect names; None: the application has answered."""
    sent = outcome.sent
    if sent.endswith(b"\r\n\r\nasked"):
        return None
    assert sent.startswith(b"HTTP/1.1 308 Permanent Redirect\r\n"), sent
    return sent.partition(b"\r\nLocation: ")[2].partition(b"\r\n")[0]


@pytest.mark.parametrize("app", [wsgi, native])
def test_the_address_is_the_same_by_https(app):
    assert where(asked(app=app)) == b"https://shop.example/a/%2Fb?c=d%20e&f"


@pytest.mark.parametrize(("target", "host", "location"), [
    (b"/", b"shop.example", b"https://shop.example/"),
    (b"/?", b"shop.example", b"https://shop.example/?"),
    (b"//evil.example/a", b"shop.example", b"https://shop.example//evil.example/a"),
    (b"/", b"shop.example:8080", b"https://shop.example/"),
    (b"/", b"[::1]:8080", b"https://[::1]/"),
    (b"/", b"192.0.2.1", b"https://192.0.2.1/"),
    (b"http://shop.example:80/a?b", b"shop.example", b"https://shop.example/a?b"),
    (b"http://shop.example?b", b"shop.example", b"https://shop.example/?b"),
    (b"https://shop.example/a", b"shop.example", b"https://shop.example/a"),
])  # fmt: skip
def test_host_path_and_query_are_as_sent(target, host, location):
    assert where(asked(target=target, host=host)) == location


@pytest.mark.parametrize("method", [b"POST", b"HEAD", b"OPTIONS", b"PATCH"])
def test_every_method(method):
    """308 keeps the method (RFC 9110 15.4.9)."""
    outcome = asked(b"Content-Length: 0", method=method)
    assert where(outcome) is not None
    assert outcome.sent.endswith(b"\r\n\r\n" if method == b"HEAD" else b"\r\n\r\nPermanent Redirect\n")


def test_the_connection_goes_on_and_the_content_is_dropped():
    one = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    outcome = exchange(wsgi, [one * 3], keep_open=True, https_redirect=True)
    assert outcome.sent.count(b"HTTP/1.1 308 ") == 3 and outcome.log == []


def test_without_the_setting_nothing_is_redirected():
    assert where(asked(https_redirect=False)) is None


@pytest.mark.parametrize(("head", "status"), [
    (b"GET / HTTP/1.1\r\n\r\n", b"400"),
    (b"GET / HTTP/1.0\r\n\r\n", b"400"),
    (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", b"400"),
    (b"OPTIONS * HTTP/1.1\r\nHost: shop.example\r\n\r\n", b"400"),
    (b"CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example\r\n\r\n", b"400"),
])  # fmt: skip
def test_what_has_no_address_is_refused(head, status):
    outcome = exchange(wsgi, [head], keep_open=True, https_redirect=True, allow_methods="CONNECT")
    assert outcome.sent.startswith(b"HTTP/1.1 " + status + b" ")


def test_the_health_check_is_answered():
    assert where(asked(target=b"/health", health_path="/health")) is None
    assert where(asked(target=b"/health?a", health_path="/health")) is None
    assert where(asked(target=b"/healthy", health_path="/health")) == b"https://shop.example/healthy"


def test_what_an_authority_of_certificates_asks_is_redirected_which_it_follows():
    assert where(asked(target=b"/.well-known/acme-challenge/x")) == b"https://shop.example/.well-known/acme-challenge/x"


def test_hosts_that_are_not_allowed_are_refused_first():
    outcome = asked(host=b"evil.example", allowed_hosts="shop.example")
    assert outcome.sent.startswith(b"HTTP/1.1 421 ")
    assert where(asked(allowed_hosts="shop.example")) is not None


# ---- behind proxies


@pytest.mark.parametrize(("lines", "location"), [
    ([b"X-Forwarded-Proto: https"], None),
    ([b"X-Forwarded-Proto: http"], b"https://shop.example/a"),
    ([b"X-Forwarded-Proto: http", b"X-Forwarded-Host: www.example:8080"], b"https://www.example/a"),
    ([b"X-Forwarded-Prefix: /shop"], b"https://shop.example/shop/a"),
])  # fmt: skip
def test_a_trusted_proxy_says_what_its_client_speaks(lines, location):
    settings = {"forwarded_host": True, "root_path_header": "X-Forwarded-Prefix"}
    assert where(asked(*lines, target=b"/a", **settings)) == location


def test_nobody_else_says_it():
    assert where(asked(b"X-Forwarded-Proto: https", forwarded_field="none")) is not None


def test_the_field_forwarded():
    settings = {"forwarded_field": "forwarded"}
    assert where(asked(b"Forwarded: proto=https", **settings)) is None
    assert where(asked(b"Forwarded: proto=http;host=a.example", target=b"/", **settings)) == b"https://a.example/"


def test_below_a_root_path():
    assert where(asked(target=b"/below/a", root_path="/below")) == b"https://shop.example/below/a"
    lines = [b"X-Forwarded-Prefix: /out"]
    settings = {"root_path": "/below", "root_path_header": "X-Forwarded-Prefix"}
    assert where(asked(*lines, target=b"/below/a", **settings)) == b"https://shop.example/out/below/a"


# ---- with sockets


HELLO = b"GET /a HTTP/1.1\r\nHost: localhost:1\r\n\r\n"


@pytest.fixture
def server(tmp_path: Any) -> Any:
    certfile, keyfile = certificates.leaf("localhost").write(tmp_path)
    started: list[Server] = []

    def start(*bind: str, **settings: Any) -> tuple[Server, list[int]]:
        made = Server(
            wsgi, bind=bind, certfile=[certfile], keyfile=[keyfile], https_redirect=True, **settings
        )  # fmt: skip
        made.start()
        started.append(made)
        return made, [int(address.rpartition(":")[2]) for address in made.addresses]

    yield start
    for made in started:
        made.stop(0)


def test_the_port_is_that_of_the_first_tls_address(server):
    _, (plain, secure, _) = server("http://127.0.0.1:0", "https://127.0.0.1:0", "https://localhost:0")
    with closing(Client(("127.0.0.1", plain))) as client:
        answer = client.ask(HELLO)
        assert answer.status == 308 and dict(answer.fields)["Location"] == f"https://localhost:{secure}/a"
        behind = client.ask(HELLO[:-2] + b"X-Forwarded-Proto: http\r\n\r\n")  # its port here is nobody's outside
        assert dict(behind.fields)["Location"] == "https://localhost/a"


def test_tls_is_answered_unless_a_trusted_proxy_says_that_its_client_speaks_http(server):
    _, (_, port) = server("http://127.0.0.1:0", "https://127.0.0.1:0")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificates.authority().authorities().decode())
    with closing(Client(("127.0.0.1", port))) as client:
        client.sock = context.wrap_socket(client.sock, server_hostname="localhost")
        assert client.ask(HELLO).status == 200
        assert client.ask(HELLO[:-2] + b"X-Forwarded-Proto: http\r\n\r\n").status == 308
        assert client.ask(HELLO[:-2] + b"X-Forwarded-Proto: https\r\n\r\n").status == 200


def test_tls_that_ends_at_a_proxy_with_the_proxy_protocol(server):
    _, (port, _) = server(
        "http://127.0.0.1:0", "https://127.0.0.1:0", proxy_protocol="v2", proxy_allow_from="127.0.0.1"
    )
    for header, status in ((px.v2("192.0.2.7", 1, px.tls(1, 0)), 200), (px.v2("192.0.2.7", 1), 308)):
        with closing(Client(("127.0.0.1", port))) as client:
            assert client.ask(header + HELLO).status == status


def test_the_access_log_has_it_as_an_answer(server, tmp_path):
    made, (plain, _) = server(
        "http://127.0.0.1:0", "https://127.0.0.1:0", access_logfile=str(tmp_path / "log"),
        access_log_format="%(m)s %(U)s %(s)s %(B)s",
    )  # fmt: skip
    with closing(Client(("127.0.0.1", plain))) as client:
        client.ask(HELLO)
    made.stop(10)
    assert (tmp_path / "log").read_text() == "GET /a 308 19\n"
