"""http/preface.py and what applications are told of a PROXY header: environ, request, scheme, the access log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from greenhttp.http.preface import preface_of
from greenhttp.server import Server
from greenhttp.testing import exchange
from tests import proxied as px
from tests.http.client import Client

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n%s\r\n"
TLS = px.tls(3, 0, version=b"TLSv1.3", cn=b"client")
TLVS = (px.tlv(px.AUTHORITY, b"a.example"), px.tlv(px.UNIQUE_ID, b"\x01\x02"), TLS, px.tlv(0xEA, b"7"))
FROM_V2 = {"REMOTE_ADDR": "192.0.2.7", "REMOTE_PORT": "4711", "PROXY_ADDR": "192.0.2.1", "PROXY_PORT": "80"}


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    names = ("REMOTE_ADDR", "REMOTE_PORT", "PROXY_PROTOCOL", "PROXY_ADDR", "PROXY_PORT", "wsgi.url_scheme")
    told = {name: environ[name] for name in names if name in environ}
    proxied = environ.get("greenhttp.proxied")
    told["authority"] = getattr(proxied, "authority", None)
    start_response("200 OK", [])
    return [json.dumps(told).encode()]


def native(request: Any) -> Any:
    proxied = request.proxied
    told = [request.scheme, request.peer and list(request.peer)]
    if proxied is not None:
        told += [proxied.source and proxied.source[0], proxied.authority, proxied.tls and proxied.tls.common_name]
    return json.dumps(told)


def content(sent: bytes) -> Any:
    return json.loads(sent.rpartition(b"\r\n\r\n")[2])


# ---- over sockets


def test_a_wsgi_application_is_told_by_gunicorns_names(serve: Any) -> None:
    serving = serve(wsgi, proxy_protocol="any")
    found = json.loads(serving.ask(px.v2("192.0.2.7", 4711, *TLVS) + ASK % b"").content)
    assert found == {**FROM_V2, "PROXY_PROTOCOL": "TCP4", "wsgi.url_scheme": "https", "authority": "a.example"}
    found = json.loads(serving.ask(px.v1("2001:db8::7", 1, "2001:db8::1", 2) + ASK % b"").content)
    assert found == {
        "REMOTE_ADDR": "2001:db8::7", "REMOTE_PORT": "1", "PROXY_ADDR": "2001:db8::1", "PROXY_PORT": "2",
        "PROXY_PROTOCOL": "TCP6", "wsgi.url_scheme": "http", "authority": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("header", "protocol"), [(b"PROXY UNKNOWN\r\n", "UNKNOWN"), (px.block(0, b"", px.LOCAL), "LOCAL"),
                             (px.block(0, b""), "UNSPEC")],
)  # fmt: skip
def test_without_addresses_the_real_peer_stays(serve: Any, header: bytes, protocol: str) -> None:
    client = serve(wsgi, proxy_protocol="any").connect()
    host, port = client.sock.getsockname()
    found = json.loads(client.ask(header + ASK % b"").content)
    assert found == {
        "REMOTE_ADDR": host, "REMOTE_PORT": str(port), "PROXY_PROTOCOL": protocol, "wsgi.url_scheme": "http",
        "authority": None,
    }  # fmt: skip


def test_it_holds_for_all_requests_of_the_connection_and_for_no_other(serve: Any) -> None:
    serving = serve(native, proxy_protocol="v2")
    client, other = serving.connect(), serving.connect()
    client.send(px.v2("192.0.2.7", 1, *TLVS) + ASK % b"" + ASK % b"")
    other.send(px.v2("192.0.2.8", 2))
    wanted = ["https", ["192.0.2.7", 1], "192.0.2.7", "a.example", "client"]
    assert [json.loads(client.answer().content) for _ in range(2)] == [wanted] * 2
    assert json.loads(other.ask(ASK % b"").content) == ["http", ["192.0.2.8", 2], "192.0.2.8", None, None]
    assert json.loads(client.ask(ASK % b"").content) == wanted


@pytest.mark.parametrize(
    ("source", "field", "scheme"),
    [
        ("192.0.2.7", b"", "https"),
        ("192.0.2.7", b"X-Forwarded-Proto: http\r\n", "https"),  # of a stranger, as the header says
        ("10.0.0.1", b"X-Forwarded-Proto: http\r\n", "http"),
        ("10.0.0.1", b"X-Forwarded-Proto: https\r\n", "https"),
        ("10.0.0.1", b"", "https"),
    ],
)
def test_tls_told_by_the_header_is_https_unless_a_trusted_proxy_says_otherwise(
    serve: Any, source: str, field: bytes, scheme: str
) -> None:
    serving = serve(native, proxy_protocol="any", forwarded_allow_ips="10.0.0.0/8")
    assert json.loads(serving.ask(px.v2(source, 1, TLS) + ASK % field).content)[0] == scheme


def test_whoever_is_trusted_is_not_trusted_by_its_own_word(serve: Any) -> None:
    """The other end of the socket is 127.0.0.1, which is believed, and behind it is a stranger, who is not."""
    serving = serve(native, proxy_protocol="any", forwarded_allow_ips="127.0.0.1")
    field = b"X-Forwarded-Proto: https\r\n"
    assert json.loads(serving.ask(px.v1() + ASK % field).content)[0] == "http"
    assert json.loads(serving.ask(px.block(0, b"", px.LOCAL) + ASK % field).content)[0] == "https"


NAMELESS = [  # headers that are not the proxy's own, and name no client
    b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 192.0.2.7 192.0.2.1 1 2\r\n", px.block(px.UNSPEC, b""),
    px.block(px.UDP4, px.addresses()), px.block(px.UNIX, b"/a".ljust(108, b"\0") + b"/b".ljust(108, b"\0")),
]  # fmt: skip


@pytest.mark.parametrize("header", NAMELESS)
@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:{}"])
def test_behind_a_header_that_names_no_client_is_a_stranger(header: bytes, bind: str, tmp_path: Any) -> None:
    """What the proxy forwards is not the proxy's, although its address is the peer's."""
    kept: list[Any] = []

    def keep(request: Any) -> str:
        kept.append((request.peer, request.proxies, request.scheme, request.id == "given", request.trace))
        return ""

    server = Server(
        keep, bind=bind.format(tmp_path / "socket"), proxy_protocol="any", proxy_allow_from="127.0.0.1,unix",
        forwarded_allow_ips="*,127.0.0.1,unix",
    )  # fmt: skip
    server.start()
    field = (
        b"X-Forwarded-For: 192.0.2.66\r\nX-Forwarded-Proto: https\r\nX-Request-Id: given\r\n"
        b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
    )
    try:
        for start in (header, px.block(0, b"", px.LOCAL)):
            client = Client(server.address)
            peer = "" if isinstance(server.address, str) else client.sock.getsockname()
            client.ask(start + ASK % field)
            client.close()
            stranger = start is header
            seen = kept.pop()
            assert seen[:4] == (peer if stranger else ("192.0.2.66", 0), () if stranger else seen[1],
                                "http" if stranger else "https", not stranger)  # fmt: skip
            assert (seen[4] is None) == stranger
    finally:
        server.stop(0)


def test_a_link_local_client_comes_in_by_no_interface_of_ours(serve: Any) -> None:
    serving = serve(native, proxy_protocol="any", forwarded_allow_ips="fe80::1%lo,fe80::2")
    field = b"X-Forwarded-Proto: https\r\n"
    told = [json.loads(serving.ask(px.v2(f"fe80::{end}", 1) + ASK % field).content)[0] for end in (1, 2)]
    assert told == ["http", "https"]


def test_the_access_log_names_the_client(serve: Any, tmp_path: Any) -> None:
    serving = serve(native, proxy_protocol="any", access_logfile=str(tmp_path / "log"))
    assert serving.ask(px.v1() + ASK % b"").status == 200
    assert serving.ask(px.v1("2001:db8::7", 1, "::1") + b"nonsense\r\n\r\n").status == 400
    serving.server.stop(0)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["192.0.2.7", "2001:db8::7"]


def test_a_refusal_names_the_client(serve: Any, caplog: Any) -> None:
    caplog.set_level("INFO", "greenhttp")
    serving = serve(native, proxy_protocol="any")
    assert serving.ask(px.v1() + b"GET / HTTP/1.1\r\n\r\n").status == 400
    serving.until(lambda: caplog.records)
    assert caplog.records[0].getMessage() == "192.0.2.7:4711: refused with 400: no Host"


def test_the_places_of_connections_are_counted_in_the_load(serve: Any) -> None:
    serving = serve(native, proxy_protocol="any")
    client = serving.connect()
    serving.until(lambda: serving.count("arriving") == serving.count("connections") == 1)
    client.send(px.v1())
    serving.until(lambda: serving.count("fresh") == serving.count("connections") == 1)
    assert client.ask(ASK % b"").status == 200
    serving.until(lambda: serving.count("idle") == serving.count("connections") == 1)


def test_an_idle_connection_goes_for_one_that_arrives(serve: Any) -> None:
    serving = serve(native, proxy_protocol="any", connections=1)
    idle = serving.connect()
    assert idle.ask(px.v1() + ASK % b"").status == 200
    serving.until(lambda: serving.count("idle") == 1)
    assert serving.ask(px.v1() + ASK % b"").status == 200
    assert idle.ended()


# ---- in memory


def test_in_memory_a_header_is_read_as_over_a_socket() -> None:
    outcome = exchange(wsgi, [px.v2("192.0.2.7", 4711, *TLVS)[:20], px.v2("192.0.2.7", 4711, *TLVS)[20:] + ASK % b""],
                       proxy_protocol="v2")  # fmt: skip
    assert content(outcome.sent) == {
        "REMOTE_ADDR": "", "REMOTE_PORT": "", "PROXY_PROTOCOL": "TCP4", "PROXY_ADDR": "192.0.2.1", "PROXY_PORT": "80",
        "wsgi.url_scheme": "https", "authority": "a.example",
    }  # fmt: skip
    outcome = exchange(wsgi, [ASK % b""], proxy_protocol="v2")
    assert (outcome.sent, outcome.ended) == (b"", "closed")
    ((level, message, _),) = outcome.log
    assert level == "warning" and message.startswith("connection closed: HTTP came instead of a PROXY header")
    outcome = exchange(wsgi, [px.v1()[:9]], keep_open=True, proxy_protocol="any")
    assert (outcome.sent, outcome.ended) == (b"", "open")


def test_without_the_protocol_nobody_reads_a_preface() -> None:
    assert preface_of("off") is None
    found = content(exchange(wsgi, [ASK % b""]).sent)
    assert not {"PROXY_PROTOCOL", "PROXY_ADDR", "PROXY_PORT"} & set(found)
    assert content(exchange(native, [ASK % b""]).sent) == ["http", ""]


# ---- beside gunicorn


@pytest.mark.parametrize(
    "header", [px.v1(), px.v1("2001:db8::7", 1, "::1"), px.v2(), px.v2("2001:db8::7"), px.v2("192.0.2.7", 1, *TLVS)]
)
def test_the_environ_is_gunicorns_for_the_same_bytes(serve: Any, header: bytes) -> None:
    config = pytest.importorskip("gunicorn.config")
    message, unreader = pytest.importorskip("gunicorn.http.message"), pytest.importorskip("gunicorn.http.unreader")
    theirs = pytest.importorskip("gunicorn.http.wsgi")
    if not hasattr(message.Request, "_parse_proxy_protocol_v2"):
        pytest.skip("a gunicorn without version 2")
    settings = config.Config()
    settings.set("proxy_protocol", "auto")
    request = message.Request(settings, unreader.IterUnreader(iter([header + ASK % b""])), ("127.0.0.1", 1))
    wanted = theirs.proxy_environ(request)
    assert set(wanted) == {"PROXY_PROTOCOL", "REMOTE_ADDR", "REMOTE_PORT", "PROXY_ADDR", "PROXY_PORT"}
    found = json.loads(serve(wsgi, proxy_protocol="any").ask(header + ASK % b"").content)
    assert {name: found[name] for name in wanted} == wanted
