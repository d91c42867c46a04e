"""What is not TLS on a TLS port: HTTP is told so in plain text, all else is closed; one line in the log for each."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from tests import proxied as px
from tests.answers import only
from tests.http.apps import post, request
from tests.tls.peers import drained, send_what_it_takes
from tests.tls.running import Servers

BOUND = 12  # lines of the log about any number of peers: five in a second, how many more there were, and once more
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"]
HTTP: dict[str, bytes] = {
    **{method: request(f"{method} / HTTP/1.1".encode()) for method in METHODS},
    "of 1.0": b"GET / HTTP/1.0\r\n\r\n",
    "behind an empty line": b"\r\n" + request(),
    "behind three": b"\r\n\r\n\r\n" + request(),
    "with content": post(b"x" * 1000),
    "two": request() * 2,
    "half a head": request()[:-2],
    "half a line": b"GET /path",
    "what is no HTTP behind its method": b"GET \x00\xff\r\n\r\n",
}
OTHERS: dict[str, tuple[bytes, str]] = {
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", "HTTP/2"),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", ""),
    "PROXY v1": (px.v1() + request(), "PROXY"),
    "PROXY v2": (px.v2("192.0.2.7", 5) + request(), "PROXY"),
    "SMTP": (b"EHLO example.com\r\n", ""),
    "Redis": (b"*1\r\n$4\r\nPING\r\n", ""),
    "an unknown method": (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
    "a method in small letters": (b"get / HTTP/1.1\r\n\r\n", ""),
    "zeros": (bytes(100), ""),
    "empty lines": (b"\r\n" * 100, ""),
    "nearly a method": (b"GETS / HTTP/1.1\r\n\r\n", ""),
    "every byte": (bytes(range(255, -1, -1)), ""),
}


@pytest.mark.parametrize("data", HTTP.values(), ids=HTTP)
def test_http_is_answered_in_plain_text_that_this_is_tls(serve: Servers, data: bytes) -> None:
    serving = serve()
    answer = only(drained(serving.plain(data)))
    assert (answer.status, answer.closes) == (400, True)
    assert answer.get("Content-Type") == "text/plain; charset=utf-8"
    assert b"TLS" in answer.content and b"https://" in answer.content
    serving.unharmed()
    (line,) = serving.log()
    assert line.startswith("127.0.0.1:") and "HTTP came to a TLS port" in line and "https://" in line
    assert serving.seen == []


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\nPO"], ids=["nothing", "an empty line", "half a method"])
def test_who_says_too_little_and_goes_makes_no_line(serve: Servers, data: bytes) -> None:
    serving = serve()
    serving.plain(data)
    serving.until(lambda: serving.count("handshaking") == 1)
    serving.unharmed(0)


@pytest.mark.parametrize("data", [request(), b"\r\n" + request(), b"SSH-2.0-x\r\n"], ids=["HTTP", "empty line", "SSH"])
def test_it_may_come_a_byte_at_a_time(serve: Servers, data: bytes) -> None:
    serving = serve()
    sock = serving.plain()
    for byte in data:
        send_what_it_takes(sock, bytes([byte]))
        gevent.sleep(0)
    assert drained(sock).startswith(b"HTTP/1.1 400 ") is (b"HTTP" in data)
    serving.unharmed()
    assert len(serving.log()) == 1


def test_who_uploads_plainly_still_reads_the_answer(serve: Servers) -> None:
    """It looks for one when it has sent everything; a reset would take the answer away."""
    serving = serve()
    sock = serving.plain()
    send_what_it_takes(sock, post(b"x" * (512 << 10)))
    assert drained(sock).startswith(b"HTTP/1.1 400 ")
    serving.unharmed()
    assert serving.seen == []


@pytest.mark.parametrize(("data", "name"), OTHERS.values(), ids=OTHERS)
def test_anything_else_is_closed_without_an_answer(serve: Servers, data: bytes, name: str) -> None:
    serving = serve()
    assert drained(serving.plain(data)) == b""
    serving.unharmed()
    (line,) = serving.log()
    assert line.startswith("127.0.0.1:") and name in line and "TLS" in line
    assert "\r" not in line and "\n" not in line and "\0" not in line


def test_any_number_of_them_makes_few_lines_and_leaves_nothing(serve: Servers) -> None:
    serving = serve()
    several: list[Any] = [*HTTP.values(), *(data for data, _ in OTHERS.values())]
    for _ in range(10):
        for sock in [serving.plain(data) for data in several]:
            drained(sock)
            sock.close()
    serving.unharmed(BOUND)
