"""What is to be seen while the application answers: it is served on a loopback port, asked by http.client from a real
thread, and a second one watches whether the hub turns.

Every turn of the loop writes the time; the watching thread looks every few milliseconds, and where that time is older
than `longest` it takes the stack of the hub's thread. So a blocking call is named by its line, and measured by the
turns before and after it. C code that keeps the interpreter to itself stops the watcher too: then the time is known
and the line is not.
"""

import http.client
import os
import sys
import traceback
from dataclasses import dataclass
from types import FrameType
from typing import Any

import gevent
from gevent import monkey

from greenhttp.doctor.look import Finding
from greenhttp.doctor.table import BLOCKED
from greenhttp.offloading.offload import offload
from greenhttp.process.board import now
from greenhttp.process.places import own
from greenhttp.server import Server
from greenhttp.traces import MOST

TICK = 0.005  # seconds between two looks
LONGEST = 0.05  # seconds that the hub may stand still
PATIENCE = 60.0  # seconds for one answer; also for the hub to turn
UNKNOWN = "an unknown place, in C"

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


def probe(server: Server, requests: list[tuple[str, str]], longest: float = LONGEST) -> list[Finding]:
    """Serve it, make each request (method, target), stop. `longest`: seconds that the hub may stand still."""
    server = Server(server.app, server.settings.replace(bind="127.0.0.1:0", access_logfile=None))
    server.start()
    try:
        assert isinstance(server.address, tuple)
        return [finding for each in requests for finding in _one(server.address, *each, longest)]
    finally:
        server.stop(0)


def _one(address: tuple[str, int], method: str, target: str, longest: float) -> list[Finding]:
    hub, ended = Hub(now()), _allocate_lock()
    ended.acquire()
    loop = gevent.get_hub().loop
    timer = loop.timer(TICK, TICK, ref=False)
    timer.start(_turned, hub)
    _start_thread(_watch, (hub, ended, _ident(), longest, f"{method} {target}"))
    try:
        status: int | str = offload(_ask, address, method, target)
    except (OSError, http.client.HTTPException) as error:
        status = f"{type(error).__name__}: {error}"
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
    return found


def _turned(hub: Hub) -> None:
    moment = now()
    hub.longest = max(hub.longest, moment - hub.beat)
    hub.beat = moment


def _watch(hub: Hub, ended: Any, thread: int, longest: float, subject: str) -> None:
    seen = 0.0
    while not ended.acquire(True, TICK):
        beat = hub.beat
        if (silent := now() - beat) > max(longest, seen) and silent > hub.longest:
            seen = silent
            hub.where = _place(sys._current_frames().get(thread)) or hub.where
            if silent > PATIENCE:  # for ever, as it seems: nothing in this process can end that
                where = hub.where or UNKNOWN
                print(f"{subject} blocks the hub for more than {PATIENCE:g} s at {where}; giving up", file=sys.stderr)
                sys.stderr.flush()
                os._exit(BLOCKED)
        elif silent < longest:
            seen = 0.0


def _place(frame: FrameType | None) -> str:
    """The application's innermost line, and what it has called; "" where none of it runs."""
    entries = traceback.extract_stack(frame, MOST) if frame is not None else []
    mine = next((entry for entry in reversed(entries) if own(entry.filename)), None)
    if mine is None or entries[-1].filename == __file__:
        return ""
    inner = entries[-1]
    called = "" if inner is mine else f", which called {inner.name}() at {inner.filename}:{inner.lineno}"
    return f"{mine.filename}:{mine.lineno} in {mine.name}(){called}"


def _ask(address: tuple[str, int], method: str, target: str) -> int:
    """In a real thread, on a socket of its loop."""
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        while answer.read(65536):
            pass
        return answer.status
    finally:
        connection.close()
