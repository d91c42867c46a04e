"""WebSockets in a world: clients (RFC 6455), the handlers that they talk to, and what must hold.

A world of native handlers has some beside its other clients. Frames are made and read here, by no code of the server's.
"""

import base64
import contextlib
import ctypes
import hashlib

import gevent

from greenhttp import broadcast
from greenhttp.errors import StreamTimeout, WebSocketClosed
from tests.sim.judge import Wrong
from tests.sim.native import END
from tests.sim.tls import Tunnel

HANDLERS = ("echo", "echo", "messages", "messages", "sender", "closer", "raiser", "left", "holds", "timeout", "group")
MANNERS = {
    "honest": 10, "wrong": 4, "silent": 2, "never": 1, "reset": 2, "fin": 2, "refused": 2, "both": 2,
}  # fmt: skip
SENT = 40  # messages of a handler that only sends
MOST_SILENT = 5 + 4 + 1.0  # seconds until a peer is given up that answers no ping
KEY = base64.b64encode(b"a world's client").decode()
ACCEPT = base64.b64encode(hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())


def frame(opcode, payload, mask=b"\1\2\3\4", last=True, bits=0):
    size = len(payload)
    head = bytes([last << 7 | bits | opcode])
    masked = 0x80 if mask else 0
    if size < 126:
        head += bytes([masked | size])
    elif size < 65536:
        head += bytes([masked | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([masked | 127]) + size.to_bytes(8, "big")
    if not mask:
        return head + payload
    pad = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


WRONG = (  # frames that break a rule, and the code that each is closed with
    (frame(1, b"x", mask=b""), 1002),
    (frame(3, b""), 1002),
    (frame(11, b""), 1002),
    (frame(1, b"x", bits=0x40), 1002),
    (frame(1, b"x", bits=0x10), 1002),
    (frame(0, b"x"), 1002),
    (frame(1, b"x", last=False) + frame(1, b"y"), 1002),
    (frame(9, b"x" * 126), 1002),
    (frame(9, b"", last=False), 1002),
    (frame(8, b"\3"), 1002),
    (frame(8, (1005).to_bytes(2, "big")), 1002),
    (frame(8, (1000).to_bytes(2, "big") + b"\xff"), 1007),
    (frame(1, b"\xc3\x28"), 1007),
    (frame(1, b"\xc3", last=False) + frame(0, b"\x28"), 1007),
    (frame(2, b"x" * 100_001), 1009),
    (frame(2, b"x" * 90_000, last=False) + frame(0, b"x" * 90_000), 1009),
)


def message(number, at, chance_size):
    """The message `at` of the client `number`: no two alike."""
    return f"{number}:{at}:".encode() + b"%d" % at * chance_size


class Talker:
    """A client with a WebSocket. Has what the world asks of its clients."""

    asked = ()

    def __init__(self, world, number, chance):
        self.world, self.number_of, self.chance = world, number, chance
        self.name = f"w{number}"
        self.handler = chance.choice(HANDLERS)
        self.way = chance.choices(list(MANNERS), list(MANNERS.values()))[0]
        if self.handler in ("sender", "group") and self.way == "both":
            self.way = "honest"
        self.manner = "never" if self.way == "never" else f"socket {self.way} {self.handler}"
        self.start = chance.choice((0.0, chance.random() * 0.3))
        self.messages = [
            message(number, at, chance.choice((0, 1, 30, 200, 5000, 30_000)))
            for at in range(chance.choice((0, 1, 3, 10, 40)))
        ]
        if self.handler == "closer":
            self.messages = self.messages[:3]
        self.expected = self.expect()
        self.code = chance.choice((None, 1000, 1001, 3000, 4999))
        self.may, self.may_cut, self.may_end = set(), False, self.way not in ("honest", "wrong", "both")
        self.eager = self.way != "never"
        self.answers = self
        self.whole = 0
        self.got, self.pongs, self.closed = [], 0, None  # the code of the server's close frame
        self.status, self.data, self.parts = 0, b"", b""
        self.number = self.tunnel = self.ended = self.ended_at = self.awaits = None
        self.last_sent = self.said_at = 0.0
        self.said = False
        self.at, self.steps = 0, self.plan_steps()

    def expect(self):
        if self.handler in ("echo", "messages", "holds", "timeout"):
            return self.messages
        if self.handler == "sender":
            return [message(self.number_of, at, 50) for at in range(SENT)]
        if self.handler == "left":
            return [message(self.number_of, at, 3) for at in range(3)]
        return []

    # ---- what it does

    def plan_steps(self):
        chance = self.chance
        fields = [f"GET /w/{self.number_of} HTTP/1.1", "Host: sim", "Connection: Upgrade", "Upgrade: websocket",
                  f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"]  # fmt: skip
        self.answer = 101
        if self.way == "refused":
            self.answer, at, other = chance.choice(
                ((426, 5, "Sec-WebSocket-Version: 12"), (400, 4, "Sec-WebSocket-Key: short"), (403, 1, None),
                 (426, 3, "Upgrade: other"))
            )  # fmt: skip
            if other is None:
                fields.append("Origin: http://elsewhere.example")
            else:
                fields[at] = other
        head = "\r\n".join([*fields, "", ""]).encode()
        if self.way == "refused":
            return [("send", head), ("await", 101), ("finish",)]
        out = b""
        for each in self.messages:
            out += self.fragments(each)
        if self.way == "wrong":
            wrong, self.wrong = chance.choice(WRONG)
            out += wrong
        ahead = chance.random() < 0.4
        steps = [] if ahead else [("send", head), ("await", 101)]
        if ahead:
            out = head + out
        cuts = sorted(chance.randrange(len(out) + 1) for _ in range(chance.choice((0, 0, 1, 3, 12))))
        for at, end in zip([0, *cuts], [*cuts, len(out)], strict=True):
            if end > at:
                steps += [("send", out[at:end]), ("wait", chance.choice((0, 0.0005, 0.005, 0.05)))]
        payload = b"" if self.code is None else self.code.to_bytes(2, "big") + b"bye"
        if self.way == "honest":
            if self.expected:
                steps.append(("messages", len(self.expected)))
            if self.handler not in ("closer", "raiser", "sender", "left", "group"):
                steps.append(("wait", chance.choice((0, 0.01, 12.0))))
                steps.append(("close", frame(8, payload)))
            elif self.handler == "group":
                steps += [("messages", 1), ("close", frame(8, payload))]
        elif self.way == "both":
            steps.append(("close", frame(8, payload)))
        elif self.way in ("reset", "fin"):
            del steps[chance.randrange(len(steps)) + 1 :]
            steps.append(("reset",) if self.way == "reset" else ("finish",))
        return steps

    def fragments(self, data):
        chance = self.chance
        opcode = chance.choice((1, 2))
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 0, 1, 4))))
        out, ends = b"", [*cuts, len(data)]
        for i, (at, end) in enumerate(zip([0, *cuts], ends, strict=True)):
            out += frame(0 if i else opcode, data[at:end], last=i == len(cuts), mask=chance.randbytes(4))
            if chance.random() < 0.2:
                out += frame(chance.choice((9, 10)), b"p" * chance.choice((0, 5, 125)))
        return out

    def act(self):
        c, world = self.world.c, self.world
        if self.number is None:
            self.number = c.connect(world.plan.family, self.chance.choice((2048, 16384, 300_000)), not self.eager)
            world.connections += 1
            world.by_number.append(self)
            if world.plan.secure:
                self.eager = True
                self.tunnel = Tunnel(world, self.chance, self)
                hello = self.tunnel.hello()
                c.client_send(self.number, hello, len(hello))
                return
        while self.at < len(self.steps) and not self.ended:
            what, *given = self.steps[self.at]
            if what == "await" and not self.status or what == "messages" and len(self.got) < given[0]:
                self.awaits = what
                return
            self.awaits = None
            self.at += 1
            if what == "send":
                self.send(given[0])
            elif what == "close":
                if self.closed is None:
                    self.say(given[0])
            elif what == "wait":
                world.at(given[0], self) if given[0] else world.soon(self)
                return
            elif what == "finish":
                self.said_at = self.said_at or world.now()
                self.tunnel.finish() if self.tunnel else c.client_finish(self.number)
            elif what == "reset":
                c.client_reset(self.number)
                self.end("left")

    def send(self, data):
        self.last_sent = self.world.now()
        if self.tunnel is not None:
            self.tunnel.held = False
            self.tunnel.send(data)
        elif self.world.c.client_send(self.number, data, len(data)) < 0:
            self.cut_off()

    def say(self, data):
        if not self.said and self.way not in ("wrong",):
            self.said, self.said_at = True, self.world.now()
            self.send(data)

    def waits(self):
        return False

    def shaken(self):
        self.eager = self.way != "never"
        self.world.c.client_lazy(self.number, not self.eager)
        self.world.soon(self)

    def progressed(self, sent):
        pass

    def cut_off(self):
        self.overtook = True
        self.at = len(self.steps)

    overtook = False

    def end(self, how):
        self.ended, self.ended_at = how, self.world.now()
        self.world.left(self)

    # ---- what it hears

    def take(self, most):
        world = self.world
        while not self.ended:
            n = world.c.client_take(self.number, world.memory, world.room)
            if n > 0:
                came = ctypes.string_at(world.memory, n)
                self.hear(came if self.tunnel is None else self.tunnel.feed(came))
            elif n == 0:
                break
            else:
                self.end("eof" if n == END else "reset")
        if self.awaits and not self.ended:
            self.awaits = None
            world.soon(self)

    def hear(self, came):
        self.data += came
        if not self.status:
            head, end, rest = self.data.partition(b"\r\n\r\n")
            if not end:
                return
            self.status, self.data = int(head[9:12]), rest
            if self.status == 101 and ACCEPT not in head:
                raise Wrong("a wrong answer to a handshake", f"{self.name} {head}")
        if self.status != 101:
            return
        while self.closed is None and (event := self.next()) is not None:
            opcode, payload = event
            if opcode == 9:
                if self.way != "silent":
                    self.send(frame(10, payload))
            elif opcode == 10:
                self.pongs += 1
            elif opcode == 8:
                self.closed = int.from_bytes(payload[:2], "big") if payload else 1005
                self.say(frame(8, payload[:2]))
            else:
                self.got.append(payload)
        if self.closed is not None and self.data:
            raise Wrong("bytes behind a close frame", f"{self.name} {self.data[:60]}")

    def next(self):
        data = self.data
        if len(data) < 2:
            return None
        if data[0] & 0x70 or not data[0] & 0x80 or data[0] & 15 not in (1, 2, 8, 9, 10) or data[1] & 0x80:
            raise Wrong("no frame where one must begin", f"{self.name} {self.manner} {data[:40]}")
        size, at = data[1], 2
        if size > 125:
            at = 4 if size == 126 else 10
            if len(data) < at:
                return None
            size = int.from_bytes(data[2:at], "big")
        if len(data) < at + size:
            return None
        self.data = data[at + size :]
        return data[0] & 15, data[at : at + size]

    # ---- what must hold

    def told(self):
        return self.status == 503

    def loose(self):
        """Whether the world has a reason to end it, or not to let it begin."""
        world = self.world
        return bool(
            world.stalls
            or world.signals
            or world.tight
            or world.stopped_early
            or world.real
            or self.may_cut
            or "limit_buffers" in world.plan.settings
            or self.tunnel
            and self.tunnel.bent
        )

    def judge(self):
        story = (
            f"{self.name} {self.manner} {self.status} got {len(self.got)} of {len(self.expected)}, closed "
            f"{self.closed}, said {self.code if self.said else None}, {self.ended}"
        )
        if self.handler == "group":
            if any(each != b"all" for each in self.got):
                raise Wrong("a wrong message", f"{story}: {self.got}")
        elif self.got != self.expected[: len(self.got)]:
            at = next(
                (i for i, pair in enumerate(zip(self.got, self.expected, strict=False)) if pair[0] != pair[1]), -1
            )
            raise Wrong("a wrong message", f"{story}: at {at}: {self.got[at][:60]}")
        codes = {None, 1012} | ({1000, 1001, 3000, 4999, 1005} if self.handler != "closer" else {4000})
        codes |= {1011, 1013, 1000} if self.loose() else {1013} if self.world.crowded else set()
        codes |= {1011} if self.handler == "raiser" else set()
        codes |= {self.wrong} if self.way == "wrong" else set()
        if self.closed not in codes:
            raise Wrong("a wrong close code", f"{story}: {codes}")
        if self.loose() or self.way in ("reset", "fin", "never"):
            return
        if self.world.crowded and (self.status == 503 or self.closed == 1013):
            return  # no place was free for its request, or for its message
        if self.way in ("wrong", "both") and self.ended == "reset" and self.handler not in ("echo", "messages"):
            return  # it has gone on sending to a server that had parted
        if self.status != self.answer:
            raise Wrong("a wrong answer to a handshake", f"{story}: {self.answer}")
        if self.way == "honest":
            if self.handler != "group" and len(self.got) != len(self.expected):
                raise Wrong("a message is missing", story)
            right = {"closer": {4000}, "raiser": {1011}, "sender": {1000}, "left": {1000}}.get(
                self.handler, {1005 if self.code is None else self.code}
            )
            if self.closed not in right:
                raise Wrong("a wrong close code", f"{story}: {right}")
            if self.ended != "eof" and not self.overtook:
                raise Wrong("a reset that nothing excuses", story)
        elif self.way == "wrong" and self.handler in ("echo", "messages") and self.closed != self.wrong:
            raise Wrong("a wrong close code", f"{story}: {self.wrong}")
        elif self.way == "silent" and self.ended_at - self.last_sent > self.world.bound + MOST_SILENT:
            raise Wrong("a late end", f"{story}: {self.ended_at - self.last_sent:.1f} s")


# ---- handlers


class Raised(Exception):
    """What a handler raises behind its handshake."""


def answer(world, request):
    client = world.talkers[int(request.path[3:])]
    kind = client.handler
    if kind == "messages":
        request.websocket(on_message=lambda ws, each: ws.send(each))
        return None
    ws = request.websocket()
    world.open_sockets.append(kind)
    try:
        talk(world, client, kind, ws)
    except WebSocketClosed:
        pass
    finally:
        world.open_sockets.pop()
    return None


def talk(world, client, kind, ws):
    if kind in ("echo", "holds"):
        for each in ws:
            if kind == "holds":
                gevent.sleep(0.002)
            ws.send(each)
    elif kind == "timeout":
        while True:
            try:
                ws.send(ws.receive(timeout=0.003))
            except StreamTimeout:
                gevent.sleep(0)
    elif kind == "sender":
        for each in client.expected:
            ws.send(each)
    elif kind == "closer":
        ws.close(4000, "enough")
    elif kind == "raiser":
        raise Raised("a handler of a world")
    elif kind == "left":
        for each in client.expected[:-1]:
            ws.send(each)
        gevent.spawn(leftover, ws, client.expected[-1]).join()
        gevent.spawn(late, ws)
    elif kind == "group":
        ws.join("all")
        broadcast("all", b"all")
        for _ in ws:
            pass


def leftover(ws, data):
    with contextlib.suppress(WebSocketClosed):
        ws.send(data)


def late(ws):
    """Sends when its handler has returned: nothing of it may go out."""
    gevent.sleep(0.001)
    with contextlib.suppress(WebSocketClosed):
        ws.send(b"too late")
