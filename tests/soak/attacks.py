"""Clients that behave badly. Each returns how the server ended it, which must be among the ends that are allowed.

Allowed everywhere are "closed" (a connection that had to make room), "503" (no room) and "left" (the client went away
itself). Nothing else is: an attack that is answered like an honest request, or that goes on for longer than every
limit, is a finding.
"""

import select
import time

import gevent

from tests.soak.wire import PATIENCE, Peer, outlives

EVERYWHERE = frozenset(("closed", "503", "left"))
GET = b"GET /get?size=100 HTTP/1.1\r\nHost: soak\r\n\r\n"
POST = b"POST /post HTTP/1.1\r\nHost: soak\r\n"
HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: soak\r\n\r\n"
LONG = b"Content-Length: 100000\r\n\r\n"


def listening(peer):
    """How a connection ends on which the client sends, and looks for an answer only meanwhile."""
    return outlives(peer.end)


def trickle(peer, data, pause):
    """Byte by byte, until the server has had enough."""
    reader = gevent.spawn(listening, peer)
    try:
        for i in range(len(data)):
            if reader.ready() or not peer.send(data[i : i + 1]):
                break
            reader.join(pause)
        return reader.get()
    finally:
        reader.kill()


def told(target, data):
    """How a connection ends that sends this."""
    with Peer(target.port) as peer:
        peer.send(data)
        return listening(peer)


# ---- slow


def trickled_head(target, rng):
    with Peer(target.port) as peer:
        return trickle(peer, b"GET /get HTTP/1.1\r\nX-Long: " + b"x" * 1000, 0.05)


def trickled_body(target, rng):
    with Peer(target.port) as peer:
        peer.send(POST + LONG)
        return trickle(peer, bytes(1000), 0.05)


def trickled_chunks(target, rng):
    with Peer(target.port) as peer:
        peer.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        return trickle(peer, b"1\r\nx\r\n" * 1000, 0.05)


def stalled_head(target, rng):
    return told(target, GET[: rng.randrange(1, len(GET) - 1)])


def stalled_body(target, rng):
    return told(target, POST + LONG + bytes(rng.randrange(50_000)))


def silent(target, rng):
    return told(target, b"")


def never_read(target, rng):
    """A large answer that nobody reads: the connection is aborted."""
    with Peer(target.port, window=4096) as peer:
        peer.send(b"GET /large HTTP/1.1\r\nHost: soak\r\n\r\n")
        return until_aborted(peer)


def flood(target, rng):
    """Thousands of requests at once, whose answers nobody reads."""
    with Peer(target.port, window=4096) as peer:
        sender = gevent.spawn(pour, peer, GET * 200)
        try:
            return until_aborted(peer)
        finally:
            sender.kill()


def pour(peer, data):
    for _ in range(1000):
        if not peer.send(data):
            return


def until_aborted(peer):
    while peer.age < PATIENCE:
        poll = select.poll()
        poll.register(peer.sock.fileno(), select.POLLRDHUP)
        if poll.poll(0):  # that, or an error, which is told without being asked for
            return "aborted"
        gevent.sleep(0.1)
    return "outlived"


# ---- gone


def reset(target, data, pause):
    peer = Peer(target.port)
    peer.send(data)
    gevent.sleep(pause)
    peer.reset()
    return "left"


def reset_in_head(target, rng):
    return reset(target, GET[: rng.randrange(len(GET))], rng.choice((0, 0.02)))


def reset_in_body(target, rng):
    return reset(target, rng.choice((POST, POST.replace(b"post", b"slow"))) + LONG + bytes(30_000), rng.random() * 0.05)


def reset_in_wait(target, rng):
    return reset(target, b"GET /wait?ms=300 HTTP/1.1\r\nHost: soak\r\n\r\n", rng.random() * 0.3)


def reset_in_answer(target, rng):
    path = rng.choice((b"large", b"stream", b"file", b"endless"))
    with Peer(target.port, window=4096) as peer:
        peer.send(b"GET /%s?size=1000000 HTTP/1.1\r\nHost: soak\r\n\r\n" % path)
        peer.receive()
        peer.reset()
    return "left"


def leaves_politely(target, rng):
    """Closes, with unread bytes or without, in the middle of anything."""
    data = rng.choice((GET[:20], POST + LONG, POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", GET * 50))
    with Peer(target.port) as peer:
        peer.send(data)
        gevent.sleep(rng.random() * 0.05)
    return "left"


# ---- not HTTP, or too much of it


def garbage(target, rng):
    data = rng.randbytes(rng.randrange(1, 3000))
    return told(target, rng.choice((data, b"\x16\x03\x01" + data, b"GET " + data, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))


def _post(fields, body=HIDDEN):
    return POST + b"\r\n".join(fields) + b"\r\n\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"
SMUGGLED = (
    _post([b"Content-Length: 0", b"Content-Length: %d" % len(HIDDEN)]),
    _post([b"Content-Length: 0, 0"]),
    _post([b"Content-Length: 5", CHUNKED], b"0\r\n\r\n" + HIDDEN),
    _post([CHUNKED, b"Content-Length: 5"], b"0\r\n\r\n" + HIDDEN),
    _post([CHUNKED, CHUNKED], b"0\r\n\r\n" + HIDDEN),
    _post([b"Transfer-Encoding: xchunked"], b"0\r\n\r\n" + HIDDEN),
    _post([b"Transfer-Encoding: chunked, identity"], b"0\r\n\r\n" + HIDDEN),
    _post([b"Transfer-Encoding: identity, chunked"], b"0\r\n\r\n" + HIDDEN),
    _post([b"Transfer-Encoding:\x0bchunked"], b"0\r\n\r\n" + HIDDEN),
    _post([b"Transfer-Encoding : chunked"], b"0\r\n\r\n" + HIDDEN),
    _post([b"Transfer-Encoding:", b" chunked"], b"0\r\n\r\n" + HIDDEN),
    _post([CHUNKED], b"0\r\n\r\n" + HIDDEN).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    _post([b"Content-Length: +0"]),
    _post([b"Content-Length: 0x0"]),
    _post([b"Content-Length: -0"]),
    _post([b"Content-Length: 0_0"]),
    _post([b"Content-Length: "]),
    _post([b"Content-Length : 0"]),
    _post([b"X: a\nContent-Length: 0"]),
    _post([b"X: a\rContent-Length: 0"]),
    _post([b"X: a\0", b"Content-Length: 0"]),
    _post([b"Host: other", b"Content-Length: 0"]),
    _post([CHUNKED], b"0x0\r\n\r\n" + HIDDEN),
    _post([CHUNKED], b"+0\r\n\r\n" + HIDDEN),
    _post([CHUNKED], b"-0\r\n\r\n" + HIDDEN),
    _post([CHUNKED], b"0 \r\n\r\n" + HIDDEN),
    _post([CHUNKED], b"0\n\n" + HIDDEN),
    _post([CHUNKED], b"1;\nX\r\n0\r\n\r\n" + HIDDEN),
    _post([CHUNKED], b"1\r\nXX0\r\n\r\n" + HIDDEN),
    _post([CHUNKED], b"10000000000000000\r\n\r\n" + HIDDEN),
    _post([CHUNKED], b"0\r\nContent-Length: 5\r\n\r\n" + HIDDEN),
    _post([CHUNKED], b"0\r\nX : 5\r\n\r\n" + HIDDEN),
)


def smuggled(target, rng):
    """A second request in what two readers may read differently: refused, and never seen by the application."""
    return told(target, rng.choice(SMUGGLED))


def hidden(target, rng):
    """The same second request inside the content, where it is no request."""
    path = rng.choice((b"post", b"get", b"none"))
    head = b"POST /%s?size=1 HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n" % path
    return told(target, head + b"Content-Length: %d\r\n\r\n%s" % (len(HIDDEN), HIDDEN))


def bomb(target, rng):
    line = b"GET /%s HTTP/1.1\r\n" % (b"x" * rng.choice((1, 20_000)))
    many = b"".join(b"X-%d: y\r\n" % i for i in range(rng.choice((1, 500))))
    return told(target, line + many + b"X: %s\r\n\r\n" % (b"x" * 40_000))


def extensions(target, rng):
    return told(target, _post([CHUNKED], b"1%s\r\nx\r\n" % (b";a=b" * 10) * 1000))


def trailers(target, rng):
    return told(target, _post([CHUNKED], b"0\r\n" + b"X-Trailer: y\r\n" * 5000))


def too_large(target, rng):
    """Announced, or as chunks that do not end."""
    chunks = _post([CHUNKED], (b"8000\r\n" + bytes(0x8000) + b"\r\n") * 12)
    return told(target, rng.choice((_post([b"Content-Length: 9999999999"], bytes(1000)), chunks)))


def connections(target, rng):
    """More connections than there may be, some with half a head."""
    peers = []
    try:
        for i in range(450):
            peers.append(Peer(target.port))
            if i % 3 == 0:
                peers[-1].send(GET[:10])
        gevent.sleep(0.3)
    finally:
        for peer in peers:
            peer.sock.close()
    return "left"


# ---- applications that misbehave


def mischief(path):
    def ask(target, rng):
        return told(target, b"GET /%s HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n" % path)

    ask.__name__ = path.decode()
    return ask


def deaf(target, rng):
    """The application leaves a green thread behind that reads the content."""
    return told(target, POST.replace(b"post", b"deaf") + LONG + bytes(1000))


ATTACKS = {  # each with the ends that are right, and how often
    trickled_head: ({"408"}, 4),
    trickled_body: ({"408"}, 4),
    trickled_chunks: ({"408"}, 4),
    stalled_head: ({"408"}, 4),
    stalled_body: ({"408"}, 4),
    silent: ({"closed"}, 4),
    never_read: ({"aborted"}, 2),
    flood: ({"aborted"}, 1),
    reset_in_head: ({"left"}, 8),
    reset_in_body: ({"left"}, 8),
    reset_in_wait: ({"left"}, 8),
    reset_in_answer: ({"left"}, 8),
    leaves_politely: ({"left"}, 8),
    garbage: ({"400", "501", "505", "408"}, 6),  # 408: no line end in it
    smuggled: ({"400", "501"}, 10),
    hidden: ({"200", "204"}, 4),
    bomb: ({"414", "431"}, 4),
    extensions: ({"400"}, 4),
    trailers: ({"431"}, 4),
    too_large: ({"413"}, 4),
    connections: ({"left"}, 0.4),
    mischief(b"fail"): ({"500"}, 4),
    mischief(b"late"): ({"cut"}, 4),
    mischief(b"kill"): ({"500"}, 4),
    mischief(b"forever"): ({"503"}, 1),
    mischief(b"stubborn"): ({"200"}, 1),
    mischief(b"short"): ({"cut"}, 2),
    mischief(b"nonsense"): ({"500"}, 2),
    mischief(b"number"): ({"500"}, 2),
    mischief(b"split"): ({"500"}, 2),
    deaf: ({"200", "closed", "400", "408"}, 2),
}


class Attacker:
    """One attack after the other until `until`, seeded. Arguments as for honest.Honest."""

    def __init__(self, target, tally, rng):
        self.target, self.tally, self.rng = target, tally, rng

    def run(self, until):
        weights = [often for _, often in ATTACKS.values()]
        while time.monotonic() < until:
            attack = self.rng.choices(list(ATTACKS), weights)[0]
            try:
                end = outlives(attack, self.target, self.rng)
            except ConnectionError:  # while connecting
                end = "closed"
            except AssertionError as error:
                end = f"not an answer: {error}"
            self.tally.attacked(attack.__name__, end)
            if end not in ATTACKS[attack][0] | EVERYWHERE:
                self.tally.wrong(f"{self.target.name}: {attack.__name__} ended with {end!r}")
            gevent.sleep(self.rng.random() * 0.3)
