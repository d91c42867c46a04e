"""What is to be seen while the application answers: it is served on a loopback port, asked by http.client from a real
thread, and a second one watches whether the hub turns. Then it is asked all that again, at once: what only fails beside
others, such as a second event loop of asyncio, is found by nothing else.

Every turn of the loop writes the time; the watching thread looks every few milliseconds, and where that time is older
than `longest` it takes the stack of the hub's thread. So a blocking call is named by its line, and measured by the
turns before and after it. C code that keeps the interpreter to itself stops the watcher too: then the time is known
and the line is not.
"""

import contextlib
import functools
import http.client
import os
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import gevent
from gevent import monkey
from gevent.threadpool import ThreadPool
from greenlet import getcurrent, greenlet

from greenhttp.doctor.look import Finding
from greenhttp.doctor.table import BLOCKED, PACKAGES, PATIENCE
from greenhttp.offloading.offload import offload
from greenhttp.process.board import now
from greenhttp.process.frames import running
from greenhttp.process.places import entries, own
from greenhttp.server import Server
from greenhttp.settings.console import say

TICK = 0.005  # seconds between two looks
LONGEST = 0.05  # seconds that the hub may stand still
COPIES, SAFE = 6, ("GET", "HEAD", "OPTIONS")  # so often is each of these made at once
CROWD = 60  # requests at once
UNKNOWN = "an unknown place, in C"

Stage = Callable[[str], None]

# Real ones, also in a patched process
_start_thread = monkey.get_original("_thread", "start_new_thread")
_allocate_lock = monkey.get_original("_thread", "allocate_lock")
_ident = monkey.get_original("_thread", "get_ident")


@dataclass
class Hub:
    """What was seen of the hub: the longest time without a turn, in seconds, and the line of that moment."""

    beat: float
    longest: float = 0.0
    where: str = ""


@contextlib.contextmanager
def loading(name: str, patience: float, stage: Stage) -> Iterator[None]:
    """Give up, with the line, an application whose load does not end within so many seconds."""
    ended = _allocate_lock()
    ended.acquire()
    _start_thread(_watch_load, (name, ended, getcurrent(), _ident(), patience, stage))
    try:
        yield
    finally:
        ended.release()


def _watch_load(name: str, ended: Any, green: greenlet, thread: int, patience: float, stage: Stage) -> None:
    if not ended.acquire(True, patience):
        waiting = green.gr_frame  # None: it runs
        where = _place(waiting if waiting is not None else running(thread)) or UNKNOWN
        _give_up(f"{name} is not loaded after {patience:g} s: it is at {where}", stage)


def _give_up(line: str, stage: Stage) -> None:
    """Nothing in this process can end what blocks it."""
    say(f"{line}; giving up", "red")
    stage("")
    os._exit(BLOCKED)


def probe(
    server: Server,
    requests: list[tuple[str, str]],
    longest: float = LONGEST,
    stage: Stage = lambda _: None,
) -> tuple[list[Finding], set[str]]:
    """Serve it; make each request (method, target) alone, then all of them at once; stop.

    Arguments:
        longest: seconds that the hub may stand still.
        stage: told what is going on; "": all has been said.

    Returns what was found, and the packages that were called on real threads alone.
    """
    # With room for all that is asked: what the server itself would refuse is none of the application's faults
    room = max(server.settings.queue, CROWD)
    settings = server.settings.replace(
        bind="127.0.0.1:0", access_logfile=None, queue=room, queue_timeout=0, allowed_hosts="*", proxy_protocol="off"
    )  # fmt: skip
    server = Server(server.app, settings)
    calls = _Calls()
    server.start()
    try:
        assert isinstance(server.address, tuple)
        found, alone = [], {}
        for each in requests:
            stage(f"while it answered {' '.join(each)}")
            alone[each], more = _one(server.address, *each, longest, stage)
            found += more
        stage(f"while it answered several requests at once ({', '.join(' '.join(each) for each in alone)})")
        return [*found, *_together(server.address, alone)], calls.offloaded
    finally:
        calls.restore()
        server.stop(0)


def _one(
    address: tuple[str, int], method: str, target: str, longest: float, stage: Stage
) -> tuple[int | str, list[Finding]]:
    hub, ended = Hub(now()), _allocate_lock()
    ended.acquire()
    loop = gevent.get_hub().loop
    timer = loop.timer(TICK, TICK, ref=False)
    timer.start(_turned, hub)
    _start_thread(_watch, (hub, ended, _ident(), longest, f"{method} {target}", stage))
    try:
        status = offload(_ask, address, method, target)
    finally:
        _turned(hub)
        timer.stop()
        timer.close()
        ended.release()
    found, subject = [], f"{method} {target}"
    if isinstance(status, str) or status >= 400:
        what = f"{subject} was answered with {status}"
        found.append(Finding("answer", subject, what, "give --request a path that works", False))
    if hub.longest > longest:
        where = hub.where or UNKNOWN
        found.append(Finding("blocked", subject, f"{subject} blocked the hub for {hub.longest:.2f} s at {where}",
                             "make that call cooperative, or run it with greenhttp.offload", True))  # fmt: skip
    return status, found


def _together(address: tuple[str, int], alone: dict[tuple[str, str], int | str]) -> Iterator[Finding]:
    """All requests at once, those that change nothing several times: what fails then and did not alone."""
    asks = [each for each in alone for _ in range(COPIES if each[0] in SAFE else 1)]
    if len(asks) < 2:
        return
    pool = ThreadPool(min(len(asks), CROWD))
    try:
        statuses = [each.get() for each in [pool.spawn(_ask, address, *ask) for ask in asks]]
    finally:
        pool.kill()
    for each, status in alone.items():
        beside = [got for ask, got in zip(asks, statuses, strict=True) if ask == each]
        failed = [got for got in beside if _failed(got)]
        if failed and not _failed(status):
            subject = " ".join(each)
            what = f"{subject} was answered with {status} alone; beside others, {len(failed)} of {len(beside)} with"
            yield Finding("together", subject, f"{what} {failed[0]}",
                          "look for what requests share: a connection, a global, a loop of asyncio", True)  # fmt: skip


def _failed(status: int | str) -> bool:
    return isinstance(status, str) or status >= 500


class _Calls:
    """Notes from which threads the packages of the table are called, until `restore`."""

    def __init__(self) -> None:
        self.hub = _ident()
        self.threads: dict[str, set[bool]] = {}  # package -> whether it was the hub's
        self._replaced: list[tuple[types.ModuleType, str, Any]] = []
        for package in PACKAGES:
            module = sys.modules.get(package.module)
            for name in package.calls if module is not None and package.blocks else ():
                call = getattr(module, name, None)
                if isinstance(call, (types.FunctionType, types.BuiltinFunctionType)):
                    self._note(package.module, call)

    def _note(self, package: str, call: Callable[..., Any]) -> None:
        @functools.wraps(call)
        def noted(*words: Any, **more: Any) -> Any:
            self.threads.setdefault(package, set()).add(_ident() == self.hub)
            return call(*words, **more)

        for module in list(sys.modules.values()):
            if isinstance(module, types.ModuleType):
                for name, value in list(vars(module).items()):
                    if value is call:
                        setattr(module, name, noted)
                        self._replaced.append((module, name, call))

    @property
    def offloaded(self) -> set[str]:
        """Packages that were called, and not by the hub's thread."""
        return {package for package, hubs in self.threads.items() if hubs == {False}}

    def restore(self) -> None:
        """As it was."""
        for module, name, call in self._replaced:
            setattr(module, name, call)


def _turned(hub: Hub) -> None:
    moment = now()
    hub.longest = max(hub.longest, moment - hub.beat)
    hub.beat = moment


def _watch(hub: Hub, ended: Any, thread: int, longest: float, subject: str, stage: Stage) -> None:
    seen = 0.0
    while not ended.acquire(True, TICK):
        beat = hub.beat
        if (silent := now() - beat) > max(longest, seen) and silent > hub.longest:
            seen = silent
            hub.where = _place(running(thread)) or hub.where
            if silent > PATIENCE:  # for ever, as it seems: nothing in this process can end that
                where = hub.where or UNKNOWN
                _give_up(f"{subject} blocks the hub for more than {PATIENCE:g} s at {where}", stage)
        elif silent < longest:
            seen = 0.0


def _place(frame: FrameType | None) -> str:
    """The application's innermost line, and what it has called; "" where none of it runs."""
    found = entries(frame)
    mine = next((entry for entry in reversed(found) if own(entry.filename)), None)
    if mine is None or found[-1].filename == __file__:
        return ""
    inner = found[-1]
    called = "" if inner is mine else f", which called {inner.name}() at {inner.filename}:{inner.lineno}"
    return f"{mine.filename}:{mine.lineno} in {mine.name}(){called}"


def _ask(address: tuple[str, int], method: str, target: str) -> int | str:
    """The status, or what went wrong. In a real thread, on a socket of its loop."""
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        while answer.read(65536):
            pass
        return answer.status
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
