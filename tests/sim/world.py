"""One world: a server, its clients and what befalls them, on one loop, from a seed to a verdict.

traffic, with adversities -> the clients go -> rest: nothing may be left -> every place is asked for at once -> stop
"""

import ctypes
import gc
import json
import logging
import os
import socket
import sys
import traceback
from heapq import heappop, heappush
from queue import Empty

import gevent
from gevent._hub_local import set_hub
from gevent.exceptions import LoopExit
from gevent.hub import Hub
from greenlet import getcurrent

from greenhttp.process.board import Board
from greenhttp.process.places import entries
from greenhttp.server import Server
from greenhttp.settings.address import Address
from tests.sim import apps, foreign, loop, real, rest, tls
from tests.sim.clients import Client
from tests.sim.judge import Wrong
from tests.sim.plan import GRACEFUL, Plan

START = 1_000_000 * 10**9  # ns; the clock of a machine that has run for some days
DATE = 1_700_000_000 * 10**9 - START
MEMORY = 1 << 18
PATIENCE = 600.0  # virtual seconds in which every connection must have ended
MOST_TURNS = 60_000


class Socket:
    """A listening socket, as far as the server looks at it."""

    def __init__(self, fd, family):
        self.fd = fd
        self.family = family

    def fileno(self):
        return self.fd

    def getsockname(self):
        return "/sim" if self.family == socket.AF_UNIX else ("127.0.0.1", 80)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class SimHub(Hub):
    """gevent's hub; what would be printed goes to the world."""

    def handle_error(self, context, kind, value, trace):
        world = self.world
        if kind is not None and not issubclass(kind, (SystemExit, KeyboardInterrupt, gevent.GreenletExit)):
            text = "".join(traceback.format_exception(kind, value, trace))
            if issubclass(kind, apps.Injected):
                return
            world.fail("an error in the hub", text)
        if issubclass(kind, KeyboardInterrupt):
            world.interrupted += 1


class Threads:
    """The hub's pool of threads: none, calls are made at once."""

    def apply(self, function, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


class World:
    """Arguments:
    plan: what happens.
    c: the library of the world.
    finish: called with the verdict, a dict; does not return.
    """

    def __init__(self, plan: Plan, c, finish):
        self.plan = plan
        self.c = c
        self.real = isinstance(c, real.System)
        self.scale = real.SCALE if self.real else 1.0
        self.turns = 0
        self.finish = finish
        self.memory = ctypes.create_string_buffer(MEMORY)
        self.room = MEMORY
        self.numbers = self.ints(4096)
        self.heap, self.serial, self.due_soon = [], 0, []
        self.connections = 0
        self.by_number = []
        self.visits = {}
        self.leftovers = 0
        self.litters = 0
        self.stalls = 0.0
        self.hits = {}
        self.held = []
        self.shrinkers = []
        self.timers = []
        self.extra = []
        self.messages = []
        self.last_words = None
        self.calm = self.cutting = self.holds = self.stopped_early = self.was_cut = False
        # The system, at times, to take more:
        self.refuses = plan.chances[3] or any(kind == "system" for _, kind in plan.adversities)
        self.tight = plan.settings["connections"] < 100
        self.stop_at = None
        self.log_waits = 0.0
        self.interrupted = 0
        self.signals = False  # arrive in this world
        self.when_stopping = []
        self.waiting = self.stopper = None
        self.foreign_on, self.foreign_off = gc.enable, gc.disable
        self.main = getcurrent()
        self.phase = "start"
        self.slowest = 0.0  # of the answers, as a part of what they may take

    # ---- for the others

    def ints(self, size):
        return (ctypes.c_int * size)()

    def now(self):
        return self.c.now() / 1e9

    def at(self, seconds, client):
        """`client` acts in so many seconds."""
        self.serial += 1
        if seconds > 0.2:
            seconds *= self.scale
        heappush(self.heap, (self.c.now() + int(seconds * 1e9), self.serial, client))

    def soon(self, client):
        """`client` acts in the next turn."""
        self.due_soon.append(client)

    def stall(self, seconds):
        """Time passes for everybody but the loop."""
        c = self.c
        seconds *= self.scale
        until = c.now() + int(seconds * 1e9)
        # Also for the system: what it holds back for a moment (MSG_MORE) leaves.
        while (next_at := self.turn()) and next_at <= until:
            c.advance(max(10_000, next_at - c.now()))
        self.turn()  # what was held back to the last has left only now
        c.advance(max(0, until - c.now()))

    def after(self, seconds, callback, *args):
        """A callback of the loop, as applications have them."""
        timer = self.hub.loop.timer(max(seconds, 0.0), ref=False)
        timer.start(self.called, timer, callback, args, update=True)

    def called(self, timer, callback, args):
        timer.close()
        if not self.calm:
            callback(*args)

    def spawn(self, function, *args):
        green = gevent.spawn(function, *args)
        self.extra.append(green)
        return green

    def hit(self, adversity, point):
        key = f"{point} x {adversity}"
        self.hits[key] = self.hits.get(key, 0) + 1
        self.c.note(4, len(self.hits))

    def point_of(self, green):
        """Where a green thread is."""
        if green is self.hub:
            return "hub"
        if green is self.stopper:
            return "stop"
        if not self.real and id(green) in self.loop.sharing:
            return "share"
        visit = self.visit_of(green)
        if visit is None:
            return "between" if type(green).__name__ == "Worker" else "other"
        return "between" if visit.at == "after" else visit.at

    def visit_of(self, green):
        """What a green thread is at, or was at last."""
        visit = self.visits.get(id(green))
        return visit if visit is not None and visit.green() is green else None

    def asked_of(self, rid):
        return self.by_rid.get(rid)

    def asked_at(self, path):
        return self.asked.get(path)

    def shrink_files(self):
        while self.shrinkers:
            self.shrinkers.pop()()

    def fail(self, kind, story=""):
        """The world is over: something that must hold does not."""
        self.c.end()
        gc.disable()
        self.done({"failure": kind, "story": str(story)[:6000]})

    def done(self, verdict):
        self.digest = f"{self.c.digest():016x}"
        verdict |= {
            "seed": self.plan.seed,
            "digest": self.digest,
            "connections": self.connections,
            "turns": self.turns,
            "requests": sum(asked.runs for asked in self.asked.values()),
            "hits": self.hits,
            "phase": self.phase,
            "adversities": [kind for _, kind in self.plan.adversities],
            "calls": self.c.calls(),
            "slowest": round(self.slowest, 3),
            "virtual": round(self.c.now() / 1e9 - self.began, 3),
            "messages": self.messages[-40:],
            "cut": self.was_cut,
            "told": sum(client.told() for client in self.clients) if self.was_cut else 0,
        }
        self.finish(verdict)

    # ---- turns, in the hub

    def turn(self):
        """Clients act whose time has come, and read what has come. When the next one acts, in ns; 0: none."""
        c = self.c
        try:
            if self.due_soon:
                due, self.due_soon = self.due_soon, []
                for client in due:
                    client.act()
            now = c.now()
            while self.heap and self.heap[0][0] <= now:
                heappop(self.heap)[2].act()
            count = c.arrivals(0, self.numbers, 4096)
            for at in range(count):
                client = self.by_number[self.numbers[at]]
                if client.eager:
                    client.take(1 << 30)
        except Wrong as wrong:
            self.fail(wrong.args[0], wrong.args[1] if len(wrong.args) > 1 else "")
        if self.shrinkers and self.chance.random() < 0.3:
            self.shrink_files()
        self.turns += 1
        if self.turns > MOST_TURNS and not self.real:
            self.fail("the world does not come to rest", self.describe())
        next_at = self.heap[0][0] if self.heap else 0
        if self.due_soon:
            next_at = c.now()
        if (cork := c.next_cork()) and (not next_at or cork < next_at):
            next_at = cork
        if self.waiting is not None:
            condition, until = self.waiting
            if condition() or self.now() >= until:
                self.waiting = None
                self.loop.run_callback(self.main.switch)
            elif not next_at or until * 1e9 < next_at:
                next_at = int(until * 1e9) + 1
        return next_at

    def stuck(self):
        self.fail("nothing will ever happen again", self.describe())

    def until(self, condition, seconds):
        """Wait, in the main green thread. Whether the condition came true in time."""
        self.waiting = condition, self.now() + seconds * self.scale
        try:
            self.hub.switch()
        except LoopExit:
            self.fail("the loop ended while somebody waited", self.describe())
        return condition()

    def left(self, client):
        """The connection of `client` has ended."""

    def describe(self):
        stats = {name: count for name, count in self.server.statistics().items() if count}
        open_ones = [
            f"{client.name} {client.manner} {client.at}/{len(client.steps)} {client.answers.whole} whole"
            for client in self.clients
            if not client.ended
        ]
        where = [line for green in self.workers() for line in waits_at(green)]
        if self.real:
            return f"{self.phase}, {stats}, {open_ones[:20]}, {where}"
        ready = [(watcher.fd, watcher.events, watcher.callback) for watcher in self.loop.found()]
        loop = self.loop
        busy = f"{len(loop.callbacks)} callbacks, {loop.idles} idle, {ready} ready, next due {loop.next_due()}"
        return f"{self.phase}, {stats}, {open_ones[:20]}, {busy}, {where}"

    def workers(self):
        """Green threads of the pool."""
        return [each for each in gc.get_objects() if type(each).__name__ == "Worker"]

    # ---- the course

    def run(self):
        plan, c = self.plan, self.c
        c.begin(plan.seed & (1 << 63) - 1, START, DATE, plan.reuse, plan.coarse)
        c.chances(*plan.chances)
        self.began = self.now()
        self.chance = plan.chance("course")
        if self.real:
            self.hub = SimHub()
            self.loop = self.hub.loop
        else:
            make = loop.Libuv if plan.flavour == "libuv" else loop.Libev
            self.loop = make(c, plan.chance("loop"), self, plan.tick)
            self.loop.on_sharing = lambda green: foreign.sharing(self, green)
            self.hub = SimHub(self.loop)
            self.loop.hub = self.hub
        self.hub.world = self
        set_hub(self.hub)
        self.hub._threadpool = Threads()
        self.watch_output()
        self.security = tls.Security(plan) if plan.secure else None
        self.asked, self.by_rid = {}, {}
        self.clients = [Client(self, *row) for row in plan.clients]
        for client in self.clients:
            for asked in client.asked:
                self.asked[asked.path()] = self.by_rid[asked.rid] = asked
                asked.killed = asked.disturbed = False
                asked.visit = None
        self.serve()
        foreign.Adversities(self)
        self.prepare()
        for client in self.clients:
            self.at(client.start, client)
        self.phase = "traffic"
        if self.stop_at is not None and self.until(self.all_gone, self.stop_at) is False:
            self.stop(*self.stop_with, early=True)
        self.until(self.all_gone, PATIENCE)
        self.settle()
        for client in self.clients:
            self.judge(client)
        if not self.stopped_early:
            rest.at_rest(self)
            rest.every_place(self)
            self.stop(None, 0.0)
        rest.nothing_left(self)
        self.done({"failure": None, "story": ""})

    def serve(self):
        plan = self.plan
        self.log = os.memfd_create("access")
        values = {
            name: value * self.scale if name.endswith(("_timeout", "_after")) else value
            for name, value in plan.settings.items()
        }
        if self.plan.access_log:
            values["access_logfile"] = f"/proc/self/fd/{self.log}"
        self.server = Server(apps.APPS[plan.kind](self), bind=("127.0.0.1:80",), interface=plan.kind, **values)
        if self.security is not None:
            self.server.certificates = self.security.certificates()
            if self.security.chance.random() < 0.3:
                self.after(self.security.chance.random() * 0.1, self.renew)
        board = None
        if plan.board:
            board = Board(plan.board)
            board.own()
        self.board = board
        sock = self.c.listen() if self.real else Socket(self.c.listen(), plan.family)
        self.server.start([(sock, Address("tcp", host="127.0.0.1", port=80))], board=board)
        if self.real:
            self.pump = self.loop.timer(0, real.PUMP)
            self.pump.start(self.turn)
            self.c.started()
        self.service = self.server._service

    def renew(self):
        """The certificates have changed."""
        self.server.renew(self.security.renewed())

    def prepare(self):
        """What the adversities and the crowd excuse for everybody."""
        settings = self.plan.settings
        rude = sum(client.may_end for client in self.clients)
        places = settings["connections" if self.plan.kind == "stream" else "concurrency"]
        crowded = len(self.clients) >= places
        work = sum(seconds for asked in self.asked.values() for _, seconds in asked.waits) + 0.03 * len(self.asked)
        self.bound = 2 + work + self.stalls
        if self.real:  # how fast the machine is, nobody knows
            self.bound = PATIENCE
            for client in self.clients:
                client.rude()
        if rude + sum(client.manner in ("slow", "uploader") for client in self.clients) >= min(
            places, settings["connections"]
        ):
            # An uploader may hold a place while part of what it sends is waited for, or dropped behind its answer.
            self.bound += 60 * (rude + 2)
        # A green thread that foreign code holds up while it begins is a place that cannot be had, and nobody may queue.
        held_up = settings.get("queue") == 0 and any(
            kind in ("collector", "signals") for _, kind in self.plan.adversities
        )
        if crowded or self.stalls or held_up:
            for asked in self.asked.values():
                asked.may.add(503)
        if self.stalls:
            for asked in self.asked.values():  # the rest of a body is dropped for `linger_timeout` at most
                asked.may_close = asked.may_close or asked.read in ("none", "part")
        if settings["request_timeout"]:  # it counts while a slow client reads, too
            for asked in self.asked.values():
                if self.stalls or asked.client.manner == "slow":
                    asked.may |= {503}
                    asked.may_cut = asked.may_close = True
        if "limit_buffers" in settings:
            for client in self.clients:
                client.may.add(431)
                client.may_cut = client.may_end = True

    def all_gone(self):
        open_ones = [client for client in self.clients if not client.ended]
        if any(client.manner != "never" for client in open_ones):
            return False
        for client in open_ones:  # it does not look, so it is looked at from outside
            if client.number is not None and self.c.client_closed_at(client.number):
                client.end("left")
        return all(client.ended for client in open_ones) and not self.leftovers

    def settle(self):
        """No adversity any more; what green threads of applications still do comes to an end."""
        self.calm = True
        gc.set_threshold(700)
        self.shrink_files()
        self.phase = "settling"
        self.until(lambda: False, 60.0)

    def judge(self, client):
        try:
            if not client.ended:
                raise Wrong("a connection does not end", f"{client.name} {client.manner}, {self.describe()}")
            client.judge()
            if client.manner in ("honest", "pipelined", "split", "half"):
                self.judge_times(client)
        except Wrong as wrong:
            self.fail(wrong.args[0], wrong.args[1] if len(wrong.args) > 1 else "")

    def judge_times(self, client):
        """Each answer, or in its place the end of the connection, comes soon after request and answer before."""
        for at, asked in enumerate(client.asked):
            if asked.sent_at is None or asked.quirk == "left reader":  # two may wait for what one of them has got
                break
            answered = at < len(client.times)
            when = client.times[at] if answered else client.ended_at
            late = when - max([asked.sent_at, *client.times[:at]])
            self.slowest = max(self.slowest, late / self.bound)
            if late > self.bound:
                what = "a late answer" if answered else "a late end"
                raise Wrong(what, f"{client.name} {asked.story()}: {late:.1f} s of {self.bound:.1f}")
            if not answered:
                break
        else:
            # All its answers have come: the end does, when it has finished, or else when it has been idle long enough.
            since = max([client.finished_at or 0.0, *client.times])
            most = self.bound + (0 if client.finished_at else self.plan.settings["keepalive_timeout"])
            if client.times and client.ended_at - since > most:
                raise Wrong(
                    "a late end", f"{client.name} {client.manner}: {client.ended_at - since:.1f} of {most:.1f} s"
                )

    def enter_gate(self):
        """What a fresh request does: it waits until all others are in as well."""
        if self.phase != "places":
            return
        self.inside += 1
        if self.inside >= self.gate:
            self.open_gate.set()
        self.open_gate.wait(20)

    def stop(self, timeout, linger, early=False):
        self.phase = "stop"
        self.stopped_early = early
        self.holds = True
        self.cutting = timeout is not None or self.stalls * self.scale >= GRACEFUL / 2
        state = self.stop_state = {}

        def stop():
            state["begun"] = True
            try:
                while self.when_stopping:
                    self.when_stopping.pop()()
                state["finished"] = self.server.stop(timeout, linger)
            except (apps.Injected, gevent.GreenletExit):
                state["finished"] = False

        self.stopper = self.spawn(stop)
        if not self.until(lambda: "finished" in state or self.stopper.dead, 400.0):
            self.fail("stop does not end", self.describe())
        self.last_words, self.service = self.service.statistics(), None  # with all that its queues hold
        if not state.get("finished"):
            self.was_cut = True
            for client in self.clients:
                client.may_cut = True
                for asked in client.asked:  # nothing of its answer was out; what was out is whole or visibly cut
                    asked.may.add(503)

    def strike_stop(self, how):
        """Kill or throw into the green thread that stops the server."""
        if self.stopper is not None and not self.stopper.dead and "begun" in self.stop_state:
            self.hit(how, "stop")
            self.cutting = True  # nobody waits any longer
            self.stopper.kill(apps.Injected(-1) if how == "thrown" else gevent.GreenletExit, block=False)

    def watch_output(self):
        """What goes to the log, to sys.excepthook and to sys.unraisablehook."""
        world = self

        class Memory(logging.Handler):
            def emit(self, record):
                text = record.getMessage()
                if record.exc_info:
                    text += " | " + "".join(traceback.format_exception(*record.exc_info))[-1500:]
                world.messages.append(f"{record.levelname}: {text}"[:2000])
                if world.log_waits and getcurrent() is not world.hub:
                    gevent.sleep(world.log_waits)

        logger = logging.getLogger("greenhttp")
        logger.handlers[:] = [Memory()]
        logger.propagate = False
        logger.setLevel(logging.INFO)
        sys.unraisablehook = self.unraisable
        sys.excepthook = self.excepted

    def unraisable(self, what):
        text = "".join(traceback.format_exception(what.exc_type, what.exc_value, what.exc_traceback))
        thrown = (
            apps.Injected,
            gevent.Timeout,
            gevent.GreenletExit,
            Empty,
        )  # what came while a finalizer waited is lost
        if issubclass(what.exc_type, thrown) or "a finalizer" in text:
            return
        self.fail("an error that nobody could raise", f"{what.object!r} {text}")

    def excepted(self, kind, error, trace):
        if self.cutting and issubclass(kind, gevent.GreenletExit):
            return  # cut while a signal's handler waited behind the request
        if issubclass(kind, apps.OwnTimeout) and self.visit_of(getcurrent()) is error.visit:
            return  # of this request, while a signal's handler waited behind it
        self.fail("an error of nobody", "".join(traceback.format_exception(kind, error, trace)))


def report(verdict) -> bytes:
    return json.dumps(verdict).encode()


__all__ = ["World", "report"]


def waits_at(green):
    """The lines at which a green thread of the pool waits that runs something; compiled ones are not seen."""
    frames = entries(green.gr_frame)
    return [f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]
