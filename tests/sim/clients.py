"""The clients of a world. Each is a list of steps, taken as its time comes, and a way to read.

Nothing here runs in a green thread of the server: the loop lets clients act while it polls.
"""

import ctypes

from tests.sim.judge import Answers, Frames, Wrong, judge
from tests.sim.native import END
from tests.sim.plan import Asked
from tests.sim.prefaces import Preface
from tests.sim.tls import Veil


class Client:
    """Steps are tuples: ("send", bytes), ("wait", seconds), ("await", answers), ("look",), ("finish",), ("reset",).

    With TLS also ("raw", bytes), ("shake",), ("update", 0 or 1), ("bend",): see tls.py.

    Attributes:
        asked: what it asks, in order.
        ended: how the connection ended for it: "eof", "reset", "left" (it has reset itself), "cut" (an end without the
            goodbye of TLS), or None.
        may, may_cut: what its manners excuse.
    """

    def __init__(self, world, name, chance, manner, rids):
        self.world = world
        self.name = name
        self.chance = chance
        self.manner = manner
        self.asked = [Asked(world.plan, rid, self, rids) for rid in rids]
        self.answers = Frames(self.asked) if world.plan.kind == "stream" else Answers(self.asked)
        self.steps = []
        self.shrinkers = []  # of files that its answers are made of
        self.at = 0
        self.bytes_sent = 0
        self.times = []  # when each answer was whole
        self.number = None  # of its connection
        self.ended = None
        self.ended_at = None
        self.finished_at = None  # when it had finished sending
        self.may = set()
        self.may_cut = False
        self.may_end = False  # none of its requests need be answered
        self.overtook = False  # it has sent to a server that had closed: the reset may overtake what it has not read
        self.updated = False  # it has sent new keys, also behind a request after which it may send no other
        self.eager = manner not in ("slow", "never", "uploader")
        self.awaits = None
        self.patience = None
        for at, asked in enumerate(self.asked):
            if not asked.keep and self.manner != "reset":
                del self.asked[at + 1 :]  # it has said that it will send no more
        if manner == "uploader":
            if world.plan.kind == "stream":
                self.manner, self.eager = "honest", True
            else:
                del self.asked[1:]
                self.asked[0].upload()
        if manner == "pipelined":
            for before, asked in zip(self.asked, self.asked[1:], strict=False):
                if before.quirk == "shrinks":
                    asked.read_behind_a_file()
        self.preface = Preface(world.plan, name) if world.plan.proxied else None
        self.unanswered = self.preface is not None and not self.preface.good
        self.veil = Veil(self, world.plan) if world.plan.secure else None
        ends = len(self.preface.header) if self.preface and not self.veil else 0
        for asked in self.asked:
            asked.head, asked.body = asked.make_head(), asked.make_body()
            asked.begins = ends
            asked.ends = ends = ends + len(asked.head) + len(asked.body)
        self.start = chance.choice((0.0, 0.0, chance.random() * 0.02, chance.random() * 0.3))
        getattr(self, f"be_{self.manner}")()
        self.reads = self.eager  # what comes, once a handshake is over
        if self.veil is not None:
            self.eager = True
            if not self.veil.good:
                self.manner, self.reads = "veil", True
                self.rude()
            elif self.veil.spoils:
                self.manner = "spoils" if self.reads else self.manner
                self.rude()
        if self.preface is not None and self.veil is None:
            self.steps = self.preface.put_before(self.steps)
        if self.unanswered:
            self.manner, self.eager, self.reads = "preface", True, True
            self.rude()

    # ---- manners

    def pieces(self, data, most=None):
        """Send `data`, split anywhere."""
        chance = self.chance
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 2, most or 3))))
        at = 0
        for cut in cuts:
            if cut > at:
                self.steps.append(("send", data[at:cut]))
                self.steps.append(("wait", chance.choice((0, 0.0005, 0.005))))
                at = cut
        if data[at:]:
            self.steps.append(("send", data[at:]))

    def request(self, asked, most=None):
        if asked.expects:
            self.pieces(asked.head, most)
            self.steps.append(("continue", 0.05))
            self.pieces(asked.body, most)
        else:
            self.pieces(asked.head + asked.body, most)

    def be_honest(self):
        for at, asked in enumerate(self.asked):
            self.request(asked)
            self.steps.append(("await", at + 1))
            self.steps.append(("wait", self.chance.choice((0, 0.001, 0.01))))
        self.steps.append(self.last())

    def be_uploader(self):
        """Sends all it has, in its own time, and looks for an answer behind it."""
        chance, asked = self.chance, self.asked[0]
        lingers = self.world.plan.settings["linger_timeout"]
        pieces = chance.choice((1, 3, 10, 40))
        longest = min(4.0, 0.5 * lingers, 0.8 * lingers / pieces)
        size = len(asked.body) // pieces + 1
        self.steps.append(("send", asked.head))
        for at in range(0, len(asked.body), size):
            self.steps += (("send", asked.body[at : at + size]), ("wait", longest * chance.choice((0, 0.1, 1))))
        self.steps.append(("look",))

    def last(self):
        """How it ends when it has all it wants; a stream handler waits for that."""
        return self.chance.choice((("wait", 0), ("finish",))) if self.world.plan.kind != "stream" else ("finish",)

    def be_pipelined(self):
        """All that it asks in one go; or split anywhere; or each content somewhat after its head."""
        whole = b"".join(asked.head + asked.body for asked in self.asked)
        how = self.chance.choice(("at once", "at once", "anywhere", "content late"))
        if any(asked.reads_behind_a_file for asked in self.asked):
            how = "content late"
        if how == "at once":
            self.steps.append(("send", whole))
        elif how == "anywhere":
            self.pieces(whole, 8)
        else:
            at = 0
            for asked in self.asked:
                if asked.body:
                    end = asked.begins + len(asked.head)
                    self.steps += (("send", whole[at:end]), ("wait", self.chance.choice((0, 0.0005, 0.005))))
                    at = end
            self.steps.append(("send", whole[at:]))
        self.steps.append(("await", len(self.asked)))
        self.steps.append(self.last())

    def be_split(self):
        for at, asked in enumerate(self.asked):
            head = asked.head
            size = self.chance.choice((1, 3, 20))
            if len(head) > 200:
                size = 20
            for i in range(0, len(head), size):
                self.steps.append(("send", head[i : i + size]))
                self.steps.append(("wait", self.chance.choice((0, 0, 0.0003))))
            if asked.body_size:
                self.pieces(asked.body, 20)
            self.steps.append(("await", at + 1))
        self.steps.append(self.last())

    def be_half(self):
        """Finished sending before the answers come."""
        for asked in self.asked:
            self.request(asked, 1)
        self.steps.append(("finish",))
        self.steps.append(("await", len(self.asked)))

    def be_reset(self):
        for at, asked in enumerate(self.asked):
            self.request(asked)
            if self.chance.random() < 0.5:
                self.steps.append(("await", at + 1))
        self.cut_steps()
        self.steps.append(("wait", self.chance.choice((0, 0.001, 0.01, 0.1))))
        self.steps.append(("reset",))
        self.rude()

    def cut_steps(self):
        if self.steps:
            del self.steps[self.chance.randrange(len(self.steps)) + 1 :]

    def be_silent(self):
        """Says a part of something, then nothing more."""
        for asked in self.asked:
            self.request(asked)
        self.cut_steps()
        if self.steps and self.steps[-1][0] == "send":
            data = self.steps[-1][1]
            self.steps[-1] = ("send", data[: self.chance.randrange(len(data) + 1)])
        self.rude()

    def be_cut(self):
        """Says a part of something and finishes."""
        self.be_silent()
        self.steps.append(("finish",))

    def be_trickle(self):
        for asked in self.asked[:1]:
            data = asked.head + asked.body
            for i in range(0, min(len(data), 60)):
                self.steps.append(("send", data[i : i + 1]))
                self.steps.append(("wait", self.chance.choice((0.3, 1))))
        self.rude()

    def be_slow(self):
        self.be_honest() if self.chance.random() < 0.5 else self.be_pipelined()
        self.window = self.chance.choice((500, 4096, 30000))
        self.interval = self.pause = self.chance.choice((0.001, 0.01, 0.05))

    def be_never(self):
        self.be_pipelined()
        self.rude()

    def be_garbage(self):
        del self.asked[self.chance.choice((0, 1)) :]
        good = self.asked[0].head + self.asked[0].body if self.asked else b""
        self.steps.append(("send", good + self.chance.choice(GARBAGE)))
        self.rude()

    def rude(self):
        """It gets whatever it gets."""
        self.may |= {200, 400, 408, 413, 414, 431, 501, 503, 505, 500}
        self.may_cut = self.may_end = True

    # ---- acting

    def later(self, seconds):
        self.world.at(seconds, self)

    def act(self):
        """Go on as far as it goes now."""
        c, world = self.world.c, self.world
        if self.number is None:
            buffer = self.chance.choice(BUFFERS)
            if self.manner == "uploader" and self.asked[0].style not in WHOLE:
                buffer = BUFFERS[-1]  # it reads nothing while it sends: what a green thread writes must have room
            self.number = c.connect(world.plan.family, buffer, not self.eager)
            world.connections += 1
            world.by_number.append(self)
            if self.veil is not None:
                self.steps = self.veil.put_before(self.steps)
                if self.preface is not None:
                    self.steps = self.preface.put_before(self.steps)
        if not self.eager:
            self.take_some()
        while self.at < len(self.steps):
            if self.ended:
                self.at = len(self.steps)
                break
            step = self.steps[self.at]
            what = step[0]
            if what == "await":
                if self.answers.whole < step[1]:
                    self.awaits = step[1]
                    if not self.eager and self.manner == "slow":
                        self.later(self.pause)
                    return
                self.awaits = None
            elif what == "shake" and not self.veil.tunnel.shaken:
                return
            self.at += 1
            tunnel = self.veil and self.veil.tunnel
            if what == "send" and tunnel and tunnel.shaken:
                tunnel.held = False
                tunnel.send(step[1])
            elif what in ("send", "raw"):
                if c.client_send(self.number, step[1], len(step[1])) < 0:
                    self.cut_off()
                    continue
                if not tunnel:
                    self.progressed(self.bytes_sent + len(step[1]))
            elif what == "update":
                tunnel.held = False
                self.updated = True
                tunnel.update(step[1])
            elif what == "bend":
                tunnel.bend = True
            elif what == "wait":
                if step[1]:
                    self.later(step[1])
                    return
                world.soon(self)
                return
            elif what == "continue":
                if not (self.answers.informational or self.answers.answers):
                    self.later(step[1])
                    return
            elif what == "look":  # until the server has ended the connection, which it does behind its answer
                self.take(1 << 30)
                if not self.ended:
                    self.at -= 1
                    self.later(0.01)
                    return
            elif what == "finish":
                self.finished_at = world.now()
                if tunnel and tunnel.shaken:
                    if self.veil.says_goodbye:
                        tunnel.part()
                    if not self.veil.only_says_it:
                        tunnel.finish()
                else:
                    c.client_finish(self.number)
            elif what == "reset":
                c.client_reset(self.number)
                self.end("left")
        if not self.eager and self.manner == "slow" and not self.ended:
            self.later(self.pause)

    def progressed(self, sent):
        """So many bytes of its requests are on their way."""
        self.bytes_sent = sent
        for asked in self.asked:
            if not asked.sent and asked.ends <= sent:
                asked.sent = True
                asked.sent_at = self.world.now()

    def cut_off(self):
        """It has sent to a server that has gone."""
        self.overtook = True
        self.at = len(self.steps) - (self.manner == "uploader")  # which still looks for its answer

    def is_cut(self):
        """Whether it ends without a goodbye of TLS that can be read: a bit of one may have been changed on the way."""
        return not self.veil.tunnel.said or self.veil.tunnel.bent

    def waits(self):
        """Whether it does something else than to send, behind its handshake."""
        at = self.at + 1
        return at >= len(self.steps) or self.steps[at][0] != "send"

    def shaken(self):
        """The handshake is over."""
        self.veil.certificate = self.veil.tunnel.made.getpeercert(True)
        self.eager = self.reads
        self.world.c.client_lazy(self.number, not self.eager)
        self.world.soon(self)

    def take_some(self):
        if self.manner == "slow" and not self.ended:
            came = self.take(self.window)
            self.pause = self.interval if came else min(2 * self.pause, 0.2)  # it need not look all the time

    def take(self, most):
        """Read what has come, at most so much. How much that was."""
        world = self.world
        wanted = most
        while most > 0 and not self.ended:
            size = min(most, world.room)
            n = world.c.client_take(self.number, world.memory, size)
            if n > 0:
                most -= n
                if self.unanswered:
                    came = ctypes.string_at(world.memory, n)
                    raise Wrong("an answer without a PROXY header", f"{self.name} {self.preface.manner}: {came[:80]}")
                try:
                    came = ctypes.string_at(world.memory, n)
                    self.answers.feed(came if self.veil is None else self.veil.take(came))
                except Wrong as wrong:
                    stories = [asked.story() for asked in self.asked]
                    raise Wrong(
                        wrong.args[0], f"{self.name} {self.manner} #{self.number} {wrong.args[1:]} {stories}"
                    ) from None
                while len(self.times) < self.answers.whole:
                    self.times.append(world.now())
            elif n == 0:
                break
            else:
                cut = self.veil is not None and not self.veil.tunnel.parted
                self.end("reset" if n != END else "cut" if cut else "eof")
        if self.awaits is not None and (self.answers.whole >= self.awaits or self.ended):
            self.awaits = None
            if self.eager:
                world.soon(self)
        return wanted - most

    def end(self, how):
        self.ended = how
        self.ended_at = self.world.now()
        if self.veil is not None:
            self.veil.tunnel.keep_session()
        self.world.left(self)

    # ---- what the judge asks

    def cut_excuse(self):
        return any(asked.may_cut for asked in self.asked)

    def may_end_before(self, at):
        """Whether the request `at` may stay without an answer."""
        if self.may_end or self.world.stopped_early:
            return True
        answers = self.answers.answers
        if any(asked.may_close or not asked.keep for asked in self.asked[: at + 1]):
            return True
        if any(asked.may_cut for asked in self.asked) or self.updated and self.overtook:
            return True
        if answers and (answers[-1].last or answers[-1].until_close or not answers[-1].complete):
            return True
        return self.ended and self.overtaken(self.asked[at])

    def overtaken(self, asked):
        """Whether the server had a reason to close before it could know of this request."""
        c, settings = self.world.c, self.world.plan.settings
        closed_at = c.client_closed_at(self.number) / 1e9
        before = self.times[-1] if self.times else self.world.began
        knows = asked.begins + 1
        if self.veil is not None:
            knows = self.veil.tunnel.on_the_wire(asked.begins)
            if self.preface is not None:
                knows += len(self.preface.header)
        if asked.sent_at < closed_at and c.client_consumed(self.number) >= knows:
            return False
        idle = closed_at - before
        return idle >= settings["keepalive_timeout"] - 0.1 or self.world.tight or asked.sent_at >= closed_at

    def may_be_cut_off(self):
        """Whether the server may stop to read what nobody wants."""
        world, asked = self.world, self.asked[0]
        # Nobody has time for it where time passes unseen, where the server ends, or where connections are scarce.
        if world.real or world.stalls or world.stopped_early or world.tight:
            return True
        return self.may_end or self.may_cut or asked.may_cut or asked.may_close or asked.killed

    def told(self):
        """Whether the last it heard was that there will be no answer."""
        answers = self.answers.answers
        return bool(answers) and answers[-1].status == 503 and answers[-1].last and answers[-1].complete

    def judge(self):
        if self.manner == "uploader" and self.overtook and self.may_be_cut_off():
            self.may_cut = True  # a reset overtakes the answer, too
        if self.veil is not None:
            self.veil.judge()
        judge(self)
        if self.manner == "uploader" and self.overtook and not self.may_cut:
            raise Wrong("an upload was cut off", f"{self.name}: {self.bytes_sent} bytes {self.asked[0].story()}")


WHOLE = ("list", "file", "bytes", "str")  # answers that leave without a green thread
BUFFERS = (2048, 8192, 16384, 65536, 300000, 1 << 20)
GARBAGE = (
    b"BAD\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00" * 4,
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"G" * 9000,
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70000 + b"\r\n\r\n",
)  # fmt: skip
