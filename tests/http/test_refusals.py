"""What the log says of a refusal: who, with what, which limit. What the wire says: test_limits and test_timeouts."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket

from greenhttp.errors import ConfigError
from greenhttp.http.refusals import beyond, other_protocol, size
from greenhttp.server import Server
from greenhttp.testing import exchange
from tests.http.apps import HOST, echo, hello, post, post_chunked, request
from tests.http.test_limits import Gate, get
from tests.log_lines import without_peer

PROXY_2 = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12)
TLS = "TLS spoken to a plain port; use http://, or a proxy that ends TLS"


@pytest.fixture
def log(caplog: Any) -> Any:
    """log(count): (level, message) of all entries, once there are so many."""
    caplog.set_level(logging.INFO, "greenhttp")

    def entries(count: int) -> list[tuple[str, str]]:
        while len(caplog.records) < count:
            gevent.sleep(0.001)
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    return entries


# ---- who


def test_a_refusal_names_the_peer(serve: Any, log: Any) -> None:
    client = serve(hello).connect()
    port = client.sock.getsockname()[1]
    assert client.ask(b"GET / HTTP/1.1\r\n\r\n").status == 400
    assert log(1) == [("INFO", f"127.0.0.1:{port}: refused with 400: no Host")]


@pytest.mark.parametrize("kind", ["unix", "v6"])
def test_a_peer_that_is_not_of_ipv4(tmp_path: Path, log: Any, kind: str) -> None:
    server = Server(hello, bind="[::1]:0" if kind == "v6" else f"unix:{tmp_path}/s")
    try:
        server.start()
    except ConfigError:
        pytest.skip("no IPv6")
    with socket.socket(socket.AF_INET6 if kind == "v6" else socket.AF_UNIX) as sock:
        sock.connect(server.address)
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")
        name = re.escape(f"[::1]:{sock.getsockname()[1]}") if kind == "v6" else r"a UNIX peer( \(process \d+\))?"
    server.stop(0)
    ((_, message),) = log(1)
    assert re.fullmatch(f"{name}: refused with 400: no Host", message)


def test_an_application_s_error_names_the_peer_too(serve: Any, log: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise KeyError

    client = serve(app).connect()
    assert client.ask(get("/x?secret=1")).status == 500
    port = client.sock.getsockname()[1]
    assert log(1) == [("ERROR", f"127.0.0.1:{port}: GET /x: KeyError in the application")]


def test_in_memory_there_is_nobody_to_name() -> None:
    outcome = exchange(hello, [b"GET / HTTP/1.1\r\n\r\n"])
    assert [(record.level, record.message) for record in outcome.log] == [("info", "refused with 400: no Host")]


# ---- with what


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"bad\r\n", "refused with 400: no method in the request line"),
        (b"GET /" + b"x" * 9000, "refused with 414: the request line is longer than 8 KiB (limit_request_line)"),
        (
            b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000,
            "refused with 431: the fields of the head are larger than 64 KiB (limit_request_head)",
        ),
        (
            b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101,
            "refused with 431: the head has more than 100 fields (limit_request_fields)",
        ),
        (
            post(b"x" * 11, path=b"/a?b=c"),
            "POST /a: refused with 413: the body is larger than 10 bytes (limit_request_body)",
        ),
        (post_chunked(b"x" * 11), "POST /: refused with 413: the body is larger than 10 bytes (limit_request_body)"),
        (
            request(b"POST / HTTP/1.1", b"Content-Length: 9999999999999999999"),
            "refused with 413: the body is larger than 10 bytes (limit_request_body)",
        ),
        (
            request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", content=b"1;" + b"a" * 5000 + b"\r\n"),
            "POST /: refused with 400: the chunk extensions are longer than 4 KiB (limit_chunk_extensions)",
        ),
        (
            post_chunked(last=b"0\r\nA: " + b"x" * 9000 + b"\r\n\r\n"),
            "POST /: refused with 431: the trailers are larger than 8 KiB (limit_trailers)",
        ),
        (
            request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", content=b"x\r\n"),
            "POST /: refused with 400: malformed request body: no chunk size",
        ),
    ],
    ids=["line", "414", "431 bytes", "431 fields", "413", "413 chunked", "413 beyond 63 bits", "extensions", "trailers",
         "malformed"],
)  # fmt: skip
def test_a_limit_is_said_with_its_value_and_its_name(serve: Any, log: Any, sent: bytes, said: str) -> None:
    serving = serve(echo, limit_request_body=10)
    assert serving.connect().send(sent).answer().status == int(re.search(r"with (\d+)", said)[1])  # type: ignore[index]
    ((level, message),) = log(1)
    assert (level, without_peer(message)) == ("INFO", said)


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        (b"\x16", 400, TLS),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, TLS),
        (b"\x16\x04\x01\x02\x00\x01\x00", 400, "no method at the start of the request line"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, other_protocol(b"PRI * HTTP/2.0\r\n")),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n", 400, other_protocol(b"PROXY ")),
        (PROXY_2, 400, other_protocol(PROXY_2)),
        (b"GET / HTTP/1.1\r\n\x16\x03: a\r\n", 400, "a malformed field name"),
    ],
)
def test_another_protocol_is_told_by_its_first_bytes(serve: Any, log: Any, sent: bytes, status: int, said: str) -> None:
    answer = serve(hello).ask(sent)
    assert (answer.status, answer.closes) == (status, True)
    ((level, message),) = log(1)
    assert without_peer(message) == f"refused with {status}: {said}"
    assert level == ("WARNING" if said.startswith("a PROXY header") else "INFO")  # then nothing is answered at all


def test_other_protocols_do_not_begin_as_http_1_does() -> None:
    beginnings = (b"", b"GET / HTTP/1.1\r\n", b"PRI / HTTP/1.1", b"\r\n\r\nGET")
    assert [other_protocol(data) for data in beginnings] == [None] * 4


@pytest.mark.parametrize("before", [b"", request()], ids=["first", "later"])
def test_a_head_that_is_too_late(serve: Any, log: Any, before: bytes) -> None:
    client = serve(hello, header_timeout=0.05).connect()
    if before:
        assert client.ask(before).status == 200
    assert client.ask(b"GET / HTTP/1.1\r\n" + HOST).status == 408
    ((level, message),) = log(1)
    assert level == "INFO"
    assert without_peer(message) == "refused with 408: no whole head came within 0.05 s (header_timeout)"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"body_timeout": 0.05}, "nothing for 0.05 s (body_timeout)"),
        (
            {"body_timeout": 0, "body_min_rate": 1 << 20, "min_rate_after": 0.01},
            "less than 1048576 bytes a second (body_min_rate)",
        ),
    ],
)
def test_content_that_is_too_late(serve: Any, log: Any, settings: dict[str, Any], why: str) -> None:
    assert serve(echo, **settings).ask(post(b"hello")[:-1]).status == 408
    ((level, message),) = log(1)
    said = "POST /: refused with 408: the request body did not come in time: the peer sent"
    assert (level, without_peer(message)) == ("INFO", f"{said} {why}")


def test_a_queue_that_is_full_and_a_wait_in_it_that_is_too_long(serve: Any, log: Any) -> None:
    gate = Gate()
    serving = serve(gate, concurrency=1, queue=1, queue_timeout=0.2)
    first = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    late = serving.connect().send(get("/late?a=b"))
    serving.until(lambda: serving.count("queued"))
    assert serving.ask(get("/full")).status == 503
    assert late.answer().status == 503
    gate.opened.set()
    assert first.answer().status == 200
    assert [(level, without_peer(message)) for level, message in log(2)] == [
        ("WARNING", "GET /full: refused with 503: the queue is full: 1 running (concurrency), 1 waiting (queue)"),
        ("WARNING", "GET /late: refused with 503: no place was free within 0.2 s (queue_timeout)"),
    ]


def test_unread_input_beyond_limit_buffers(serve: Any, log: Any) -> None:
    serving = serve(hello, limit_request_line=1024, limit_request_head=20_000, limit_buffers=21_024,
                    limit_pipeline=16_384)  # fmt: skip
    large = serving.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 12_000)
    serving.until(lambda: serving.count("fresh") == 1)
    for _ in range(2):
        serving.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 600)
    assert large.answer().status == 431
    ((level, message),) = log(1)
    what = "the unread input of all connections is larger than 21024 bytes and this one has the most (limit_buffers)"
    assert (level, without_peer(message)) == ("WARNING", f"refused with 431: {what}")


@pytest.mark.parametrize("waits", [True, False], ids=["written by a handler", "left to the loop"])
def test_a_client_that_does_not_read(serve: Any, log: Any, waits: bool) -> None:
    def pieces(request: Any) -> Any:
        return iter([b"x" * 8_000_000] * 2) if waits else b"x" * 8_000_000

    serving = serve(pieces, write_timeout=0.05)
    client = serving.connect(receive_buffer=4096).send(get("/slow"))
    ((level, message),) = log(1)
    what = "the peer read nothing for 0.05 s (write_timeout); its connection was aborted"
    assert (level, without_peer(message)) == ("INFO", f"GET /slow: {what}" if waits else what)
    assert client.was_reset()


def test_a_client_that_disconnects_while_it_is_answered(serve: Any, log: Any) -> None:
    serving = serve(lambda request: iter([b"x" * 8_000_000] * 2))
    client = serving.connect(receive_buffer=4096).send(get("/gone"))
    serving.until(lambda: serving.count("writing"))
    client.reset()
    ((level, message),) = log(1)
    assert level == "INFO" and without_peer(message).startswith("GET /gone: the client disconnected (")


# ---- words


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (1000, "1000 bytes"), (1024, "1 KiB"), (1536 << 10, "1536 KiB"), (1 << 20, "1 MiB"),
     (1 << 30, "1 GiB"), ((1 << 62), "4294967296 GiB")],
)  # fmt: skip
def test_sizes_are_exact(count: int, text: str) -> None:
    assert size(count) == text


def test_fields_are_counted_and_all_else_has_a_size() -> None:
    assert beyond("limit_request_fields", 1024) == "the head has more than 1024 fields (limit_request_fields)"
    assert beyond("limit_trailers", 1024) == "the trailers are larger than 1 KiB (limit_trailers)"


