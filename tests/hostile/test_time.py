"""Every time-out under every kind of client: what a connection waits for, what the client does then, how it ends.

tests/http/test_timeouts.py has the plain cases - a client that stalls, or trickles - and when a time-out begins to
count; the queue's are in tests/http/test_limits.py. The table here has the others. A row that ends "in time" runs with
a short time-out; one that ends "at once" with an hour, so that nothing but what the client did can have ended it. All
others are off, but for a short linger_timeout: refused clients do not close by themselves here.
"""

from __future__ import annotations

import contextlib
import logging
import re
import ssl
from dataclasses import dataclass, field
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp.testing import every_split, exchange
from tests.answers import only
from tests.http.apps import echo, hello, post, request
from tests.http.client import Client
from tests.http.test_timeouts import BIG, trickle

TIMEOUTS = (
    "header_timeout", "keepalive_timeout", "body_timeout", "body_min_rate", "write_timeout", "write_min_rate",
    "request_timeout", "queue_timeout",
)  # fmt: skip
SHORT, HOUR = 0.1, 3600
HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nA: "
CONTINUE = request(b"POST /echo HTTP/1.1", b"Content-Length: 5", b"Expect: 100-continue")


def app(environ: dict[str, Any], start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    if path == "/stuck":
        Event().wait()
    if path == "/echo":
        return echo(environ, start_response)
    if path == "/known":
        start_response("200 OK", [])
        return [b"x" * BIG]
    if path == "/streamed":
        start_response("200 OK", [])
        return (b"x" * 65536 for _ in range(BIG >> 16))
    return hello(environ, start_response)


@dataclass(frozen=True)
class Wait:
    """What a connection waits for.

    Attributes:
        timeout: the setting that bounds it.
        data: sent to get there.
        phase: where the connection is then.
        before: sent first, and answered.
        rate: whether the setting is a rate, which everybody is below.
        others: requests that run meanwhile, for ever.
        settings: what it takes besides.
    """

    timeout: str
    data: bytes
    phase: str
    before: bytes = b""
    rate: bool = False
    others: int = 0
    settings: dict[str, Any] = field(default_factory=dict)

    def settle(self, end: str) -> dict[str, Any]:
        """The settings for a row that ends like this."""
        duration = SHORT if end == "in time" else HOUR
        settings = {**dict.fromkeys(TIMEOUTS, 0), "linger_timeout": 0.05, **self.settings}
        if self.rate:
            return {**settings, self.timeout: 1 << 30, "min_rate_after": duration}
        return {**settings, self.timeout: duration}


KNOWN, STREAMED = request(b"GET /known HTTP/1.1"), request(b"GET /streamed HTTP/1.1")
HALF_BODY = post(b"hello", path=b"/echo")[:-1]
AFTER = {"header_timeout": SHORT, "keepalive_timeout": SHORT}  # a 503 of that kind does not end the connection
WAITS = {
    "a newcomer's first byte": Wait("header_timeout", b"", "fresh"),
    "the first head": Wait("header_timeout", HEAD, "fresh"),
    "a later head": Wait("header_timeout", HEAD, "heading", before=request()),
    "the next request": Wait("keepalive_timeout", b"", "idle", before=request()),
    "a place": Wait("queue_timeout", request(), "queued", others=1, settings={"concurrency": 1}),
    "content": Wait("body_timeout", HALF_BODY, "body"),
    "content, after 100": Wait("body_timeout", CONTINUE, "body"),
    "content at a rate": Wait("body_min_rate", HALF_BODY, "body", rate=True),
    "the application": Wait("request_timeout", request(b"GET /stuck HTTP/1.1"), "running", settings=AFTER),
    "a reader of what is done": Wait("write_timeout", KNOWN, "flushing"),
    "a reader of what is made": Wait("write_timeout", STREAMED, "writing"),
    "a reader at a rate": Wait("write_min_rate", KNOWN, "flushing", rate=True),
    "a reader of what is made, at a rate": Wait("write_min_rate", STREAMED, "writing", rate=True),
    "content nobody wants": Wait("linger_timeout", post(b"hello")[:-1], "draining"),
    "the end after a refusal": Wait("linger_timeout", b"bad\r\n", "lingering"),
}

# (what it waits for, what the client does): (answers and perhaps a reset that the client sees, when). Nothing at all is
# a close in good order; None: the client has gone and sees nothing.
TABLE: dict[tuple[str, str], tuple[str | None, str]] = {
    ("a newcomer's first byte", "half-closes"): ("", "at once"),
    ("a newcomer's first byte", "resets"): (None, "at once"),
    ("a newcomer's first byte", "trickles empty lines"): ("400", "at once"),
    ("the first head", "stalls"): ("408", "in time"),
    ("the first head", "never reads"): ("408", "in time"),
    ("the first head", "half-closes"): ("", "at once"),
    ("the first head", "resets"): (None, "at once"),
    ("a later head", "stalls"): ("408", "in time"),
    ("a later head", "never reads"): ("200 408", "in time"),
    ("a later head", "half-closes"): ("", "at once"),
    ("a later head", "resets"): (None, "at once"),
    ("the next request", "never reads"): ("200", "in time"),
    ("the next request", "half-closes"): ("", "at once"),
    ("the next request", "resets"): (None, "at once"),
    ("the next request", "trickles empty lines"): ("400", "at once"),
    ("a place", "trickles"): ("503", "in time"),
    ("a place", "never reads"): ("503", "in time"),
    ("a place", "half-closes"): ("503", "in time"),
    ("a place", "resets"): (None, "in time"),
    ("content", "never reads"): ("408", "in time"),
    ("content", "half-closes"): ("400", "at once"),
    ("content", "resets"): (None, "at once"),
    ("content, after 100", "stalls"): ("100 408", "in time"),
    ("content, after 100", "never reads"): ("100 408", "in time"),
    ("content, after 100", "half-closes"): ("100 400", "at once"),
    ("content, after 100", "resets"): (None, "at once"),
    ("content at a rate", "stalls"): ("408", "in time"),
    ("content at a rate", "never reads"): ("408", "in time"),
    ("content at a rate", "half-closes"): ("400", "at once"),
    ("content at a rate", "resets"): (None, "at once"),
    ("the application", "trickles"): ("503 408", "in time"),
    ("the application", "never reads"): ("503", "in time"),
    ("the application", "half-closes"): ("503", "in time"),
    ("the application", "resets"): (None, "in time"),
    ("a reader of what is done", "never reads, but trickles"): ("200 reset", "in time"),
    ("a reader of what is done", "never reads, and half-closes"): ("200 reset", "in time"),
    ("a reader of what is done", "resets"): (None, "at once"),
    ("a reader of what is made", "never reads, but trickles"): ("200 reset", "in time"),
    ("a reader of what is made", "never reads, and half-closes"): ("200 reset", "in time"),
    ("a reader of what is made", "resets"): (None, "at once"),
    ("a reader at a rate", "never reads"): ("200 reset", "in time"),
    ("a reader at a rate", "never reads, but trickles"): ("200 reset", "in time"),
    ("a reader at a rate", "never reads, and half-closes"): ("200 reset", "in time"),
    ("a reader at a rate", "resets"): (None, "at once"),
    ("a reader of what is made, at a rate", "never reads"): ("200 reset", "in time"),
    ("a reader of what is made, at a rate", "never reads, but trickles"): ("200 reset", "in time"),
    ("a reader of what is made, at a rate", "never reads, and half-closes"): ("200 reset", "in time"),
    ("a reader of what is made, at a rate", "resets"): (None, "at once"),
    ("content nobody wants", "stalls"): ("200", "in time"),
    ("content nobody wants", "never reads"): ("200", "in time"),
    ("content nobody wants", "half-closes"): ("200", "at once"),
    ("content nobody wants", "resets"): (None, "at once"),
    ("the end after a refusal", "never reads"): ("400", "in time"),
    ("the end after a refusal", "half-closes"): ("400", "at once"),
    ("the end after a refusal", "resets"): (None, "at once"),
}  # fmt: skip


def seen_by(client: Client) -> str:
    """The statuses of all that comes up to the end of the connection, and whether that is a reset."""
    end = ""
    try:
        while piece := client.sock.recv(65536):
            client.data += piece
    except ConnectionResetError:
        end = "reset"
    statuses = re.findall(rb"HTTP/1\.1 (\d{3}) ", client.data)
    return " ".join([*map(bytes.decode, statuses), end]).strip()


@pytest.mark.parametrize(("wait", "behaviour"), TABLE, ids=map(": it ".join, TABLE))
def test_whatever_the_client_does_it_ends(serve: Any, caplog: Any, wait: str, behaviour: str) -> None:
    waiting, (seen, end) = WAITS[wait], TABLE[wait, behaviour]
    reads = not behaviour.startswith("never reads")
    serving = serve(app, **waiting.settle(end))
    for _ in range(waiting.others):
        serving.connect().send(request(b"GET /stuck HTTP/1.1"))
        serving.until(lambda: serving.count("running") == waiting.others)
    client = serving.connect(receive_buffer=4096)
    client.send(waiting.before)
    if waiting.before and reads:
        assert client.answer().status == 200
    client.send(waiting.data)
    serving.until(lambda: serving.count("connections") > waiting.others)

    def over() -> bool:
        return serving.count("connections") == waiting.others

    serving.until(lambda: serving.count(waiting.phase) or over())  # a busy machine may have missed it
    assert end == "in time" or not over()
    trickling = None
    if "trickles" in behaviour:
        trickling = trickle(client, b"\r\n" if "empty" in behaviour else b"x")
    elif "half-closes" in behaviour:
        with contextlib.suppress(OSError):  # it is over
            client.finish()
    elif behaviour == "resets":
        client.reset()
    if not reads:
        serving.until(over)
    if seen is not None:
        found = seen_by(client)
        if trickling is not None:  # bytes on their way make the end a reset, of which a send may learn before us
            found, seen = found.removesuffix(" reset"), seen.removesuffix(" reset")
        assert found == seen
        assert len(client.data) < BIG  # also where it cannot be seen that it was a reset: not the whole answer
    serving.until(over)
    if trickling is not None:
        trickling.kill()
    gevent.idle()
    failed = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(failed) == (waiting.timeout == "request_timeout")


# ---- a client that speaks TLS to a plain port


def hellos() -> dict[str, bytes]:
    """The first bytes of TLS clients: today's, and the one of SSL 2 that old scanners send."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="example.com")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return {"TLS": outgoing.read(), "SSL 2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(35)}


@pytest.mark.parametrize("kind", ["TLS", "SSL 2"])
def test_a_tls_hello_is_refused_at_its_first_byte_however_it_is_cut(kind: str) -> None:
    data = hellos()[kind]
    for pieces in [*every_split(data), [data[:1]]]:
        outcome = exchange(hello, pieces, keep_open=True)
        answer = only(outcome.sent)
        assert (answer.status, answer.closes, outcome.ended) == (400, True, "closed")


def test_a_tls_client_learns_that_this_is_no_tls_and_others_are_served(serve: Any) -> None:
    serving = serve(hello, header_timeout=HOUR, linger_timeout=HOUR)
    honest = serving.connect()
    for _ in range(5):
        client = serving.connect().send(hellos()["TLS"])
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="example.com")
        answer = client.sock.recv(65536)
        incoming.write(answer)
        with pytest.raises(ssl.SSLError, match="(?i)wrong.version.number|http.request|unknown.protocol"):
            tls.do_handshake()
        assert answer.startswith(b"HTTP/1.1 400 ")
        client.close()
        assert honest.ask(request()).status == 200
    serving.until(lambda: serving.count("connections") == 1)
