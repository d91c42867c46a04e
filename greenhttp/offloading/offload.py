"""Calls that block or compute, on real threads or in processes, while the green thread that wants them waits.

    offload(fn, *args)      @offloaded      public, see there
    bound(threads, processes)               how many of each; a Server says it when it starts
    statistics()                            what they do at this moment

A `Crew` is the real threads that make the calls of one hub: a thread and a process differ only in what such a thread
does with a call, make it or have a `Helper` make it. Calls begin in the order in which they were made. They need no
bound of their own: each has a green thread that waits for it, and those are bounded.

Whoever waits may be killed or time out. A call that has not begun is then forgotten. A process is ended, and its place
is free. A thread cannot be ended: it finishes what it is at, keeps its place meanwhile, and the call is counted as
abandoned.
"""

import functools
import importlib.util
import logging
import os
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, ParamSpec, TypeVar, overload

from gevent import Timeout, get_hub, monkey
from gevent.hub import Waiter

from greenhttp.errors import ConfigError, OffloadTimeout
from greenhttp.offloading import helper
from greenhttp.offloading.helper import Helper, named
from greenhttp.process.forked import came_back
from greenhttp.settings.table import BY_NAME

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("greenhttp")

# Real ones, also in a patched process
_start_thread = monkey.get_original("_thread", "start_new_thread")
_allocate_lock = monkey.get_original("_thread", "allocate_lock")
_here = monkey.get_original("_thread", "_local")()  # of this real thread: `making` a call, `crews`

NO_PROCESSES = "process=True needs cloudpickle; pip install greenhttp[processes]"

limits = {False: BY_NAME["offload_threads"].default, True: BY_NAME["offload_processes"].default}  # by `process`


def bound(threads: int, processes: int) -> None:
    """How many threads make calls from now on, and how many processes; 0 processes: one for each processor.

    What there are more of ends when it has finished its call.
    """
    limits[False], limits[True] = threads, processes


# ---- a call


class Call:
    """What is to be done, and what became of it. `error` is whatever was raised; `done` says that there is either."""

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.fn, self.args, self.kwargs = fn, args, kwargs
        self.context: Context = copy_context()
        self.waiter: Any = Waiter()
        self.hand: Hand | None = None  # which makes it
        self.value: Any = None
        self.error: BaseException | None = None
        self.done = self.abandoned = False


class Hand:
    """A real thread that makes calls."""

    def __init__(self, process: bool) -> None:
        self.helper = Helper() if process else None
        self.called = _allocate_lock()  # released when there is something to do
        self.called.acquire()

    def make(self, call: Call) -> None:
        """In its thread."""
        try:
            if self.helper is None:
                call.value = call.context.run(call.fn, *call.args, **call.kwargs)
            else:
                call.value = self.helper.call(call.fn, call.args, call.kwargs)
        except BaseException as error:  # SystemExit too: it is meant for who called
            call.error = error
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next  # without this frame

    def abandon(self) -> None:
        """Nobody waits any more for the call that is being made."""
        if self.helper is not None:
            self.helper.kill()


class Crew:
    """The hands of one hub. All state is changed with `lock` held, which nobody holds for long."""

    def __init__(self, hub: Any, process: bool) -> None:
        self.hub, self.process = hub, process
        self.owner = os.getpid()
        self.lock = _allocate_lock()
        self.waiting: deque[Call] = deque()
        self.finished: deque[Call] = deque()
        self.idle: list[Hand] = []
        self.size = self.running = self.abandoned = self.outstanding = 0
        # Rung by the threads. While calls are outstanding it is a reason for the loop to go on. It is never stopped:
        # on libuv what was rung just before that would be an error in the log.
        self.bell = hub.loop.async_(ref=False)
        self.bell.start(self._rung)

    @property
    def limit(self) -> int:
        """How many hands there may be now."""
        return limits[self.process] or _processors()

    def do(self, call: Call, timeout: float | None) -> Any:
        """Have the call made, and wait for it."""
        self.outstanding += 1
        if self.outstanding == 1:
            self.bell.ref = True
        try:
            self._submit(call)
            with Timeout(timeout) as timer:
                call.waiter.get()
        except Timeout as reached:
            if reached is not timer:
                raise
            raise OffloadTimeout(f"{named(call.fn)} did not finish within {timeout:g} s") from None
        finally:
            self.outstanding -= 1
            if self.outstanding == 0:
                self.bell.ref = False
            if not call.done:
                self._abandon(call)
        if call.error is not None:
            raise call.error
        return call.value

    def _submit(self, call: Call) -> None:
        with self.lock:
            self.waiting.append(call)
            if self.idle:
                self.idle.pop().called.release()
            elif self.size < self.limit:
                _start_thread(self._work, (Hand(self.process),))  # waits for the lock
                self.size += 1

    def _abandon(self, call: Call) -> None:
        with self.lock:
            call.abandoned = True
            if call.hand is None:
                if not call.done:
                    self.waiting.remove(call)
                return
            self.abandoned += 1
            call.hand.abandon()
            if self.process:
                return
        log.warning(
            "%s was abandoned but still runs: it holds one of %d threads (offload_threads)", named(call.fn), self.limit
        )

    def _rung(self) -> None:
        while self.finished:
            call = self.finished.popleft()
            if not call.abandoned:
                call.waiter.switch(None)

    def _work(self, hand: Hand) -> None:
        """A hand's life, in its thread."""
        _here.making = True
        while True:
            with self.lock:
                if self.size > self.limit:
                    self.size -= 1
                    if self.waiting and self.idle:
                        self.idle.pop().called.release()
                    return
                call = self.waiting.popleft() if self.waiting else None
                if call is None:
                    self.idle.append(hand)
                else:
                    call.hand = hand
                    self.running += 1
                    if hand.helper is not None:
                        hand.helper.doomed = False
            if call is None:
                hand.called.acquire()
                continue
            hand.make(call)
            if os.getpid() != self.owner:  # the call has forked a process, and comes to its end there as well
                came_back(named(call.fn), call.error)
            with self.lock:
                call.hand, call.done = None, True
                self.running -= 1
                self.abandoned -= call.abandoned
                if not call.abandoned:
                    self.finished.append(call)
                    self.bell.send()
            del call  # with its arguments and its result


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _crew(process: bool) -> Crew:
    """That of this hub. A fork has the parent's objects and none of its threads: there it is a new one."""
    hub = get_hub()
    crews: dict[bool, Crew] = _here.__dict__.setdefault("crews", {})
    crew = crews.get(process)
    if crew is None or crew.hub is not hub or crew.owner != os.getpid():
        if process and importlib.util.find_spec("cloudpickle") is None:
            raise ConfigError(NO_PROCESSES)
        crew = crews[process] = Crew(hub, process)
    return crew


def statistics() -> dict[str, int]:
    """Of the calls of this thread's hub: `running` ones, of them `abandoned` ones, those `waiting` for their turn."""
    crews = [crew for crew in _here.__dict__.get("crews", {}).values() if crew.owner == os.getpid()]
    return {
        "running": sum(crew.running for crew in crews),
        "abandoned": sum(crew.abandoned for crew in crews),
        "waiting": sum(len(crew.waiting) for crew in crews),
    }


# ---- public


def offload(
    fn: Callable[..., R], /, *args: Any, timeout: float | None = None, process: bool = False, **kwargs: Any
) -> R:
    """Call `fn(*args, **kwargs)` on a real thread, or in a process, and let this green thread alone wait for it.

        digest = offload(hashlib.scrypt, password, salt=salt, n=2**14, r=8, p=1)
        page = offload(legacy_driver.fetch, number, timeout=5)
        primes = offload(sieve, 10_000_000, process=True)

    For what stops every other request otherwise: drivers written in C that wait by themselves, files on a slow disk,
    compression, hashing, images. A thread helps where the call releases the interpreter lock (GIL), as those do. Python
    that computes does not: on a thread it takes turns with the hub, in a process it has a processor of its own.

    Arguments:
        fn, args, kwargs: what to call; arguments named `timeout` and `process` reach it only by functools.partial.
        timeout: seconds in which it must be finished, waiting for its turn included; None: no limit.
        process: in a process of its own, which is kept for further calls. Needs cloudpickle (`greenhttp[processes]`).

    At most `offload_threads` calls run on threads at a time, and `offload_processes` in processes; more wait, in order.
    When the waiting green thread is killed or times out - `timeout`, gevent.Timeout, `request_timeout` - the call is
    abandoned: one that has not begun never begins; a process is ended; a thread cannot be, so that the call goes on to
    its end and keeps its place until then. That is logged, and counted in `Server.statistics()`.

    On a thread, `fn` sees the context variables of the caller, as copies. Its thread is a real one, also in a patched
    process. What is patched works there, sleep and sockets, on an event loop of the thread's own. What belongs to green
    threads outside must not be used in it, such as their connections, streams and gevent's pools; nor may a patched
    lock be held there while the call waits, for gevent's locks do not always wake a waiter of another real thread.
    A process is not patched, knows no context variables, and imports the modules whose functions it is to call; what
    goes there and comes back is pickled.

    In an offloaded call `offload` just calls, and `timeout` has no effect: a call that waits for a place of its own
    crew could wait for ever.

    Raises:
        whatever fn raises, with its traceback; out of a process with the traceback there as the cause.
        OffloadTimeout: `timeout` is over.
        OffloadError: the process died, or arguments or result cannot be pickled.
        ConfigError: cloudpickle is missing.
    """
    if helper.inside or getattr(_here, "making", False):
        return fn(*args, **kwargs)
    result: R = _crew(process).do(Call(fn, args, kwargs), timeout)
    return result


@overload
def offloaded(fn: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def offloaded(
    *, timeout: float | None = None, process: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def offloaded(fn: Any = None, /, *, timeout: float | None = None, process: bool = False) -> Any:
    """A function whose every call is offloaded; see `offload` for the arguments and for what it raises.

    @offloaded
    def thumbnail(path): ...

    @offloaded(process=True, timeout=30)
    def report(year): ...
    """
    if fn is None:
        return functools.partial(_offloaded, timeout=timeout, process=process)
    return _offloaded(fn, timeout, process)


def _offloaded(fn: Callable[P, R], timeout: float | None, process: bool) -> Callable[P, R]:
    @functools.wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if helper.inside:
            return fn(*args, **kwargs)
        # To a process goes this function, which is what the name leads to there.
        target = functools.partial(call if process else fn, *args, **kwargs)
        return offload(functools.update_wrapper(target, fn), timeout=timeout, process=process)

    return call
