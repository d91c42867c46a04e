"""A seed's world, before it happens: settings, clients and what they ask, adversities.

Each item has a name (`c3` a client, `r17` a request, `q17` what is odd about it, `a2` an adversity of the whole world)
and its own generator made of the seed and that name, so that a world without some of them is otherwise the same world:
that is how a failing one is shrunk.
"""

import random

from tests.sim.judge import ANSWER, BODY, LEFT, content

__all__ = ["ANSWER", "BODY", "LEFT", "Asked", "Plan", "content"]

GRACEFUL = 30.0  # seconds that a stop has
STYLES = {
    "wsgi": ("list", "list", "list", "generator", "generator", "closing", "sized", "write", "file", "subclass"),
    "stream": ("write", "write", "lines", "flush", "file", "small"),
    "native": ("bytes", "bytes", "response", "list", "generator", "closing", "sized", "file", "str"),
}
QUIRKS = (
    "timeout", "killed", "thrown", "left writer", "left reader", "close waits", "close writes", "close raises",
    "raises", "exits", "shrinks", "shrinks", "context", "late", "kept", "finalizer", "holds", "body timeout",
)  # fmt: skip
STREAM_QUIRKS = (
    "timeout",
    "killed",
    "thrown",
    "left writer",
    "left reader",
    "raises",
    "exits",
    "shrinks",
    "context",
    "holds",
    "body timeout",
    "bad file",
    "closes",
    "aborts",
    "left closer",
    "read timeout",
)
WAITS = ("nap", "sleep", "event", "sleep0", "queue")
READS = ("all", "all", "some", "lines", "exact", "none", "part")


class Asked:
    """One request: what is asked, how it will be answered, and what the judge may excuse."""

    def __init__(self, plan, rid, client, rids):
        self.chance = chance = plan.chance(f"r{rid}")
        self.rid = rid
        self.client = client
        self.name = f"r{rid}"
        self.runs = 0
        self.sent = self.sent_at = None  # when the client had sent all of it
        self.arrived = False
        self.may = set()  # statuses that the server may answer with itself
        self.may_cut = self.may_end_early = self.mixed = False
        self.may_close = False  # nothing behind it need be answered
        self.events = []
        self.reads_behind_a_file = False
        self.minor = 0 if chance.random() < 0.06 else 1
        self.method = chance.choices(("GET", "POST", "HEAD", "PUT"), (10, 7, 1, 1))[0]
        self.body_size = self.some_size(chance, 120000) if self.method in ("POST", "PUT") else 0
        self.framing = "chunked" if self.body_size and self.minor and chance.random() < 0.4 else "length"
        self.expects = bool(self.body_size) and self.minor == 1 and chance.random() < 0.1
        self.keep = chance.random() < 0.9
        self.size = self.some_size(chance, 200000)
        self.style = chance.choice(STYLES[plan.kind])
        self.lines = plan.kind == "stream"
        self.pieces = chance.choice((1, 1, 2, 3, 8))
        self.waits = [
            (chance.choice(WAITS), chance.choice((0.0002, 0.001, 0.004, 0.03)))
            for _ in range(chance.choice((0, 0, 0, 1, 1, 2, 3)))
        ]
        self.read = chance.choice(READS)
        self.pause = chance.choice((None, None, "sleep0", "nap", "sleep"))  # between pieces
        odd = plan.chance(f"q{rid}")
        wanted = odd.random() < plan.oddness
        quirks = STREAM_QUIRKS if plan.kind == "stream" else QUIRKS
        self.quirk = odd.choice(quirks) if wanted and plan.has(f"q{rid}") else None
        self.odd = odd
        self.delay = odd.choice((0.0, 0.0002, 0.001, 0.004, 0.03))
        if self.quirk in plan.without:
            self.quirk = None
        if self.lines:
            self.method, self.minor, self.framing, self.expects, self.keep = "POST", 1, "length", False, True
            if self.quirk == "left reader" and rid != rids[-1]:
                self.quirk = None  # it would take what is the next one's
            if self.quirk == "shrinks":
                self.style = "file"
                self.size = max(self.size, 3000)
            elif self.style == "file" and self.quirk == "left writer":
                self.style = "write"
        elif self.quirk == "close waits" or self.quirk == "close writes" or self.quirk == "close raises":
            self.style = "closing"
        elif self.quirk in ("left writer", "late") and plan.kind == "wsgi":
            self.style = odd.choice(("write", "generator", "closing", "list"))
            self.minor = 1
        elif self.quirk == "shrinks":
            self.style = "file"
            self.size = odd.choice((3000, 20000, 40000, 100000))
        elif self.quirk in ("body timeout", "left reader"):
            self.method, self.minor = "POST", 1
            self.body_size = self.body_size or 1 + odd.randrange(20000)
            self.read = odd.choice(("all", "lines", "some")) if self.quirk == "body timeout" else "some"

    @staticmethod
    def some_size(chance, large):
        return chance.choice((0, 1, 7, 100, 900, 4096, 5000, 16384, 20000, 70000, chance.randrange(large)))

    def read_behind_a_file(self):
        """While this waits for its content, a file before it in the output is pushed out, and has shrunk."""
        if self.odd.random() < 0.5 and not self.lines and self.quirk is None:
            self.reads_behind_a_file = True
            self.method, self.minor, self.framing, self.expects, self.read = "POST", 1, "length", False, "all"
            self.body_size = self.body_size or 100

    def upload(self):
        """More than is worth reading, and of that nobody reads much."""
        self.method, self.minor, self.framing, self.expects, self.keep = "POST", 1, "length", False, True
        self.quirk, self.body_size, self.read = None, 600000, self.chance.choice(("none", "none", "part"))

    def path(self):
        return f"/r/{self.rid}"

    def make_head(self):
        if self.lines:
            return b"%d\n" % self.rid
        lines = [f"{self.method} {self.path()} HTTP/1.{self.minor}", "Host: sim"]
        if self.body_size:
            lines.append(
                "Transfer-Encoding: chunked" if self.framing == "chunked" else f"Content-Length: {self.body_size}"
            )
            if self.expects:
                lines.append("Expect: 100-continue")
        if not self.keep:
            lines.append("Connection: close")
        elif self.minor == 0:
            lines.append("Connection: keep-alive")
        lines += [f"X-{at}: {self.rid}" for at in range(self.chance.choice((0, 0, 1, 3, 20)))]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def make_body(self):
        data = content(self.rid, self.body_size, BODY)
        if self.framing != "chunked" or not data:
            return data
        parts, at = [], 0
        while at < len(data):
            size = self.chance.choice((1, 10, 1000, 16384, len(data)))
            piece = data[at : at + size]
            parts.append(b"%x\r\n%b\r\n" % (len(piece), piece))
            at += size
            if len(parts) > 40:
                parts.append(b"%x\r\n%b\r\n" % (len(data) - at, data[at:]) if at < len(data) else b"")
                break
        return b"".join(parts) + b"0\r\n\r\n"

    def event(self, text):
        """Something that happened to it, for the story of a failure."""
        self.events.append(text)

    def story(self):
        what = f"{self.method} 1.{self.minor} {self.style} {self.size} body {self.body_size} {self.framing} {self.read}"
        return f"[{self.name} {what} quirk {self.quirk}: {'; '.join(self.events)}]"


MANNERS = {  # of clients, with how often each
    "honest": 10, "pipelined": 6, "split": 4, "half": 2, "reset": 2, "silent": 1, "trickle": 1, "slow": 3, "never": 1,
    "garbage": 1, "cut": 1, "uploader": 2,
}  # fmt: skip
ADVERSITIES = (
    "collector", "collector", "collector", "signals", "signals", "stall", "stop", "sleepers", "system", "killer", "log",
    "burst",
)  # fmt: skip


class Plan:
    """Arguments:
    seed: decides everything.
    only: names of the items that shall be there; None: all.
    without: quirks and adversities that shall not happen.
    """

    def __init__(self, seed, only=None, without=()):
        self.seed = seed
        self.without = frozenset(without)
        self.only = None if only is None else set(only)
        chance = self.chance("world")
        self.flavour = chance.choice(("libev", "libev", "libuv"))
        self.kind = chance.choices(("wsgi", "native", "stream"), (6, 3, 2))[0]
        self.tick = chance.choice((20_000, 100_000, 500_000))
        self.coarse = chance.choice((1_000_000, 4_000_000))
        self.reuse = chance.random() < 0.8
        self.family = chance.choice((2, 2, 10, 1))
        self.chances = tuple(chance.choice(row) for row in ((0, 60, 300), (0, 10, 100), (0, 20), (0, 10, 60)))
        self.oddness = chance.choice((0.15, 0.4, 0.7))
        crowd = chance.choice((4, 10, 20, 40, 80))
        self.settings = {
            "concurrency": chance.choice((1, 2, 5, 30, 100)),
            "header_timeout": chance.choice((5, 10)),
            "keepalive_timeout": chance.choice((3, 20)),
            "body_timeout": 20,
            "write_timeout": chance.choice((8, 20)),
            "queue_timeout": chance.choice((4, 60)),
            "linger_timeout": chance.choice((0.5, 2, 30)),
            "request_timeout": chance.choice((0, 0, 0, 15)),
            "graceful_timeout": GRACEFUL,
            "context": chance.choice(("request", "request", "request", "thread")),
            "connections": chance.choice((1000, 1000, 12)),
        }
        if chance.random() < 0.3:
            self.settings["queue"] = chance.choice((0, 3))
        if chance.random() < 0.3:
            self.settings["health_path"] = "/health"
        if chance.random() < 0.15:
            self.settings["limit_buffers"], self.settings["limit_pipeline"] = 80 << 10, 16 << 10
        if self.chance("gathers").random() < 0.2:  # by itself, so that the other worlds are what they were
            self.settings["gather_chunked"] = 64 << 20
        self.proxied = self.chance("proxy").random() < 0.25  # the same
        if self.proxied:
            self.settings |= {"proxy_protocol": "any", "proxy_allow_from": "*", "proxy_timeout": 4}
        self.secure = "tls" not in self.without and self.chance("tls").random() < 0.35
        if self.secure:
            self.settings["tls_timeout"] = 4
            if "limit_buffers" in self.settings:
                self.settings["limit_buffers"] += 20 * (48 << 10)  # handshakes at once: see rest.every_place
        self.board = chance.choice((0, 4, 200))
        self.access_log = chance.random() < 0.5
        kinds = chance.sample(ADVERSITIES, chance.choice((2, 2, 3, 4)))
        self.adversities = [
            (f"a{at}", kind) for at, kind in enumerate(kinds) if self.has(f"a{at}") and kind not in self.without
        ]
        if "stall" in kinds:
            self.settings["min_rate_after"] = 100  # no client can be fast while the server stands still
        self.clients = []
        names = [f"c{at}" for at in range(crowd)]
        rid = 0
        for name in names:
            own = self.chance(name)
            manner = own.choices(list(MANNERS), list(MANNERS.values()))[0]
            count = own.choice((1, 1, 2, 3, 6))
            rids = range(rid, rid + count)
            rid += count
            if self.has(name):
                self.clients.append((name, own, manner, [each for each in rids if self.has(f"r{each}")]))

    def chance(self, name):
        return random.Random(f"{self.seed}/{name}")

    def asked(self, rid, rids):
        """A request as it would be."""
        return Asked(self, rid, None, rids)

    def has(self, name):
        return self.only is None or name in self.only

    def items(self):
        """The names of all that can be left out."""
        names = [name for name, _ in self.adversities]
        for name, _, _, rids in self.clients:
            names.append(name)
            names += [f"{sort}{rid}" for rid in rids for sort in "rq"]
        return names
