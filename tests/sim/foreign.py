"""Foreign code at the worst moment: what applications, the collector and signals may do to a server.

The first part is what single requests do (their `quirk`), called by apps.py at the places named; the second what
happens to a world as a whole, at times of its own.
"""

import gc
import logging
import os
import signal
import sys
from contextlib import suppress

import gevent
from gevent.event import Event
from gevent.exceptions import InvalidSwitchError
from greenlet import GreenletExit, getcurrent

from greenhttp.errors import RequestTimeout
from greenhttp.green import nap
from tests.sim import apps, plan

# ---- of one request


def before(visit, request, start_response):
    """As soon as the application is called."""
    asked, world = visit.asked, visit.world
    quirk = asked.quirk
    while asked.client.shrinkers:
        world.hit("file shrinks", "run")
        asked.client.shrinkers.pop()()
    if quirk == "timeout":
        timeout = apps.OwnTimeout(visit, asked.delay or 0.0001)
        visit.disturb()
        visit.timeout = timeout
        timeout.start()
    elif quirk in ("killed", "thrown"):
        visit.disturb()
        world.after(asked.delay, strike, visit, quirk)
    elif quirk == "left reader" and not asked.lines:
        visit.disturb()
        if asked.odd.random() < 0.3:
            gevent.spawn_raw(leftover_raw, visit, read_on, visit)
        else:
            gevent.spawn(leftover, visit, read_on, visit)
        if asked.odd.random() < 0.5:
            gevent.sleep(asked.delay)
    elif quirk == "context":
        import contextvars

        getcurrent().gr_context = contextvars.copy_context()
        apps.VAR.set(asked.rid)
    elif quirk == "kept":
        asked.may_close = True
        world.after(asked.delay + 0.001, use_kept, visit, request)
    elif quirk == "holds":
        held = getcurrent()
        visit.disturb()
        asked.killed = True
        for delay in (asked.delay, asked.delay + 0.01, 0.1):
            world.after(delay, strike_late, visit, held, asked.odd.choice(("throw", "kill", "gevent.kill")))
    elif quirk == "finalizer" and isinstance(request, dict):
        request["sim.litter"] = Litter(
            world, asked.odd.choice(("sleep", "nap", "event")), asked.odd.randrange(2)
        ).cycle()


def strike(visit, how):
    """Kill or throw, from outside, whatever the request is at."""
    world, asked = visit.world, visit.asked
    green = visit.green()
    if green is None or world.visit_of(green) is not visit or visit.at == "after":
        return
    point = world.point_of(green)
    world.hit(how, point)
    asked.event(f"{how} at {point}")
    asked.killed = True
    if how == "killed":
        green.kill(block=False)
    else:
        green.throw(apps.Injected(asked.rid) if how == "thrown" else apps.OwnTimeout(visit, 0))


def sharing(world, green):
    """A green thread lets others go first: the moment is short, and nobody would meet it by chance."""
    visit = world.visit_of(green)
    if visit is not None and visit.asked.quirk in STRIKES and visit.asked.odd.random() < 0.3:
        world.loop.run_callback(strike, visit, visit.asked.quirk)


STRIKES = ("killed", "thrown", "timeout")


def strike_late(visit, held, how):
    """Somebody has kept the green thread of a request, and means that request, which may be over."""
    visit.world.hit("holds", visit.world.point_of(held))
    if how == "throw":
        held.throw(apps.Injected(visit.asked.rid))
    elif how == "kill":
        held.kill(block=False)
    else:
        gevent.kill(held)
    visit.asked.event(f"late {how}")


def leftover(visit, work, *args):
    """A green thread that a request leaves behind."""
    world = visit.world
    world.leftovers += 1
    try:
        work(*args)
    except BaseException as error:
        visit.asked.event(f"left behind: {type(error).__name__}: {error}")
    finally:
        world.leftovers -= 1


def leftover_raw(visit, work, *args):
    """The same, its parent the hub, and its end an error."""
    leftover(visit, work, *args)
    raise apps.Injected(visit.asked.rid)


def read_on(visit):
    body = visit.body
    visit.world.hit("left behind", "read body")
    for _ in range(5):
        if not body.read_some(100):
            return
        gevent.sleep(visit.asked.delay)


# Of what a green thread writes that is left behind: the last is more than its turn, and more than the system takes.
LEFT_WRITES = ((1000, 3), (40000, 3), (4, 40), (150000, 1), (700000, 1), (700000, 1))


def write_on(visit, write, size, count):
    data, at = plan.content(visit.asked.rid, size * count, plan.LEFT), 0
    for _ in range(count):
        write(data[at : at + size])
        at += size
        visit.world.hit("left behind", "write")


def with_stream(visit, stream):
    """Before a stream handler writes."""
    asked, odd, world = visit.asked, visit.asked.odd, visit.world
    if asked.quirk == "left reader":
        visit.disturb()
        gevent.spawn(leftover, visit, stream.read_some, 100)
        gevent.sleep(asked.delay)
    elif asked.quirk == "left writer":
        visit.disturb()
        size, count = odd.choice(LEFT_WRITES)
        gevent.spawn(
            leftover, visit, write_on, visit, lambda data: stream.write(apps.frame(asked, data, plan.LEFT)), size, count
        )
        visit.wait("sleep", asked.delay)
    elif asked.quirk == "left closer":
        visit.disturb()
        world.after(asked.delay, lambda: gevent.spawn(leftover, visit, odd.choice((stream.close, stream.abort))))
    elif asked.quirk == "closes":
        visit.disturb()
        odd.choice((stream.close, stream.shutdown))()
    elif asked.quirk == "aborts":
        visit.disturb()
        stream.abort()
    elif asked.quirk == "bad file":
        bad_file(visit, stream)
    elif asked.quirk == "read timeout":
        try:
            with_timeout = stream.read_some(0) if odd.random() < 0.2 else None
            if with_timeout:
                world.fail("bytes of nothing", asked.story())
            stream.flush(timeout=30)
        except OSError:
            visit.disturb()
            raise


def bad_file(visit, stream):
    """sendfile that cannot be, then the answer as if nothing had been."""
    file = visit.make_file()
    offset, count = visit.asked.odd.choice(((-1, None), (-5, 10), (0, -3), (1 << 62, 5), (1 << 40, None)))
    visit.world.hit("bad sendfile", "write")
    with file:
        try:
            if stream.sendfile(file, offset, count):
                visit.world.fail("sendfile of what is not there", f"{offset} {count} {visit.asked.story()}")
        except (ValueError, OverflowError):
            pass


def use_kept(visit, request):
    gevent.spawn(leftover, visit, use_kept_now, visit, request)


def use_kept_now(visit, request):
    """The request is over, or not: whoever kept its parts must not touch what is another's."""
    body = visit.body
    if visit.at != "after":
        return
    visit.world.hit("kept", "event")
    try:
        data = body.read(1000)
        if data and visit.read_to == visit.asked.body_size:
            visit.world.fail("content for a request that has had all of its own", visit.asked.story())
    except OSError:
        pass
    if visit.write is not None and visit.at == "after":
        try:
            visit.asked.mixed = True
            visit.excuse(500)  # a finalizer may hold up the answer behind the application: this comes before its head
            write_on(visit, visit.write, 4, 1)
        except Exception:
            pass
    if not isinstance(request, dict):
        _ = request.query, request.headers.get("host"), request.gone, request.target


def with_write(visit, write):
    """start_response has been called."""
    asked = visit.asked
    if asked.quirk == "left writer":
        asked.mixed = True
        visit.disturb()
        size, count = asked.odd.choice(LEFT_WRITES)
        gevent.spawn(leftover, visit, write_on, visit, write, size, count)
        if asked.odd.random() < 0.8:
            visit.wait("sleep", asked.odd.choice((0.0, asked.delay)))
    elif asked.quirk == "late":
        asked.mixed = True
        visit.disturb()
        visit.world.after(asked.delay, lambda: gevent.spawn(leftover, visit, write_on, visit, write, 8, 2))


def with_litter(visit, fields):
    asked = visit.asked
    if asked.quirk == "finalizer":
        value = apps.Text("1")
        value.litter = Litter(visit.world, asked.odd.choice(("sleep", "nap", "event")), asked.odd.randrange(3)).cycle()
        fields.append((apps.Text("X-Litter"), value))
    return fields


def raise_early(visit):
    asked = visit.asked
    if asked.quirk == "raises":
        visit.disturb()
        raise apps.Injected(asked.rid)
    if asked.quirk == "exits" and asked.odd.random() < 0.6:
        visit.disturb()
        asked.killed = True
        raise asked.odd.choice((SystemExit, GreenletExit))()


def between_pieces(visit):
    asked = visit.asked
    if asked.quirk == "exits":
        visit.disturb()
        asked.killed = True
        raise asked.odd.choice((SystemExit, GreenletExit))()


def with_file(visit):
    asked = visit.asked
    if asked.quirk == "shrinks":
        visit.disturb()
        when = asked.odd.choice(("now", "now", "soon", "next", "next"))
        if when == "now":
            os.ftruncate(visit.file, asked.size // 3)
            return
        descriptor = os.dup(visit.file)

        def shrink():
            os.ftruncate(descriptor, asked.size // 3)
            os.close(descriptor)

        # "next": by the next request on the connection, which may come before a byte of this file has left
        (visit.world if when == "soon" else asked.client).shrinkers.append(shrink)


def in_close(visit):
    asked, quirk = visit.asked, visit.asked.quirk
    visit.world.shrink_files()
    if visit.world.signals and asked.odd.random() < 0.1:
        signal.raise_signal(signal.SIGUSR1)
    if quirk == "close waits" or quirk in ("timeout", "holds", "killed", "thrown") and asked.odd.random() < 0.5:
        visit.wait(asked.odd.choice(("nap", "sleep", "event")), asked.delay, "close")
    elif quirk == "close raises":
        visit.world.hit("close raises", "close")
        raise apps.Injected(asked.rid)
    elif quirk == "close writes" and visit.write is not None:
        visit.world.hit("late write", "close")
        asked.mixed = asked.disturbed  # where iterating was interrupted, the answer is not at its end
        with suppress(AssertionError):
            write_on(visit, visit.write, 60, 1)


# ---- of the whole world


class Litter:
    """Cyclic garbage whose finalizer does what it likes, once it runs where it likes.

    Arguments:
        act: "sleep", "nap", "crowd" (so many sleep that the table is full), "event", "log", "raise".
        count: finalizations that are let pass before.
        place: "any", "stop", "between" (a green thread of the pool without a request), "busy" (with one), or what
            such a one is at: "nap", "write", and so on.
    """

    __slots__ = ("world", "act", "count", "place", "me", "seconds")

    def __init__(self, world, act, count, place="any", seconds=0.003):
        self.world = world
        self.act = act
        self.count = count
        self.place = place
        self.seconds = seconds

    def cycle(self):
        self.me = self
        return self

    def __del__(self):
        world = self.world
        if world is None or world.calm:
            return
        current = getcurrent()
        point = world.point_of(current)
        between = type(current).__name__ == "Worker" and point in ("between", "after")
        visit = world.visit_of(current)
        in_gevent = point == "stop" or visit is not None and visit.how in GEVENT
        if self.place == "stop":
            wrong_place = point != "stop"
        elif self.place in ("any", "between", "busy"):
            wrong_place = self.place != "any" and (self.place == "between") != between
        else:
            wrong_place = visit is None or visit.at != self.place
        waits = self.act not in ("log", "raise")
        if in_loop(making=waits) or wrong_place or waits and (current is world.hub or in_gevent):
            fit = False
        else:
            fit = self.count <= 0
            self.count -= 1
        if not fit:
            world.litters += 1
            if world.litters < 4000:
                Litter(world, self.act, self.count, self.place, self.seconds).cycle()
            return
        world.hit("finalizer", point)
        world.c.note(2, self.count)
        try:
            self.wait()
        except InvalidSwitchError:
            if point != "other":
                raise
        except RequestTimeout:
            pass  # it came while this ran in its place: Python lets nothing out of a finalizer
        if self.act == "log":
            logging.getLogger("greenhttp").warning("a finalizer")
        elif self.act == "raise":
            raise ValueError("a finalizer")

    def wait(self):
        if self.act == "sleep":
            gevent.sleep(self.seconds)
        elif self.act == "nap":
            nap.sleep(self.seconds)
        elif self.act == "crowd":
            naps = self.world.hub.greenhttp_naps
            for _ in range(naps.room - naps.count):
                self.world.spawn(nap.sleep, 0.3)
            gevent.sleep(self.seconds)
        elif self.act == "event":
            Event().wait(self.seconds)


# Where a green thread waits by gevent's means. gevent arms a wait, and may allocate before it switches: what waits in a
# finalizer there takes its wake-up. That is gevent's, and no server can help.
GEVENT = {"sleep", "sleep0", "event", "queue"}
LOOP = {os.path.join(os.path.dirname(__file__), name) for name in ("loop.py", "watchers.py")}
MAKING = {"timer", "io", "__init__"} if sys.version_info < (3, 12) else set()


def in_loop(making=True):
    """Whether this runs inside the simulated loop: gevent's would not let it, except where it makes an object."""
    frame = sys._getframe(1).f_back
    while frame is not None:
        code = frame.f_code
        if code.co_filename in LOOP:
            if code.co_name == "call":
                return False  # a callback of the loop
            return not making or code.co_name not in MAKING
        if making and "/gevent/" in code.co_filename:
            return True  # see GEVENT
        frame = frame.f_back
    return False


class Adversities:
    """Starts what the plan names. Each gets a generator of its own."""

    def __init__(self, world):
        self.world = world
        for name, kind in world.plan.adversities:
            getattr(self, kind)(world.plan.chance(name))

    def collector(self, chance):
        """The collector runs at nearly every allocation for a while, and finds garbage that waits."""
        world = self.world
        start, length = chance.choice((0.0, chance.random() * 0.05)), chance.choice((0.002, 0.01, 0.05))

        def begin():
            for _ in range(chance.choice((1, 1, 2, 5))):
                act = chance.choice(("sleep", "nap", "event", "sleep", "log", "raise"))
                place = chance.choice(("any", "between", "busy", "nap", "write", "flush", "read body"))
                count = chance.randrange(chance.choice((1, 2, 4, 10, 40)))
                Litter(world, act, count, place, chance.choice((0.0005, 0.003, 0.02))).cycle()
            gc.set_threshold(chance.choice((1, 1, 2, 7)))
            world.after(length, gc.set_threshold, 700)

        def stopping():
            Litter(world, chance.choice(("log", "raise")), chance.randrange(40), "stop").cycle()
            gc.set_threshold(1)

        world.after(start, begin)
        world.when_stopping.append(stopping)

    def signals(self, chance):
        """A signal arrives inside a system call; its handler waits, or raises in the request that runs."""
        world = self.world

        def handler(number, frame):
            current = getcurrent()
            if world.calm or in_loop(making=False):
                return
            point = world.point_of(current)
            if current is world.hub:
                world.hit("signal", point)
                return
            visit = world.visit_of(current)
            if visit is not None and visit.asked.quirk == "body timeout":
                return  # what a handler interrupts between a read and the next line is lost to its application
            world.hit("signal", point)
            world.c.note(3, 0)
            act = chance.choice(("sleep", "nap", "raise"))
            if act == "raise":
                if visit is not None and visit.at in ("read body", "write", "nap", "sleep"):
                    visit.disturb()
                    raise apps.Injected(visit.asked.rid)
            elif act == "sleep":
                gevent.sleep(0.002)
            else:
                nap.sleep(0.002)

        signal.signal(signal.SIGUSR1, handler)
        world.signals = True

        def arm(left):
            world.c.signal(signal.SIGUSR1, chance.randrange(30))
            if left:
                world.after(chance.random() * 0.02, arm, left - 1)

        world.after(0.0, arm, chance.choice((3, 10, 30)))

    def stall(self, chance):
        """The application keeps the loop busy."""
        world = self.world
        for _ in range(chance.choice((1, 3))):
            seconds = chance.choice((0.05, 1, 6, 12))
            world.stalls += seconds
            world.after(chance.random() * 0.2, world.stall, seconds)

    def stop(self, chance):
        """The server is told to stop in the middle of it; who told it may be killed."""
        world = self.world
        world.stop_at = chance.random() * 0.1
        if chance.random() < 0.3:
            how = chance.choice(("killed", "thrown"))
            world.after(world.stop_at + chance.choice((0.0, 0.001, 0.02)), world.strike_stop, how)
        self.world.stop_with = chance.choice((None, None, 0.05, 0)), chance.choice((0.0, 0.5))

    def sleepers(self, chance):
        """Many sleep; and while somebody lies down, a finalizer has as many more do so as there is room for."""
        world = self.world

        def sleep_on():
            while not world.calm:
                nap.sleep(0.5)

        def litter():
            Litter(world, chance.choice(("nap", "crowd", "crowd")), chance.randrange(8), "nap", 0.003).cycle()
            gc.set_threshold(1)
            world.after(0.05, gc.set_threshold, 700)

        for _ in range(chance.choice((27, 28, 29, 30, 31, 62))):
            world.spawn(sleep_on)
        for _ in range(chance.choice((1, 3, 6))):
            world.after(chance.random() * 0.04, litter)

    def system(self, chance):
        """Short calls, interrupted ones, no descriptors."""
        self.world.c.chances(500, 200, chance.choice((0, 100)), 200)

    def killer(self, chance):
        """Requests are killed, whatever they are at."""
        world = self.world

        def kill_one():
            running = [visit for visit in world.visits.values() if visit.at != "after" and visit.green()]
            if running:
                visit = chance.choice(running)
                visit.disturb()
                strike(visit, chance.choice(("killed", "thrown")))

        for _ in range(chance.choice((3, 10))):
            world.after(chance.random() * 0.1, kill_one)

    def log(self, chance):
        """Writing the log waits."""
        self.world.log_waits = 0.01

    def burst(self, chance):
        """All clients come at once."""
        for client in self.world.clients:
            client.start = 0.001


def spin(*_):
    """Nothing."""


__all__ = ["Adversities", "GreenletExit", "Litter"]
