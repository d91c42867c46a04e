"""What must hold when everybody has gone: nothing remains, and every place can be had."""

import gc

from gevent.event import Event

from tests.sim import native
from tests.sim.tls import Tunnel

KEPT = (
    "Wait", "Connection", "SocketStream", "SpawnedJob", "FilePart", "Arrival", "Proxied", "DirectLayer", "SimpleLayer",
)  # fmt: skip
COUNTS = (
    "connections", "arriving", "handshaking", "fresh", "heading", "queued", "running", "overdue", "flushing",
    "draining", "lingering", "body", "writing", "pool_ready", "pool_waiting",
)  # fmt: skip


def at_rest(world):
    """All clients have gone, and time has passed."""
    stats = world.server.statistics()
    if stats["pool_running"] or stats["pool_size"] != stats["pool_idle"]:
        world.fail("a green thread of the pool is lost", stats)
    for name in COUNTS:
        if stats.get(name):
            world.fail("something remains at rest", f"{name}: {stats}")
    if world.board is not None and world.board.listed():
        world.fail("a place on the board remains", world.board.listed())
    if world.c.open_count() != 1 or world.c.watched_count() != 1:
        world.fail("a descriptor remains", f"{world.c.open_count()} open, {world.c.watched_count()} watched")
    naps = getattr(world.hub, "greenhttp_naps", None)
    if naps is not None and naps.count != naps.gone:
        world.fail("somebody still sleeps", f"{naps.count} {naps.gone}")
    no_objects(world)


def no_objects(world):
    """No connection, stream or wait is alive, nor any memory of theirs counted."""
    for asked in world.asked.values():  # what applications keep is theirs
        asked.visit = asked.closings = None
    world.visits.clear()
    while gc.collect():  # a finalizer, or what a pass has let go of, may leave garbage for the next
        pass
    found = [each for each in gc.get_objects() if type(each).__name__ in KEPT]
    found = [each for each in found if type(each).__module__.startswith("greenhttp")]
    if found:
        holders = {}
        for each in found[:4]:
            referrers = [repr(holder)[:200] for holder in gc.get_referrers(each) if holder is not found]
            holders.setdefault(type(each).__name__, []).append(referrers)
        behind = f"{world.leftovers} left behind, {world.last_words}"
        world.fail("objects of connections remain", f"{len(found)}: {holders}, {behind}")


def every_place(world):
    """As many fresh honest requests at once as there are places; all of them must run side by side."""
    settings = world.plan.settings
    places = settings["concurrency"] if world.plan.kind != "stream" else settings["connections"]
    count = min(places, 100, settings["connections"])
    if world.plan.secure and "limit_buffers" in settings:
        count = min(count, 20)  # what handshakes hold counts
    world.gate, world.inside, world.open_gate = count, 0, Event()
    world.phase = "places"
    clients = [Fresh(world) for _ in range(count)]
    world.c.chances(0, 0, 0, 0)
    for client in clients:
        client.act()
    world.until(lambda: all(client.ended or client.status for client in clients), 30.0)
    wrong = [client.status or client.ended for client in clients if client.status != 200]
    if wrong:
        most = f"most at a time {world.inside} of {count}"
        world.fail("a fresh request is not served", f"{wrong}, {most}, {world.describe()}")
    for client in clients:
        world.c.client_finish(client.number)
    world.until(lambda: all(client.ended for client in clients), 60.0)


def nothing_left(world):
    """The server has stopped."""
    world.phase = "after"
    world.until(lambda: False, 30.0)
    if world.c.open_count() or world.c.watched_count():
        world.fail("a descriptor remains after stop", f"{world.c.open_count()} {world.c.watched_count()}")
    for at, text in enumerate(native.FINDINGS):
        if world.c.finding(at):
            world.fail(text, f"{world.c.finding(at)} times")
    noise = [vars(burst) for burst in world.server._noise._bursts.values()]
    if any(burst["_withheld"] or burst["_timer"] for burst in noise):
        world.fail("lines of the log are withheld and never counted", noise)
    no_objects(world)
    vars(world.hub).pop("greenhttp_naps", None)  # its tables are freed, and looked at where memory is checked


class Fresh:
    """An honest client of the end: one request, and whether the answer is 200."""

    eager = True

    def __init__(self, world):
        self.world = world
        self.got = b""
        self.status = 0
        self.ended = None

    def act(self):
        c = self.world.c
        self.number = c.connect(self.world.plan.family, 65536, 0)
        self.world.by_number.append(self)
        self.text = text = b"gate\n" if self.world.plan.kind == "stream" else GATE
        self.tunnel = None
        if self.world.plan.secure:
            self.tunnel = Tunnel(self.world, self.world.chance, self, whole=True)
            text = self.tunnel.hello()
        if self.world.plan.proxied:
            text = b"PROXY UNKNOWN\r\n" + text
        c.client_send(self.number, text, len(text))

    def waits(self):
        return True

    def shaken(self):
        self.tunnel.send(self.text)

    def progressed(self, sent):
        pass

    def cut_off(self):
        pass

    def take(self, most):
        world = self.world
        n = world.c.client_take(self.number, world.memory, world.room)
        if n > 0:
            came = world.memory.raw[:n]
            self.got += came if self.tunnel is None else self.tunnel.feed(came)
            if b"\r\n\r\n" in self.got:
                self.status = int(self.got[9:12] if self.got[:4] == b"HTTP" else self.got[-3:])
        elif n < 0:
            self.ended = "eof" if n == native.END else "reset"


GATE = b"GET /gate HTTP/1.1\r\nHost: sim\r\n\r\n"
