"""TLS in a world: certificates, and the clients' end of it, over the bytes that world.c moves.

Records are split anywhere and stuck together; handshakes come late, stall, are given up in the middle, or something
else comes in their place; ends come with a goodbye (close_notify) or without one.

What OpenSSL draws comes from the world's seed (`world.c`), and signatures are Ed25519's, all of one size: so a world is
the same each time, with each of its bytes.
"""

import _ssl
import ctypes
import os
import ssl
from collections import deque
from contextlib import contextmanager

from greenhttp.green import tls as core
from tests import proxied
from tests.sim.judge import Wrong
from tests.tls.pair import CERTIFICATES

MANNERS = {  # of clients before their first request
    "good": 26, "late": 4, "plain": 1, "wrong": 1, "silent": 1, "finishes": 1, "resets": 1, "leaves": 1, "refuses": 1,
    "bent": 1,
}  # fmt: skip
GOOD = ("good", "late")
ANSWERED = ("leaves", "refuses", "bent")  # by the server's part of a handshake
LATE = (0.3, 1.0, 1.5)  # seconds, less than `tls_timeout` together with a pause of the PROXY header before it
TIMEOUT = 4
PLAIN = b"HTTP/1.1 400 Bad Request\r\n"
WRONG = (
    b"\x16\x03\x01\x02\x00" + b"x" * 600, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b"\x16\xff\xff\xff\xff",
    b"\x16\x03\x01\xff\xff" + b"y" * 70000, b"\x80\x2e\x01\x00\x02\x00\x15", b"\x15\x03\x01\x00\x02\x02\x28",
    b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x01" + b"z" * 32 + b"\x00\x00\x04\x00\x2f\x00\x35\x01\x00",
    b"\x17\x03\x03\x00\x20" + b"q" * 32, proxied.v1("10.0.0.1", 1, "10.0.0.1"), b"\r\n\r\n", b"\0", b"SSH-2.0-x\r\n",
)  # fmt: skip
NAMES = {None: "a.sim", "a.sim": "a.sim", "b.sim": "b.sim", "x.b.sim": "b.sim", "x.y.b.sim": "a.sim", "c.sim": "a.sim"}
DER = {name: ssl.PEM_cert_to_DER_cert(text[: text.index("-----BEGIN PRIVATE")]) for name, text in CERTIFICATES.items()}

libssl = ctypes.PyDLL(_ssl.__file__)  # what it is linked with is found through it
libssl.SSL_key_update.argtypes = (ctypes.c_void_p, ctypes.c_int)
libssl.SSL_shutdown.argtypes = (ctypes.c_void_p,)


def draw_from(method):
    """Let OpenSSL draw from this RAND_METHOD instead of the system."""
    libssl.RAND_set_rand_method.argtypes = (ctypes.c_void_p,)
    libssl.RAND_set_rand_method(method)


@contextmanager
def as_file(text):
    fd = os.memfd_create("certificate")
    try:
        os.write(fd, text.encode())
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def pointer(made, context):
    """The SSL of an SSLObject, or None where it cannot be found."""
    words = ctypes.cast(id(made._sslobj), ctypes.POINTER(ctypes.c_void_p))
    return words[3] if words[4] == id(context) else None


class Security:
    """TLS of a world: the server's certificates, and what its clients need."""

    def __init__(self, plan):
        self.chance = chance = plan.chance("certificates")
        self.simple = chance.random() < 0.4
        core.force_simple = self.simple
        self.several = chance.random() < 0.5
        self.tickets = chance.choice((0, 1, 2, 2))
        self.ours = chance.random() < 0.6  # the keys of tickets
        self.keys = [chance.randbytes(80)]
        self.sessions = {}
        self.contexts = {}
        for name, newest in (("1.2", ssl.TLSVersion.TLSv1_2), ("1.3", ssl.TLSVersion.TLSv1_3)):
            self.contexts[name] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.maximum_version = newest
        self.contexts["refuses"] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False

    def certificates(self):
        made = []
        for names in (("a.sim",), ("b.sim", "*.b.sim"))[: 1 + self.several]:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.num_tickets = self.tickets
            with as_file(CERTIFICATES[names[0]]) as path:
                context.load_cert_chain(path)
            made.append((names, context))
        certificates = core.Certificates(made)
        if self.ours:
            certificates.set_ticket_keys(self.keys)
        return certificates

    def renewed(self):
        """New certificates; tickets of the old ones are taken."""
        self.keys.insert(0, self.chance.randbytes(80))
        return self.certificates()

    def expected(self, name):
        return DER[NAMES[name] if self.several else "a.sim"]


class Tunnel:
    """The client's end of one connection.

    Arguments:
        world: the World.
        chance: decides how its bytes are cut.
        owner: `number`, of its connection; `progressed(bytes)`: so many bytes of its own have been sent; `cut_off()`:
            the server has gone; `waits()`: whether it sends nothing at once; `shaken()`: the handshake is over.

    Attributes:
        shaken: whether the handshake is over.
        parted: whether the server has said goodbye.
        alert: what has broken it, in OpenSSL's words, or None.
    """

    def __init__(self, world, chance, owner, version="1.3", name=None, whole=False):
        self.world = world
        self.chance = chance
        self.owner = owner
        self.version = version
        self.name = name
        self.cuts = (0,) if whole else chance.choice(((0,), (0,), (0, 1, 2), (3, 10), (40,)))
        self.pauses = chance.choice(((None,), (0,), (0, 0, 0.0003, 0.005)))  # None: pieces come at once
        self.together = chance.random() < 0.5  # the end of the handshake and the first request
        self.context = world.security.contexts[version]
        self.sessions = world.security.sessions.setdefault((version, name), [])
        session = chance.choice(self.sessions) if self.sessions and chance.random() < 0.5 else None
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.made = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname=name, session=session)
        self.queue = deque()
        self.draining = self.finishing = self.parted = self.held = self.bend = self.bent = self.said = False
        self.shaken = False
        self.alert = None
        self.given = self.wire = 0  # bytes of its own that were encrypted, and what was made of all
        self.marks = []  # (bytes given, bytes of the wire) behind each record

    # ---- out

    def hello(self):
        self.shake()
        return self.outgoing.read()

    def send(self, data):
        """Encrypt, in one record or in many."""
        chance = self.chance
        most = chance.choice((16384, 16384, 16384, 1000, 10, 1))
        most = max(most, len(data) // 40)
        for at in range(0, len(data), most):
            piece = data[at : at + most]
            try:
                self.made.write(piece)
            except ssl.SSLError:
                return self.owner.cut_off()  # the server has said goodbye, or broken it
            self.given += len(piece)
            self.put(self.given)

    def put(self, given=None):
        """Send what OpenSSL has made."""
        data = self.outgoing.read()
        self.wire += len(data)
        if given is not None:
            self.marks.append((given, self.wire))
        if self.bend and data:
            self.bend = False
            self.bent = True
            at = self.chance.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1 << self.chance.randrange(8)]) + data[at + 1 :]
        count = self.chance.choice(self.cuts)
        cuts = sorted({self.chance.randrange(1, len(data)) for _ in range(count)}) if len(data) > 1 else []
        pieces = [data[at:end] for at, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        for piece in pieces[:-1]:
            self.queue.append((piece, 0))
        if data:
            self.queue.append((pieces[-1], given or 0))
        if not self.draining and not self.held:
            self.act()

    def act(self):
        """Send the next pieces."""
        self.draining = False
        owner = self.owner
        while self.queue:
            piece, given = self.queue.popleft()
            pause = self.chance.choice(self.pauses)
            if pause is None:  # many leave as one
                while self.queue:
                    more, so_far = self.queue.popleft()
                    piece, given = piece + more, so_far or given
            if self.world.c.client_send(owner.number, piece, len(piece)) < 0:
                self.queue.clear()
                owner.cut_off()
                return
            if given:
                owner.progressed(given)
            if self.queue:
                self.draining = True
                self.world.at(pause, self) if pause else self.world.soon(self)
                return
        if self.finishing:
            self.world.c.client_finish(owner.number)

    def part(self):
        """Say goodbye, and go on reading."""
        if self.shaken and not self.said and self.alert is None:
            self.said = True
            if found := pointer(self.made, self.context):
                libssl.SSL_shutdown(found)
                libssl.ERR_clear_error()
            self.put()

    def finish(self):
        self.held = False
        self.finishing = True
        if not self.draining:
            self.act()

    def update(self, answered):
        """New keys (RFC 8446 4.6.3); `answered`: the server's, too."""
        found = pointer(self.made, self.context)
        if found and self.made.version() == "TLSv1.3" and not self.said:
            libssl.SSL_key_update(found, answered)
            self.made.do_handshake()
            self.put()

    # ---- in

    def shake(self):
        try:
            self.made.do_handshake()
            self.shaken = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.alert = error.reason or str(error)

    def feed(self, data):
        """What comes of bytes of the server's; b"" behind an error."""
        if self.alert is not None:
            return b""
        self.incoming.write(data)
        if not self.shaken:
            self.shake()
            if not self.shaken:
                self.put()
                return b""
            self.held = self.together and not self.owner.waits()
            self.put()
            self.world.hit("resumed" if self.made.session_reused else "handshake", self.version)
            self.owner.shaken()
        pieces = []
        try:
            while piece := self.made.read(65536):
                pieces.append(piece)
            self.parted = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.parted = True
        except ssl.SSLError as error:
            self.alert = error.reason or str(error)
        if self.outgoing.pending:
            self.put()
        return b"".join(pieces)

    def keep_session(self):
        """For whoever comes later."""
        if self.shaken and (session := self.made.session) is not None and session.has_ticket:
            self.sessions.append(session)

    def on_the_wire(self, at):
        """The bytes sent in all when the server can know of the byte `at`."""
        return next((wire for given, wire in self.marks if given > at), 1 << 60)


class Veil:
    """What a client does with TLS.

    Attributes:
        good: whether its requests may follow.
        tunnel: made when it connects.
        came: what the server has sent to one that is not good.
    """

    def __init__(self, client, plan):
        self.client = client
        self.chance = chance = plan.chance(f"t{client.name}")
        self.manner = chance.choices(list(MANNERS), list(MANNERS.values()))[0]
        self.good = self.manner in GOOD
        self.tunnel = None
        self.came = b""
        self.began = None
        self.says_goodbye = chance.random() < 0.6
        self.only_says_it = self.says_goodbye and chance.random() < 0.3
        self.spoils = self.good and chance.random() < 0.06

    def put_before(self, steps):
        """The steps of the client, with the handshake before them. It connects now."""
        client, chance = self.client, self.chance
        world = client.world
        self.began = world.now()
        version = "refuses" if self.manner == "refuses" else chance.choice(("1.3", "1.3", "1.3", "1.2"))
        self.tunnel = tunnel = Tunnel(world, chance, client, version, chance.choice(list(NAMES)))
        if client.manner == "uploader":
            tunnel.cuts, tunnel.pauses = (0,), (None,)  # it knows how much time it has
        if self.manner == "plain":
            return steps
        if self.manner == "wrong":
            return [("raw", chance.choice(WRONG)), ("wait", 0), *chance.choice(([], [("finish",)]))]
        whole = tunnel.hello()
        tunnel.wire = len(whole)
        count = chance.choice((0, 0, 1, 2, 6, 60))
        cuts = sorted({chance.randrange(1, len(whole)) for _ in range(count)})
        pieces = [whole[at:end] for at, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        before = []
        for piece in pieces:
            before += (("raw", piece), ("wait", chance.choice((0, 0, 0.0003, 0.005))))
        end = {"silent": [], "finishes": [("finish",)], "resets": [("reset",)]}.get(self.manner)
        if end is not None:
            return before[: 2 * chance.randrange(len(pieces))] + end  # never the last piece
        if self.manner == "late":
            before.insert(chance.randrange(len(before)), ("wait", chance.choice(LATE)))
        if self.manner == "bent":
            at = chance.randrange(len(pieces))
            piece = bytearray(pieces[at])
            piece[chance.randrange(len(piece))] ^= 1 << chance.randrange(8)
            before[2 * at] = ("raw", bytes(piece))
        if self.manner == "leaves":
            return before + chance.choice(([], [("finish",)], [("reset",)], [("wait", 0.02), ("reset",)]))
        if not self.good:
            return [*before, ("wait", 0.02), ("finish",)]
        steps = list(steps)
        last = len(steps) - (bool(steps) and steps[-1][0] == "look")  # that stays the last: see Client.cut_off
        for at in range(last, -1, -1):
            if chance.random() < 0.04 and ("finish",) not in steps[:at] and ("reset",) not in steps[:at]:
                steps.insert(at, ("update", chance.randrange(2)))
        if self.spoils:
            at = chance.randrange(len(steps) + (steps[-1:] != [("look",)]))
            steps.insert(at, ("bend",))
        return [*before, ("shake",), *steps]

    def take(self, data):
        """What has come; for the application, decrypted."""
        if self.good:
            return self.tunnel.feed(data)
        self.came += data
        if self.manner in ANSWERED:
            self.tunnel.shaken or self.tunnel.feed(data)
        if len(self.came) > 65536:
            raise Wrong("much for nobody", f"{self.client.name} {self.manner}: {self.came[:80]}")
        return b""

    def judge(self):
        """What must hold whatever it has asked."""
        client, tunnel = self.client, self.tunnel
        world = client.world
        if tunnel is None or client.preface is not None and not client.preface.good:
            return
        name = f"{client.name} (connection {client.number + 1}): {client.manner} {self.manner} {client.ended}"
        bound = TIMEOUT + world.bound + (TIMEOUT if client.preface is not None else 0)
        if not tunnel.shaken and client.ended_at - self.began > bound and not world.real:
            raise Wrong("a handshake that does not end", f"{name}: {client.ended_at - self.began:.1f} s of {bound:.1f}")
        if not self.good:
            return self.judge_refusal(name)
        excused = client.may_end or client.may_cut or world.stopped_early or client.ended == "left"
        scarce = world.tight or world.stalls
        if not tunnel.shaken and not excused and not scarce:
            raise Wrong("a handshake that fails", f"{name} {tunnel.alert}")
        if tunnel.alert is not None and not excused and tunnel.shaken:
            raise Wrong("what the server sends cannot be decrypted", f"{name} {tunnel.alert}")
        if tunnel.shaken and self.certificate != world.security.expected(tunnel.name):
            raise Wrong("the certificate of another name", f"{name} {tunnel.name}")
        # What is lost by an error of an application, or the time of a stop, ends with a reset or without a goodbye.
        # And a handshake that is over for the client alone may end in the middle for want of time or of room.
        answers = client.answers.answers
        begun = answers or not scarce
        if not (answers and (answers[-1].last or answers[-1].until_close)) and world.refuses:
            begun = False  # between two requests it is said if that takes no wait
        if client.ended == "cut" and tunnel.shaken and begun and not excused and not client.cut_excuse():
            raise Wrong("an end without a goodbye", f"{name}")

    def judge_refusal(self, name):
        came = self.came
        if self.manner == "plain" and not PLAIN.startswith(came[: len(PLAIN)]):
            raise Wrong("not what plain HTTP is to be answered with", f"{name}: {came[:80]}")
        if self.manner != "plain" and came and (came[0] not in (20, 21, 22, 23) or self.manner not in ANSWERED
                                                and came[0] != 21):  # fmt: skip
            raise Wrong("more than an alert for what is no handshake", f"{name}: {came[:80]}")
