"""The process that writes the log, as the supervisor has it: forked first, remade when it dies, told to end at last.

A process of its own, because it may have to wait: for a disk, a terminal, a reader who has stalled. Neither may the
supervisor wait, nor may it have threads, since it forks. It keeps the reading end of the pipe too, so what is logged
while there is no such process waits there for the next.
"""

import contextlib
import logging
import os
import signal
from collections.abc import Callable
from select import POLLIN
from time import monotonic, sleep

from greenhttp.errors import ConfigError
from greenhttp.logs import config, setup
from greenhttp.logs.pipe import LogPipe
from greenhttp.logs.scribe import Scribe, ready, write_all
from greenhttp.settings import console
from greenhttp.supervisor.death import how

log = logging.getLogger("greenhttp")

fork, waitpid, kill, waits = os.fork, os.waitpid, os.kill, sleep  # the system's own, also after a patch

NAME = "greenhttp-log"
IGNORED = ("INT", "TERM", "QUIT", "HUP", "USR2", "WINCH", "TTIN", "TTOU", "PIPE", "TSTP")
OPENS_WITHIN = 5.0  # seconds in which a new process says that it has opened the log, or why not
PAUSE = 1.0  # seconds between two starts: a process that cannot live is not made in a circle

Handle = Callable[[bytes], None]


class LogProcess:
    """See the module.

    Arguments:
        pipe: what it reads.
        path: of the log; None: stderr.
        handler: makes, in the process, what handles log records.

    Attributes:
        pid: 0: there is none.

    Raises OSError if there can be no process, or no log; ConfigError from `handler`.
    """

    def __init__(self, pipe: LogPipe, path: str | None, handler: Callable[[str | None], Handle] | None) -> None:
        self.pipe, self.path, self.handler = pipe, path, handler
        self.pid = 0
        self.since = 0.0
        self.missing = False
        self.start(wait=True)

    def start(self, wait: bool = False) -> None:
        """A new process. Where none is to be had, what is logged waits in the pipe until `look` fares better.

        Arguments:
            wait: until it has opened the log. Raises OSError, ConfigError if it cannot.
        """
        self.since, self.missing = monotonic(), True
        try:
            hears, says = os.pipe()
        except OSError:
            return
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.pid = fork()
            if self.pid == 0:
                self._be(says, wait)
            self.missing = False
        except OSError:
            pass
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(says)
        try:
            if wait and self.pid:
                self._opened(hears)
        finally:
            os.close(hears)

    def _opened(self, hears: int) -> None:
        if not ready(hears, POLLIN, OPENS_WITHIN):
            return  # a dead file system, say: it goes on trying, and we go on
        said = os.read(hears, 4096).decode(errors="replace")
        if said:
            self.pid, pid = 0, self.pid
            with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored: the kernel has waited for it
                waitpid(pid, 0)
            number, _, text = said.partition(" ")
            raise OSError(int(number), os.strerror(int(number))) if number != "0" else ConfigError(text)

    def _be(self, says: int, wait: bool) -> None:
        """The life of that process. Does not return.

        Arguments:
            wait: whether somebody waits to hear that it could open the log, or why not.
        """
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            with contextlib.suppress(OSError), open("/proc/self/comm", "w") as comm:  # Linux: for ps, top and pstree
                comm.write(NAME)
            for name in IGNORED:  # it ends when everybody who logs has
                signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            setup.leave()
            console.restore()  # a preloaded application may have changed them, and a log_config may name them
            close_all_but({0, 1, 2, console.descriptor(console.ERR), self.pipe.reading, says})  # no listening sockets
            said = ""
            handle = None
            try:
                handle = None if self.handler is None else self.handler(self.path)
                scribe = Scribe(self.pipe.reading, self.path, handle)
            except OSError as error:
                said = f"{error.errno} "
            except ConfigError as error:
                said = f"0 {error}"
            if said and wait:
                os.write(says, said.encode(errors="replace")[:4096])
                return
            if said:  # others have logged already: better on stderr than nowhere
                scribe = Scribe(self.pipe.reading, None, handle)
                scribe.path = self.path  # for USR1, after which it may be there again
                line = f"greenhttp: the log goes to stderr, it cannot be opened: {reason(said)}\n"
                write_all(scribe.stderr, line.encode())
            signal.signal(signal.SIGUSR1, lambda *_: setattr(scribe, "stale", True))
            scribe.reopened = None if handle is None else config.reopen
            os.close(says)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            scribe.run()
            logging.shutdown()  # of handlers that gather
            code = 0
        finally:
            os._exit(code)

    def died(self, pid: int, status: int) -> bool:
        """A child has ended. Whether it was this one."""
        if pid != self.pid or not pid:
            return False
        self.pid, self.missing = 0, True
        log.error("the log process died: %s; a new one takes over, nothing is lost", how(status))
        return True

    def look(self) -> float | None:
        """Start the process again if it is missing. Seconds until the next look that is due; None: none is."""
        if not self.missing:
            return None
        left = self.since + PAUSE - monotonic()
        if left > 0:
            return left
        self.start()
        return PAUSE if self.missing else None

    def renew(self) -> None:
        """Another process in place of this one, with the user, group and umask that this process has now.

        Raises ConfigError if it cannot open the log.
        """
        self.stop(OPENS_WITHIN)
        try:
            self.start(wait=True)
        except OSError as error:
            raise ConfigError(f"error_logfile: {self.path}: {error.strerror}") from None

    def reopen(self) -> None:
        """Have the log opened again under its name, for what follows."""
        if not self.pipe.reopen() and self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGUSR1)

    def stop(self, timeout: float) -> bool:
        """Have what has come written, for `timeout` seconds at most. Returns whether it was."""
        if not self.pid:
            self.start()  # for what waits in the pipe
        if not self.pid:
            return False
        self.pipe.end(self.pid)
        return self._wait(timeout)

    def _wait(self, timeout: float) -> bool:
        until = monotonic() + timeout
        pid, self.pid = self.pid, 0
        with contextlib.suppress(ChildProcessError):  # as above
            while waitpid(pid, os.WNOHANG)[0] == 0:
                if monotonic() > until:
                    with contextlib.suppress(ProcessLookupError, PermissionError):  # it may be another user's by now
                        kill(pid, signal.SIGKILL)
                    return False
                waits(0.002)
        return True


def reason(said: str) -> str:
    number, _, text = said.partition(" ")
    return text or os.strerror(int(number))


def close_all_but(kept: set[int]) -> None:
    try:
        present = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        present = list(range(256))
    for fd in present:
        if fd not in kept:
            with contextlib.suppress(OSError):
                os.close(fd)
