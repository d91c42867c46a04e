"""Log lines name the client that a trusted proxy has told, not the proxy."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from greenhttp.hosting import errors
from greenhttp.server import PREFIX
from greenhttp.testing import exchange

KNOWN = [  # what the proxy says, what a line begins with, and what the access log has
    (b"X-Forwarded-For: 203.0.113.7:4711", "203.0.113.7:4711", "203.0.113.7"),
    (b"X-Forwarded-For: 203.0.113.7", "203.0.113.7", "203.0.113.7"),
    (b"X-Forwarded-For: [2001:db8::1]:4711", "[2001:db8::1]:4711", "2001:db8::1"),
    (b"X-Forwarded-For: 2001:db8::1", "[2001:db8::1]", "2001:db8::1"),
    (b"X-Forwarded-For: [fe80::1%eth0]:4711", "[fe80::1%eth0]:4711", "fe80::1%eth0"),
    (b"X-Forwarded-For: fe80::1%eth0", "[fe80::1%eth0]", "fe80::1%eth0"),
    (b"X-Forwarded-For: unknown", "an unknown client", "unknown"),
    (b"X-Forwarded-For: Unknown", "an unknown client", "unknown"),
    (b"X-Forwarded-For: unix:", "a UNIX client", "unix"),
    (b"X-Forwarded-For: _edge.a-1", "client _edge.a-1", "_edge.a-1"),
]


def data(line: bytes, target: bytes = b"/a?b") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + line + b"\r\nConnection: close\r\n\r\n"


def failing(request: Any) -> None:
    raise LookupError


def failing_wsgi(environ: Any, start_response: Any) -> None:
    raise LookupError


@pytest.mark.parametrize("app", [failing, failing_wsgi])
@pytest.mark.parametrize(("line", "named", "_"), KNOWN)
def test_a_line_of_the_error_log_begins_with_the_client(app: Any, line: bytes, named: str, _: str) -> None:
    said = [record.message for record in exchange(app, [data(line)]).log]
    assert said == [f"{named}: GET /a: LookupError in the application"]
    found = PREFIX.match(said[0])
    assert found and found.groups() == (named, None, "GET /a")


def test_what_is_refused_behind_the_list_of_addresses_is_the_clients() -> None:
    lines = b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https, http"
    (record,) = exchange(failing, [data(lines)]).log
    assert record.message.startswith("203.0.113.7: GET /a: refused with 400: X-Forwarded-Proto is a list of different")


@pytest.mark.parametrize("text", [
    "127.0.0.1:4711: GET /a: x", "[::1]:4711: GET /a: x", "a UNIX peer (process 4711): GET /a: x",
    "a UNIX peer: GET /a: x", "an unknown client: GET /a: x", "a UNIX client: GET /a: x", "client _a: GET /a: x",
])  # fmt: skip
def test_peer_and_request_are_told_apart_from_the_rest(text: str) -> None:
    found = PREFIX.match(text)
    peer = text[: text.index(": GET")]
    assert found and found.groups() == (peer, None, "GET /a")
    found = PREFIX.match(text.replace(": GET", " [Root=1-2:3]: GET"))
    assert found and found.groups() == (peer, "Root=1-2:3", "GET /a")


@pytest.mark.parametrize(
    "text", ["unknown: x", "3.11: x", "client: x", "8000: x", "_a: x", "a client: x", "1.2.3: GET /a: x"]
)
def test_other_lines_have_no_peer(text: str) -> None:
    assert PREFIX.match(text) is None


@pytest.mark.parametrize(("line", "named", "_"), KNOWN)
def test_an_entry_of_wsgi_errors_names_the_client(
    serve: Any, monkeypatch: pytest.MonkeyPatch, line: bytes, named: str, _: str
) -> None:
    said: list[Any] = []
    monkeypatch.setattr(errors, "sink", lambda source, text: said.append((source.peer, text)))

    def app(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.errors"].write("see this\n")
        start_response("200 OK", [])
        return []

    serving = serve(app, forwarded_allow_ips="127.0.0.1")
    serving.ask(data(line))
    serving.ask(data(b"X-Other: a"))
    assert said[0] == (named, "see this") and said[1][0].startswith("127.0.0.1:")


def test_a_record_of_the_log_has_the_client_by_itself(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "greenhttp")
    serve(failing).ask(data(KNOWN[0][0]))
    (record,) = [record for record in caplog.records if record.name == "greenhttp"]
    assert (record.__dict__["peer"], record.__dict__["request"]) == ("203.0.113.7:4711", "GET /a")


@pytest.mark.parametrize(("line", "_", "address"), KNOWN)
@pytest.mark.parametrize("app", [lambda request: "ok", failing_wsgi])
def test_the_access_log_has_the_client(serve: Any, tmp_path: Any, app: Any, line: bytes, _: str, address: str) -> None:
    for form, wanted in (
        ("%(h)s|%({REMOTE_ADDR}e)s|%({REMOTE_PORT}e)s", f"{address}|{address}|{'4711' if b'4711' in line else '0'}"),
        ("json", f'"peer":"{address}"'),
        ("common", f"{address} - - ["),
    ):
        path = tmp_path / form[:4]
        serving = serve(app, access_logfile=str(path), access_log_format=form, log_level="critical")
        serving.ask(data(line))
        serving.ask(data(b"X-Other: a"))
        serving.server.stop(5)
        first, second = path.read_text().splitlines()
        assert wanted in first and address not in second and "127.0.0.1" in second


def test_a_stranger_is_logged_by_its_own_address(serve: Any, tmp_path: Any) -> None:
    path = tmp_path / "log"
    serving = serve(failing, access_logfile=str(path), access_log_format="%(h)s", forwarded_allow_ips="10.0.0.1",
                    log_level="critical")  # fmt: skip
    for line, _, _ in KNOWN:
        serving.ask(data(line))
    serving.server.stop(5)
    assert path.read_text().splitlines() == ["127.0.0.1"] * len(KNOWN)


def test_a_request_that_is_kept_tells_the_client_afterwards() -> None:
    kept: list[Any] = []

    def handler(request: Any) -> str:
        kept.append(request)
        return "ok"

    exchange(handler, [data(b"X-Forwarded-For: 203.0.113.7, 10.0.0.1")], forwarded_allow_ips="10.0.0.1,unix")
    assert (kept[0].peer, kept[0].proxies) == (("203.0.113.7", 0), ("10.0.0.1", "unix"))


@pytest.mark.parametrize(("settings", "status"), [({"allowed_hosts": "y"}, 421), ({"root_path": "/below"}, 404),
                                                  ({"root_path_header": "X-P"}, 400)])  # fmt: skip
def test_whoever_asks_for_another_host_or_path_is_named_as_well(settings: Any, status: int) -> None:
    lines = b"X-P: //\r\nX-Forwarded-For: 203.0.113.7"
    (record,) = exchange(failing, [data(lines)], **settings).log
    assert record.message.startswith(f"203.0.113.7: GET /a: refused with {status}: ")


def test_a_host_that_a_proxy_says_is_the_one_that_must_be_allowed() -> None:
    lines = b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Host: y"
    for believed, sent in ((True, b"HTTP/1.1 500 "), (False, b"HTTP/1.1 421 ")):
        assert exchange(failing, [data(lines)], allowed_hosts="y", forwarded_host=believed).sent.startswith(sent)
