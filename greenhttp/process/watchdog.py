"""A thread that notices when the hub does not turn, and says what holds it up.

    dog = Watchdog(loop, warn=0.5, hang=30.0, in_progress=lambda: [...])
    dog.start()

A call that does not yield (a C driver, a loop over a million rows, a regular expression) stops every connection of the
process. No green thread can notice that, but a real one can, as long as the interpreter runs: it looks at the stack of
the thread that holds the hub, and names the line. Where C code keeps the interpreter to itself, this thread is stopped
too; then the supervisor sees that the beat on the board is missing.
"""

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from gevent import monkey
from greenlet import greenlet

from greenhttp.process.board import Board, now
from greenhttp.process.frames import running
from greenhttp.process.places import place, stack

log = logging.getLogger("greenhttp")

# Real ones, also in a patched process
_start_thread = monkey.get_original("_thread", "start_new_thread")
_allocate_lock = monkey.get_original("_thread", "allocate_lock")
_ident = monkey.get_original("_thread", "get_ident")

AWAY = 2.0  # seconds; shorter absences happen on any machine that is busy
LAST_WORDS = 1.0  # seconds
NOT_RUNNING = (
    "this process did not run for %.1f s: it was stopped (SIGSTOP, a debugger), the machine slept or was too busy,"
    " or native code waited with the interpreter locked"
)
GREEN_THREADS = 200  # whose stacks are logged at most


class Watchdog:
    """See the module.

    Arguments:
        loop: gevent's loop, of this thread.
        warn: seconds without a turn after which one line is logged; 0: never.
        hang: seconds after which all stacks are logged, once; 0: never.
        in_progress: called in another thread; triples of what is in progress: for how many seconds, text, and the
            green thread that does it.
        board: told that this process has spoken; None: nobody is interested.
    """

    def __init__(
        self,
        loop: Any,
        warn: float,
        hang: float,
        in_progress: Callable[[], list[tuple[float, str, greenlet | None]]],
        board: Board | None = None,
    ) -> None:
        self.loop, self.warn, self.hang, self.in_progress, self.board = loop, warn, hang, in_progress, board
        shortest = min((seconds for seconds in (warn, hang) if seconds), default=0.0)
        self.period = min(1.0, shortest / 4)
        self.beat = now()
        self.thread = self.parent = 0
        self.timer: Any = None
        self.ended = _allocate_lock()

    def start(self) -> None:
        """Watch from now on; does nothing if there is nothing to watch for."""
        if not self.period:
            return
        self.thread, self.parent = _ident(), os.getppid()
        self.beat = now()
        self.timer = self.loop.timer(self.period, self.period, ref=False)
        self.timer.start(self._turned)
        self.ended.acquire()
        _start_thread(self._watch, ())

    def stop(self) -> None:
        """Watch no more."""
        if self.timer is not None:
            self.timer.stop()
            self.timer.close()
            self.timer = None
            self.ended.release()

    def _turned(self) -> None:
        self.beat = now()

    def _watch(self) -> None:
        warned = 0.0  # the beat after which it was said
        dumped = 0.0
        longest = 0.0
        looked, used, awake = now(), time.process_time(), 0.0
        while not self.ended.acquire(True, self.period):
            when = now()  # first: a thread that is held up between the two must not take that for silence
            beat = self.beat
            away, computed = when - looked - self.period, time.process_time() - used
            looked, used = when, time.process_time()
            try:
                if away > self.warn and computed < away / 10:  # native code that holds the interpreter would compute
                    awake = when
                    log.log(logging.WARNING if away > AWAY else logging.DEBUG, NOT_RUNNING, away)
                silent = when - max(beat, awake)
                if self.board is not None and self.hang and silent > self.hang and os.getppid() != self.parent:
                    self._leave(silent)
                if warned and beat != warned:
                    log.warning("the hub is free again, after %.1f s", longest)
                    warned = longest = 0.0
                if self.warn and silent > self.warn + self.period:
                    longest = silent
                    if not warned:
                        warned = beat
                        log.warning("%s", self.accusation(silent))
                if self.hang and silent > self.hang and dumped != beat:
                    dumped = beat
                    self.testify(silent)
            except Exception:  # a watchdog that dies at the first strange thing watches nothing
                log.debug("the watchdog could not write its report", exc_info=True)
        self.ended.release()

    def _leave(self, silent: float) -> None:
        """Who would replace this process has gone, and it holds the port. What it was at is said if that is quick."""
        _start_thread(self.testify, (silent,))
        self.ended.acquire(True, LAST_WORDS)
        os._exit(1)

    def accusation(self, silent: float) -> str:
        """One line: for how long, where, in which request."""
        frame = running(self.thread)
        where, callers = place(frame)
        what = next((text for _, text, green in self.in_progress() if green is not None and green.gr_frame is None), "")
        return f"the hub is blocked for {silent:.1f} s at {where}{f', {what}' if what else ''}; stack: {callers}"

    def testify(self, silent: float) -> None:
        """Everything: the stack of what runs, and of each green thread that waits; then the supervisor may act."""
        frame = running(self.thread)
        log.error("the hub is blocked for %.0f s; its stack:\n%s", silent, stack(frame))
        entries = self.in_progress()
        for age, text, green in entries[:GREEN_THREADS]:
            waiting = green.gr_frame if green is not None else None
            log.error(
                "in progress for %.1f s: %s\n%s", age, text, stack(waiting) if waiting is not None else "    (running)"
            )
        if len(entries) > GREEN_THREADS:
            log.error("and %d more requests in progress", len(entries) - GREEN_THREADS)
        if self.board is not None:
            self.board.speak()
