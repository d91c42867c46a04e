"""Whoever reads the log's pipe and writes what comes out of it: to stderr, to a file. It may wait; nobody waits for it.

    Scribe          the loop
    ScribeThread    a thread of this process, where there is no supervisor; that has a process (supervisor/journal.py)

What cannot be written (the disk is full, the file's system has gone) is counted and passed over: one line a minute on
stderr says so, and how many.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from select import PIPE_BUF, POLLIN, POLLOUT
from time import monotonic
from typing import Any

from greenhttp.logs.lines import TextFormatter, unpacked
from greenhttp.logs.pipe import PATIENCE, RECORD, REOPEN, TO_STDERR, LogPipe, Message, Reader
from greenhttp.settings import console

COMPLAIN = 60.0  # seconds between two complaints about a log that cannot be written


def _original(module: str, name: str) -> Any:
    """What the interpreter has under that name, also after gevent's patch: a thread of ours must have no hub."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(import_module(module), name) if monkey is None else monkey.get_original(module, name)


_read, _write, _poll = os.read, os.write, _original("select", "poll")


def opened(path: str) -> int:
    """A descriptor of the log, to be appended to. Raises OSError.

    Not blocking while it is opened: a FIFO that nobody reads is an error, not a wait.
    """
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    os.set_blocking(fd, True)
    return fd


class Orphaned(Exception):
    """Nobody reads what is written, and whoever it was written for has gone."""


class Scribe:
    """Writes what comes out of the pipe until it ends.

    Arguments:
        reading: the end of the pipe.
        path: of the log; None: stderr.
        handle: given the text of each log record (see pipe.RECORD); None: they are written as they are.

    Raises OSError if the log cannot be opened.
    """

    def __init__(self, reading: int, path: str | None, handle: Callable[[bytes], None] | None = None) -> None:
        self.reading, self.path, self.handle = reading, path, handle
        self.stderr = console.descriptor(console.ERR)
        self.parent = os.getppid()
        self.out = self.stderr if path is None else opened(path)
        self.stale = False  # set by whoever wants the file opened again
        self.reopened: Callable[[], None] | None = None  # called then, for the files of handlers
        self.failed = 0  # messages that could not be written since that was said
        self.why = ""
        self.complained = -COMPLAIN
        self.reader = Reader()

    def run(self) -> None:
        """Until the end of the pipe, or until somebody has called LogPipe.end and the pipe is empty."""
        with contextlib.suppress(Orphaned):
            self._run()

    def _run(self) -> None:
        while True:
            wait = 0.0 if self.reader.ended else PATIENCE if self.reader.waits else None
            if not ready(self.reading, POLLIN, wait):
                self._write(self.reader.overdue(everything=self.reader.ended))
                if self.reader.ended:
                    break
                continue
            data = _read(self.reading, 65536)
            if not data:
                break
            self._write(self.reader.feed(data))
        self._write(self.reader.overdue(everything=True))
        self.complain(last=True)

    def orphaned(self) -> bool:
        """Whether whoever has started this process has gone."""
        return os.getppid() != self.parent

    def _write(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.write(message)

    def write(self, message: Message) -> None:
        """One message to where it goes. What cannot be written is counted."""
        if self.stale or message.flags & REOPEN:
            self.stale = False
            self.reopen()
            if message.flags & REOPEN:
                return
        out = self.stderr if message.flags & TO_STDERR else self.out
        try:
            if message.flags & RECORD:
                self._record(out, message.data)
            else:
                write_all(out, message.data, self.orphaned)
        except Orphaned:
            raise
        except Exception as error:  # of a file or, with a log_config, of some handler
            self.failed += 1
            self.why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if self.failed:
            self.complain()

    def _record(self, out: int, data: bytes) -> None:
        if self.handle is not None:
            self.handle(data)
        else:  # a log_config that cannot be applied here any more
            write_all(out, TextFormatter().format(unpacked(data)).encode("utf-8", "backslashreplace") + b"\n")

    def complain(self, last: bool = False) -> None:
        """Say on stderr, once a minute, how many messages could not be written."""
        if not self.failed or (not last and monotonic() < self.complained + COMPLAIN):
            return
        where = "the log" if self.path is None else self.path
        line = f"greenhttp: {self.failed} log messages could not be written to {where}: {self.why}\n"
        self.complained, self.failed = monotonic(), 0
        with contextlib.suppress(OSError):
            write_all(self.stderr, line.encode("utf-8", "backslashreplace"), self.orphaned)

    def reopen(self) -> None:
        """Open the log again under its name, after a rotation. The old file goes on if there can be none."""
        if self.reopened is not None:
            with contextlib.suppress(OSError):
                self.reopened()
        if self.path is None:
            return
        try:
            fresh = opened(self.path)
        except OSError as error:
            line = f"greenhttp: {self.path} cannot be reopened, the old file is kept: {error.strerror}\n".encode()
            for fd in {self.out, self.stderr}:
                with contextlib.suppress(OSError):
                    write_all(fd, line, self.orphaned)
            return
        self.out, old = fresh, self.out
        if old != self.stderr:
            os.close(old)


def write_all(fd: int, data: bytes, orphaned: Callable[[], bool] = bool) -> None:
    """All of it; waits until somebody reads. Raises OSError.

    In pieces that a pipe takes without waiting, so that it can be found out meanwhile whether anybody is left to write
    for; and so that messages of others come between two, never into the midst of one that is short enough.

    Arguments:
        orphaned: whether to give up, asked while nobody reads.
    """
    while data:
        while not ready(fd, POLLOUT, PATIENCE):
            if orphaned():
                raise Orphaned
        with contextlib.suppress(BlockingIOError):  # somebody has made the descriptor non-blocking, and others write
            data = data[_write(fd, data[:PIPE_BUF]) :]


def ready(fd: int, event: int, seconds: float | None) -> bool:
    """Wait so long for POLLIN or POLLOUT; None: for ever."""
    look = _poll()
    look.register(fd, event)
    return bool(look.poll(None if seconds is None else seconds * 1000))


class ScribeThread:
    """A Scribe in a thread of this process: a real one, also where threads are patched.

    Arguments, Raises: as Scribe.
    """

    def __init__(self, pipe: LogPipe, path: str | None, handle: Callable[[bytes], None] | None = None) -> None:
        self.pipe, self.scribe = pipe, Scribe(pipe.reading, path, handle)
        self.scribe.orphaned = bool  # type: ignore[method-assign]  # it writes for the process that it is a thread of
        self.process = os.getpid()
        self.ended = _original("_thread", "allocate_lock")()
        self.ended.acquire()
        _original("_thread", "start_new_thread")(self._run, ())

    def _run(self) -> None:
        # Signals are the main thread's: Python wakes it, but the kernel may deliver them to any
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.scribe.run()
        finally:
            self.ended.release()

    def reopen(self) -> None:
        """Have the log opened again under its name, for what follows."""
        if not self.pipe.reopen():
            self.scribe.stale = True

    def stop(self, timeout: float) -> bool:
        """Have what has come written, for `timeout` seconds at most. Returns whether it was.

        In a forked child nothing is done: the thread is the parent's.
        """
        if os.getpid() != self.process:
            return False
        self.pipe.end(self.process)
        ended: bool = self.ended.acquire(True, timeout)
        if ended and self.scribe.out != self.scribe.stderr:
            os.close(self.scribe.out)
        return ended
