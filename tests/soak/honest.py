"""Honest clients: what they ask, how they ask it, and what they accept as the answer.

Right is the one answer that the request's number and kind allow, byte for byte. Besides that a client may only be told
that there is no room (503 with Retry-After), or lose a connection before its answer began, and then the application
must not have seen the request; or be told that time is up, and then that much time must have passed on its own clock.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

import gevent

from tests.soak.apps import FILE_SIZE, WHOLE_FILE, content
from tests.soak.wire import Peer, Truncated, Unanswered

LARGEST = 200_000  # bytes of content
CLOCK = 0.02  # seconds: the server's deadlines are by a clock that moves every 1 to 10 ms
BOUNDARY = "soak-boundary"


@dataclass
class Ask:
    """One request, and the only answer to it."""

    kind: str
    number: int
    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes
    chunked: bool
    status: int
    content: bytes

    def head(self, close=False):
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: soak", *(f"{k}: {v}" for k, v in self.fields)]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        elif self.method == "POST":
            lines.append(f"Content-Length: {len(self.body)}")
        if close:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode()


def size(rng):
    """Mostly small, sometimes nothing, sometimes up to LARGEST."""
    return rng.choice((0, 1, rng.randrange(1000), rng.randrange(1000), rng.randrange(20_000), rng.randrange(LARGEST)))


def _plain(kind, number, rng):
    n = size(rng)
    path = "get" if kind in ("get", "head") else kind
    extra = f"&ms={rng.randrange(300)}" if kind == "wait" else ""
    method = "HEAD" if kind == "head" else "GET"
    answer = b"" if kind in ("head", "none") else content(number, n)
    status = 204 if kind == "none" else 200
    noise = [(f"X-Noise-{i}", "n" * rng.randrange(200)) for i in range(rng.randrange(4))]
    return Ask(kind, number, method, f"/{path}?id={number}&size={n}{extra}", noise, b"", False, status, answer)


def _file(kind, number, rng):
    return Ask(kind, number, "GET", f"/file?id={number}", [], b"", False, 200, WHOLE_FILE[number % FILE_SIZE :])


def _posted(kind, number, rng):
    body = rng.randbytes(size(rng))
    return Ask(kind, number, "POST", f"/post?id={number}", [], body, kind == "chunked", 200, body)


def _expecting(kind, number, rng):
    body = rng.randbytes(1 + size(rng))
    return Ask(kind, number, "POST", f"/post?id={number}", [("Expect", "100-continue")], body, False, 200, body)


def _slow(kind, number, rng):
    body = rng.randbytes(rng.randrange(100_000, LARGEST))
    answer = hashlib.sha256(body).hexdigest().encode()
    return Ask(kind, number, "POST", f"/slow?id={number}", [], body, rng.random() < 0.5, 200, answer)


def _form(kind, number, rng):
    text, upload = f"text of {number}", rng.randbytes(size(rng))
    start = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
    body = (
        f'{start}"text"\r\n\r\n{text}\r\n{start}"file"; filename="f{number}"\r\nContent-Type: a/b\r\n\r\n'.encode()
        + upload
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )
    answer = json.dumps([text, f"f{number}", len(upload), hashlib.sha256(upload).hexdigest()]).encode()
    fields = [("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")]
    return Ask(kind, number, "POST", f"/form?id={number}", fields, body, rng.random() < 0.5, 200, answer)


KINDS: dict[str, tuple[Callable[[str, int, Random], Ask], int]] = {  # and how often
    "get": (_plain, 6), "head": (_plain, 2), "none": (_plain, 2), "stream": (_plain, 3), "wait": (_plain, 2),
    "file": (_file, 1), "post": (_posted, 4), "chunked": (_posted, 4), "expect": (_expecting, 1),
    "slow upload": (_slow, 1), "form": (_form, 2),
}  # fmt: skip
PIPELINED = ("get", "head", "none", "stream", "wait", "post", "chunked", "form")


def chunks(body, rng):
    """The body as chunks of any size."""
    at = 0
    while at < len(body):
        piece = body[at : at + rng.choice((1, 100, 5000, 70_000))] if at < 500 else body[at : at + 30_000]
        at += len(piece)
        extension = rng.choice((b"", b"", b";a=b"))
        yield b"%x%s\r\n%s\r\n" % (len(piece), extension, piece)
    yield b"0\r\n%s\r\n" % rng.choice((b"", b"", b"X-Trailer: t\r\n"))


class Verdict(Exception):
    """What became of a request has been counted; its connection cannot be used any more."""


class Wrong(Verdict):
    """The same for a wrong answer, after which nothing is known of requests behind it."""


class Honest:
    """One client: connections one after the other until `until`, seeded.

    Arguments:
        target: a servers.Target.
        tally: a report.Tally.
        rng: a random.Random of its own.
    """

    def __init__(self, target, tally, rng):
        self.target, self.tally, self.rng = target, tally, rng

    def run(self, until):
        ways = (self.kept, self.kept, self.pipelined, self.alone, self.half_closed, self.burst)
        while time.monotonic() < until:
            way = self.rng.choices(ways, (3, 3, 2, 2, 1, 0.15))[0]
            try:
                way()
            except Verdict:
                pass
            except TimeoutError:
                self.tally.wrong(f"{self.target.name}: {way.__name__}: no end after the longest of all limits")
            gevent.sleep(self.rng.random() * 0.1)

    # ---- ways to use connections

    def kept(self):
        """Requests one after the other on one connection."""
        with self.connect() as peer:
            for _ in range(self.rng.randrange(1, 20)):
                ask = self.make()
                self.exchange(peer, ask)
                gevent.sleep(self.rng.random() * 0.03)

    def pipelined(self):
        """Several requests at once, cut anywhere; the answers in their order."""
        asks = [self.make(PIPELINED) for _ in range(self.rng.randrange(2, 12))]
        with self.connect() as peer:
            began = peer.next_began()
            data = b"".join(b"".join((ask.head(), *self.pieces(ask))) for ask in asks)
            sender = gevent.spawn(self.send_cut, peer, data)
            try:
                for i, ask in enumerate(asks):
                    self.receive(peer, ask, began, asks[i + 1 :])
            finally:
                sender.kill()

    def alone(self):
        """A connection for one request; afterwards it ends."""
        with self.connect() as peer:
            self.exchange(peer, self.make(), close=True)
            self.ends(peer)

    def half_closed(self):
        """A client that has finished sending still gets its answer."""
        ask = self.make(PIPELINED)
        with self.connect() as peer:
            began = peer.next_began()
            peer.send(b"".join((ask.head(), *self.pieces(ask))))
            peer.finish()
            self.receive(peer, ask, began)
            self.ends(peer)

    def burst(self):
        """More at once than may run and wait: some are refused, none is answered wrongly."""
        crowd = [gevent.spawn(self.one_of_many, self.make(("wait",))) for _ in range(120)]
        gevent.joinall(crowd, raise_error=True)

    def one_of_many(self, ask):
        try:
            with self.connect() as peer:
                self.exchange(peer, ask, close=True)
        except Verdict:
            pass

    # ---- parts of them

    def make(self, kinds: Iterable[str] = tuple(KINDS)):
        kinds = tuple(kinds)
        kind = self.rng.choices(kinds, [KINDS[name][1] for name in kinds])[0]
        return KINDS[kind][0](kind, self.target.next_number(), self.rng)

    def connect(self):
        try:
            return Peer(self.target.port)
        except ConnectionError:
            self.tally.honest("connect", "no connection")
            raise Verdict from None

    def pieces(self, ask):
        return chunks(ask.body, self.rng) if ask.chunked else (ask.body,)

    def send_cut(self, peer, data):
        at = 0
        while at < len(data):
            end = at + self.rng.choice((1, 50, 3000, 100_000))
            if not peer.send(data[at:end]):
                return
            at = end
            gevent.sleep(0)

    def exchange(self, peer, ask, close=False):
        began = peer.next_began()
        if peer.send(ask.head(close)):
            if ask.kind == "expect":
                self.wait_to_continue(peer, ask, began)
            for piece in self.pieces(ask):
                if not peer.send(piece):
                    break
        self.receive(peer, ask, began, close=close)

    def wait_to_continue(self, peer, ask, began):
        answer = self.read(peer, ask, began)
        if answer.status != 100:
            self.judge(ask, answer, began)

    def receive(self, peer, ask, began, others=(), close=False):
        """The answer to `ask`. Raises Verdict where the connection is over; `others` were asked on it too."""
        try:
            answer = self.read(peer, ask, began)
            self.judge(ask, answer, began)
        except Wrong:
            raise
        except Verdict:
            for other in others:
                self.unserved(other, "unanswered", began)
            raise
        if answer.closes and others:
            self.tally.wrong(f"{self.target.name}: {ask.kind} {ask.number}: closed before {len(others)} more")
            raise Verdict
        if answer.closes and not close:
            raise Verdict  # the server may end a connection whenever it says so

    def read(self, peer, ask, began):
        try:
            return peer.answer(ask.method)
        except Unanswered:
            self.unserved(ask, "unanswered", began)
        except Truncated:
            self.timed(ask, "cut", began, self.target.limits["write_timeout"])
        except AssertionError as error:
            self.wrong(ask, f"not an answer: {error}")
        raise Verdict

    def ends(self, peer):
        if rest := peer.data or peer.receive():
            self.tally.wrong(f"{self.target.name}: bytes after the last answer: {rest[:80]!r}")

    # ---- verdicts; all but "right" end the connection

    def judge(self, ask, answer, began):
        self.tally.answered(answer.status)
        limits = self.target.limits
        if answer.get("X-Id") is not None:
            self.compare(ask, answer)
        elif answer.status == 503 and answer.get("Retry-After"):
            self.unserved(ask, "503", began)
        elif answer.status == 503:
            self.timed(ask, "503 late", began, limits["request_timeout"])
        elif answer.status == 408:
            self.timed(ask, "408", began, min(limits["header_timeout"], limits["body_timeout"]))
        else:
            self.wrong(ask, f"{answer.status} {answer.content[:80]!r}")
        if answer.get("X-Id") is None:
            raise Verdict

    def compare(self, ask, answer):
        told = answer.get("X-Id"), answer.status, answer.content
        if told != (str(ask.number), ask.status, ask.content):
            what = f"{told[0]}, {told[1]}, {len(told[2])} bytes {told[2][:40]!r}"
            self.wrong(ask, f"got {what}; wanted {ask.status}, {len(ask.content)} bytes {ask.content[:40]!r}")
        self.target.answered.append(ask.number)
        self.tally.honest(ask.kind, "right")

    def unserved(self, ask, how, began):
        """The application must not have seen it, unless it was in it for too long."""
        if time.monotonic() - began < min(self.target.limits.values()):
            self.target.unserved.append(ask.number)
        self.tally.honest(ask.kind, how)

    def timed(self, ask, how, began, limit):
        passed = time.monotonic() - began
        if passed < limit - CLOCK:
            self.wrong(ask, f"{how} after {passed:.3f} s, before its {limit:g} s were up")
        else:
            self.tally.honest(ask.kind, f"{how} in time")

    def wrong(self, ask, what):
        self.tally.honest(ask.kind, "WRONG")
        self.tally.wrong(f"{self.target.name}: {ask.kind} {ask.number}: {what}")
        raise Wrong
