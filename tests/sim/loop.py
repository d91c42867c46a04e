"""gevent's loop, made of nothing but a seed: what is ready, in which order, decides the world.

The interface is that of gevent.libev.corecext.loop and gevent.libuv.loop.loop, as far as gevent and greenhttp use it.
The order within a turn is what the two promise and no more: libev runs callbacks, polls, and then calls what is pending
by priority, within a priority in any order here; libuv calls timers by their time, callbacks, then descriptors one by
one, callbacks again. Time stands still while nothing happens, moves a little each turn, and jumps when all wait.
"""

import sys
from collections import deque
from heapq import heappop

from gevent.exceptions import HubDestroyed

from tests.sim.native import READ, WRITE
from tests.sim.watchers import Callback, Gathered, Io, SharedIo, Timer, Watcher

ENOUGH = 50  # callbacks that a loop runs at least before it polls again, if there are so many


class Loop:
    """Base of the two flavours.

    Arguments:
        c: the library of the world.
        chance: a random.Random of the world's.
        world: `turn()` lets the clients act, and returns the virtual time (ns) of what they do next, 0 for nothing.
        tick: ns that a turn takes.
    """

    MAXPRI, MINPRI = 2, -2
    approx_timer_resolution = 0.00001
    default = True
    error_handler = None
    finest = 0.0
    watcher = Io

    def __init__(self, c, chance, world, tick):
        self.c = c
        self.chance = chance
        self.world = world
        self.tick = tick
        self.hub = None
        self.refs = 0
        self.serial = 0
        self.turns = 0
        self.in_callbacks = False
        self.callbacks = deque()
        self.timers = []
        self.ios = {}
        self.handles = {}
        self.idles, self.checks, self.prepares = [], [], []
        self.sharing = set()  # ids of green threads that let others go first: `Stream.share`
        self.on_sharing = None  # called with each
        self.broken = False
        self.arrays = (world.ints(4096), world.ints(4096))
        self.update_now()

    # ---- what gevent calls

    def update_now(self):
        self.time = self.c.now() / 1e9

    update = update_now

    def now(self):
        return self.time

    def run_callback(self, callback, *args):
        made = Callback(callback, args)
        self.callbacks.append(made)
        return made

    run_callback_threadsafe = run_callback

    def io(self, fd, events, ref=True, priority=None):
        return self.watcher(self, fd, events, ref, priority)

    def timer(self, after, repeat=0.0, ref=True, priority=None):
        return Timer(self, after, repeat, ref, priority)

    def idle(self, ref=True, priority=None):
        return Gathered(self, ref, priority, self.idles)

    def check(self, ref=True, priority=None):
        return Gathered(self, ref, priority, self.checks)

    def prepare(self, ref=True, priority=None):
        return Gathered(self, ref, priority, self.prepares)

    def _never(self, *_, ref=True, priority=None, **__):
        return Watcher(self, ref, priority)

    signal = fork = async_ = child = stat = _never

    def ref(self):
        self.refs += 1

    def unref(self):
        self.refs -= 1

    def break_(self, how=None):
        self.broken = True

    def install_sigchld(self):
        pass

    reinit = verify = install_sigchld

    def destroy(self):
        self.broken = True
        return True

    def fileno(self):
        return None

    def _format(self):
        return f"turn {self.turns}"

    def debug(self):
        return []

    def handle_error(self, context, kind, value, traceback):
        if kind is HubDestroyed:
            self.broken = True
            self.callbacks.clear()
            return
        handler = self.error_handler
        getattr(handler, "handle_error", handler)(context, kind, value, traceback)

    # ---- turns

    def interest(self, fd):
        events = 0
        for watcher in self.ios.get(fd, ()):
            events |= watcher.events
        return events

    def run(self, nowait=False, once=False):
        self.broken = False
        while not self.broken and (self.refs > 0 or self.callbacks or self.world.holds):
            self.turns += 1
            self.turn()

    def run_callbacks(self):
        """As many as a loop runs before it polls."""
        left = ENOUGH * self.chance.choice((1, 1, 2, 20))
        self.in_callbacks = True
        self.update_now()
        while self.callbacks and left:
            left -= 1
            made = self.callbacks.popleft()
            callback, args = made.callback, made.args
            made.callback = None
            if callback is not None and args is not None:
                self.call(None, callback, args, made)
                made.args = None
        self.update_now()
        self.in_callbacks = False

    def call(self, watcher, callback, args, context):
        world = self.world
        world.foreign_on()
        try:
            callback(*args)
        except BaseException:
            self.handle_error(context, *sys.exc_info())
            if watcher is not None and (self.strict or isinstance(watcher, Io)):
                watcher.stop()
        finally:
            world.foreign_off()
        callback = args = None
        if watcher is not None and watcher.callback is not None and not watcher.active:
            watcher.callback = watcher.args = None

    def poll(self):
        """Let time pass and clients act. What has become ready: watchers of descriptors, in any order."""
        c = self.c
        c.advance(self.tick)
        at = self.world.turn()
        ready = self.found()
        if not (ready or self.callbacks or self.idles):
            due = self.next_due()
            if due is not None and (not at or due * 1e9 < at):
                at = int(due * 1e9) + 1
            if at > c.now():
                c.advance(at - c.now())
                self.world.turn()
                ready = self.found()
            elif not at and self.refs > 0:
                self.world.stuck()
        self.update_now()
        return ready

    def found(self):
        fds, events = self.arrays
        count = self.c.ready(fds, events, 4096)
        ready = []
        for at in range(count):
            for watcher in self.ios[fds[at]]:
                if watcher.events & events[at]:
                    watcher.pending = True
                    ready.append(watcher)
        return ready

    def next_due(self):
        timers = self.timers
        while timers and timers[0][2].due != timers[0][0]:
            heappop(timers)
        return timers[0][0] if timers else None

    def expired(self):
        """Timers whose time has come: no longer active, unless they repeat."""
        result = []
        while (due := self.next_due()) is not None and due <= self.time:
            timer = heappop(self.timers)[2]
            if timer.repeat:
                timer.after = timer.repeat
                timer.begin()
            else:
                timer.active = False
                timer.due = None
                if timer._ref:
                    self.refs -= 1
            timer.pending = True
            result.append(timer)
        return result

    def fire(self, watcher):
        if watcher.pending:
            watcher.pending = False
            callback, args = watcher.callback, watcher.args
            self.call(watcher, callback, args, watcher)


class Libev(Loop):
    strict = False

    def turn(self):
        self.run_callbacks()
        ready = self.poll()
        ready += self.expired()
        if not any(watcher.priority >= 0 for watcher in ready):
            for watcher in self.idles:
                watcher.pending = True
            ready += self.idles
        for watcher in self.checks:
            watcher.pending = True
        ready += self.checks
        self.chance.shuffle(ready)
        ready.sort(key=_priority)
        for watcher in ready:
            self.fire(watcher)
        self.sharing.clear()


class Libuv(Loop):
    strict = True  # what a callback raises stops its watcher, whatever kind it is
    approx_timer_resolution = finest = 0.001
    watcher = SharedIo

    def turn(self):
        self.update_now()
        for timer in self.expired():
            self.fire(timer)
        self.run_callbacks()
        for watcher in self.poll_shuffled():
            self.fire(watcher)
        for watcher in list(self.idles):
            watcher.pending = True
            self.fire(watcher)
        self.run_callbacks()
        self.sharing.clear()

    def poll_shuffled(self):
        ready = self.poll()
        self.chance.shuffle(ready)
        return ready


def _priority(watcher):
    return -watcher.priority


Libev.__module__ = "gevent.libev.corecext"  # greenhttp looks at the module of the loop's type
Libuv.__module__ = "gevent.libuv.loop"

assert READ == 1 and WRITE == 2  # gevent's numbers
