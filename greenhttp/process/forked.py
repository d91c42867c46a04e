"""A process that was forked from one that serves: a child of the application's, and no second server.

    token = serving(hub, abandon, say)      this process serves from now on; `over(token)`: no longer
    with in_child(call): ...                a child that is forked meanwhile makes this call
    came_back(what, error)                  in a child: ends it, for what it was forked in is over

`multiprocessing`, `subprocess` with preexec_fn, `pty.fork` and `os.fork` copy all that serves: listening sockets,
connections, and green threads in the middle of other requests, which would be carried out, and answered, once more. So
in the child only the green thread that forked goes on:

- At once: what serves is abandoned. Descriptors are closed and nothing else, for the connections, and what an epoll
  knows of them, are the parent's too. Signal handlers are again those from before the server.
- When the child first leaves that green thread, which one that computes or starts another program never does: the
  parent's watchers and callbacks are stopped. From then on, if something else wakes a green thread of the parent's,
  such as a lock that is released, that one is put back at once. None of them is ever freed: what stands in their
  `finally` blocks is the parent's to do.

gevent's hub itself goes on, as after any fork: the child can sleep, use sockets, start green threads and processes. If
nothing is left that could wake it, LoopExit is raised in the green thread that forked, as gevent does in the main one;
if that has ended, the process ends.

A program that starts a server and then becomes a daemon, or forks siblings, has forked in its main green thread. Where
such a child goes on to wait, does not serve soon and is none of `multiprocessing`, a line says what is wrong with that.
"""

import contextlib
import functools
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any, NoReturn

import greenlet as greenlets
from gevent import hub as gevents
from gevent import monkey
from greenlet import getcurrent, greenlet

from greenhttp.errors import StreamClosed

Say = Callable[[int, str, BaseException | None], object]  # level, message, error

# Handled by whoever serves. One that a child was sent must not be taken by the parent's handler: it would be lost.
HELD = {
    signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN,
    signal.SIGTTOU, signal.SIGWINCH,
}  # fmt: skip

SETTLED = 0.5  # seconds that a forked process has to start a server of its own, before the line

log = logging.getLogger("greenhttp")

_serving: list["Serving"] = []
_calls: list[Callable[[], object]] = []
_kept: list[Any] = []  # the parent's, and never to be freed
_masks: dict[int, "_Mask"] = {}  # of threads that are forking
_registered = False
_ident = monkey.get_original("_thread", "get_ident")
_switch = greenlet.switch  # gevent's classes, and ours, have their own


class Serving:
    """A server of this process; see `serving`."""

    def __init__(self, hub: Any, abandon: Callable[[bool], object], say: Say) -> None:
        self.hub, self.abandon, self.say = hub, abandon, say


def serving(hub: Any, abandon: Callable[[bool], object], say: Say) -> Serving:
    """From now on a server runs in this process.

    Arguments:
        hub: gevent's, in which it runs.
        abandon: called in a forked child: lets go of everything, touches no connection, must not wait. It is told
            whether the thread of that hub has forked: another must not touch its watchers, for nobody knows where in
            the loop's own code it was. What it returns is never freed.
        say: writes a line of the log; may wait.
    """
    global _registered
    if not _registered:
        os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_after_in_child)
        _registered = True
    token = Serving(hub, abandon, say)
    _serving.append(token)
    return token


def over(token: Serving) -> None:
    """That server has stopped, or is no server in this process."""
    if token in _serving:
        _serving.remove(token)


@contextlib.contextmanager
def in_child(call: Callable[[], object]) -> Iterator[None]:
    """A child that is forked while the block runs, and something serves, makes this call. It must not wait."""
    _calls.append(call)
    try:
        yield
    finally:
        if call in _calls:
            _calls.remove(call)


def serves_nothing() -> str:
    """What is wrong with a forked process that is meant to serve."""
    return (
        f"process {os.getpid()} was forked after the server was started, and serves nothing:"
        " fork first, start the server afterwards"
    )


def came_back(what: str, error: BaseException | None, say: Say | None = None) -> NoReturn:
    """End this process, a forked one: what it was forked in has come to its end here too, and goes on in the parent.

    Arguments:
        what: it was forked in, for the log.
        error: what was raised; None: it has returned. SystemExit is obeyed without a word.
        say: see `serving`; None: the logger.
    """
    code = 0
    with contextlib.suppress(BaseException):  # whatever the words meet, a second answer must not follow
        pid, parent = os.getpid(), os.getppid()
        if isinstance(error, SystemExit):
            code = _code(error)
        elif error is None or isinstance(error, (greenlets.GreenletExit, StreamClosed)):  # the last: to answer
            then = f"was ended; process {parent} goes on. End forked processes with os._exit()"
            _say(say, logging.WARNING, f"{what}: process {pid}, forked here, came back to the server and {then}", None)
        else:
            code = 1
            line = f"{what}: {type(error).__name__} in process {pid}, forked here; it was ended, {parent} goes on"
            _say(say, logging.ERROR, line, error)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    os._exit(code)


def _say(say: Say | None, level: int, message: str, error: BaseException | None) -> None:
    if say is None:
        log.log(level, "%s", message, exc_info=error)
    else:
        say(level, message, error)


def _code(error: SystemExit) -> int:
    """The exit code that Python gives it."""
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1


# ---- around the fork


class _Mask:
    """That of a thread before it forked. Several of its green threads may be on their way to a fork: what is called
    before one may wait, for the lock of `logging` say."""

    def __init__(self) -> None:
        self.forks = 0
        self.before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)


def _hold() -> None:
    if _serving:
        ident = _ident()
        if ident not in _masks:
            _masks[ident] = _Mask()
        _masks[ident].forks += 1


def _let_go() -> None:
    if (mask := _masks.get(_ident())) is not None:
        mask.forks -= 1
        if not mask.forks:
            _free()


def _free() -> None:
    if (mask := _masks.pop(_ident(), None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask.before)


# ---- in the child


def _after_in_child() -> None:
    try:
        if _serving:
            _leave()
    finally:
        _free()
        _masks.clear()  # other threads are not here


def _leave() -> None:
    # What the child makes from here on can be told from what it has inherited, which is never collected here. Costs
    # nothing: the lists of the collector are joined.
    gc.freeze()
    left, _serving[:] = _serving[:], []
    calls, _calls[:] = _calls[:], []
    _kept.append((left, calls))  # of which the latter grows below
    hub = gevents._get_hub()
    if hub is not None:
        gevents.reinit(hub)  # before any watcher is stopped: libuv would tell the epoll that the parent has too
    calls += [functools.partial(one.abandon, one.hub is hub) for one in left]
    for call in calls:
        try:
            _kept.append(call())
        except Exception:  # the rest all the more
            sys.excepthook(*sys.exc_info())
    if hub is not None and any(one.hub is hub for one in left):
        _Quarantine(hub, left[0].say).begin()


_PROXIES = ["_multiplexwatcher"]  # libuv's watchers of descriptors have no base in common with the others


def _of_kinds(kinds: Collection[type | str], objects: list[Any]) -> list[Any]:
    """Those of these types, or of types of these names. Of hundreds of thousands: so nothing is called for each.

    By the numbers of types, for a metaclass of the application's may have a hash of its own, or none.
    """
    numbers = list(map(id, map(type, objects)))
    known = dict(zip(numbers, map(type, objects), strict=True))
    types = tuple(kind for kind in kinds if isinstance(kind, type))
    wanted = {number for number, kind in known.items() if issubclass(kind, types) or kind.__name__ in kinds}
    return [each for number, each in zip(numbers, objects, strict=True) if number in wanted]


def _take_signals_back() -> None:
    """A watcher of a signal that is stopped leaves its default, also where this process has set a handler meanwhile."""
    for number in signal.valid_signals() - {signal.SIGCHLD}:  # which is the loop's
        if (handler := signal.getsignal(number)) not in (None, signal.SIG_DFL):
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, handler)


def _origin() -> object:
    """By which process `multiprocessing` has made this one, if it has."""
    module = sys.modules.get("multiprocessing.process")
    return None if module is None else module.parent_process()


class _Quarantine:
    """Keeps the parent's green threads from going on in this process.

    Arguments:
        hub: of this thread.
        say: see `serving`.
    """

    def __init__(self, hub: Any, say: Say) -> None:
        self.hub, self.say = hub, say
        self.forker = getcurrent()
        self.others: dict[int, greenlet] = {}
        self.origin = _origin()
        self.before: Any = None  # another function that is told of switches
        self.settled = False
        self.sample = hub.loop.run_callback(int)  # gevent has no name for what that makes
        self.sample.stop()

    def begin(self) -> None:
        """From the next switch on."""
        self.before = greenlets.settrace(self._switched)
        if self.forker is self.hub:
            self._settle()  # it will not be switched to

    def _switched(self, event: str, args: tuple[greenlet, greenlet]) -> None:
        """Called by greenlet in the green thread that has just been switched to, before that goes on."""
        origin, target = args
        if self.before is not None:
            self.before(event, args)
        if not self.settled:
            try:
                self._settle()
            except Exception:  # it would be raised in the green thread that is switched to
                sys.excepthook(*sys.exc_info())
        if id(target) in self.others:
            # Whoever asks for it once more comes in here once more: this switch does not return.
            _switch(self.hub if origin.dead or id(origin) in self.others else origin)

    def _settle(self) -> None:
        """What is the parent's and what is the child's, once and for all."""
        self.settled = True
        collects = gc.isenabled()
        gc.disable()
        try:
            fresh = {id(each) for each in gc.get_objects()}
            gc.unfreeze()
            found = _of_kinds((greenlet, self.hub.loop.WatcherType, type(self.sample), *_PROXIES), gc.get_objects())
            gc.freeze()
        finally:
            if collects:
                gc.enable()
        own = {id(self.forker), id(self.hub)}
        ancestor: greenlet | None = self.forker
        while ancestor is not None and ancestor is not self.hub:
            own.add(id(ancestor))  # to which it returns
            ancestor = ancestor.parent
        inherited = [each for each in found if id(each) not in fresh]
        green = [each for each in inherited if issubclass(type(each), greenlet) and id(each) not in own]
        main: greenlet = self.hub.parent
        if id(main) not in own:
            green.append(main)
        others = {id(each): each for each in green}
        _kept.append(others)
        self._stop(inherited, fresh)
        if any(type(each).__name__ == "signal" for each in inherited):  # gevent's
            _take_signals_back()
        if id(main) not in own:
            self._have_ground(main)
        if self.forker is main and _origin() is self.origin:
            timer = self.hub.loop.timer(SETTLED, ref=False)  # not here: whoever writes may wait
            _kept.append(timer)
            timer.start(gevents.spawn_raw, self._tell, timer)
        self.others = others  # last: this may run in one of them

    def _tell(self, timer: Any) -> None:
        timer.stop()
        timer.close()
        if not _serving:
            with contextlib.suppress(Exception):
                _say(self.say, logging.ERROR, serves_nothing(), None)

    def _stop(self, inherited: list[Any], fresh: set[int]) -> None:
        """Stop watchers and callbacks of the parent's, but for those of the green thread that forked."""
        loop = self.hub.loop
        inner = {id(each) for each in getattr(loop, "__dict__", {}).values()}  # libuv's own
        kept = fresh | {id(self.forker)}
        for each in inherited:
            if issubclass(type(each), greenlet) or id(each) in inner or hasattr(each, "_multiplex_watchers"):
                continue  # the last: libuv's handle, which ends with the last of its watchers
            callback, arguments = getattr(each, "callback", None), getattr(each, "args", None) or ()
            if any(id(one) in kept for one in (callback, getattr(callback, "__self__", None), *arguments)):
                continue  # started by this process, or a gevent.Timeout of its green thread
            if getattr(each, "loop", loop) is not loop:
                continue  # of another thread
            with contextlib.suppress(Exception):
                _kept.append((callback, arguments))  # they may be all that holds a green thread
                each.stop()

    def _have_ground(self, main: greenlet) -> None:
        """What is raised in the hub's parent, the main green thread, is meant for the one that has forked."""
        ground = greenlet(self._ground, main)
        _kept.append(ground)
        ground.switch(getcurrent())
        self.hub.parent = ground

    def _ground(self, back: greenlet) -> None:
        error: BaseException | None = None
        while True:
            try:
                if error is None:
                    _switch(back)
                else:
                    self.forker.throw(error)
            except BaseException as raised:
                error = raised
            if self.forker.dead or self.forker is self.hub:
                ended = None if isinstance(error, gevents.LoopExit) else error
                came_back("a green thread of the application", ended, self.say)
