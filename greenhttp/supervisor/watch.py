"""`--reload`: a process of its own that watches files and says which have changed. For development.

    Watcher     what the supervisor has of it
    start       the process: it writes a line to a pipe for each batch of changes

In a process of its own because watchfiles brings threads and a compiled module, and a process that forks workers should
have neither.
"""

import contextlib
import itertools
import os
import resource
import signal
from collections.abc import Sequence
from importlib.util import find_spec
from select import POLLIN, select
from typing import TYPE_CHECKING

from greenhttp.errors import ConfigError
from greenhttp.traces import last_line

if TYPE_CHECKING:
    from select import poll as Poll

ENDINGS = (".py", ".pyi", ".pyx", ".toml", ".ini", ".cfg", ".html", ".jinja", ".jinja2", ".j2", ".txt")
PASSED_OVER = frozenset((".git", ".hg", ".svn", ".tox", ".venv", "venv", "node_modules", "__pycache__"))
LOOK = 1000  # milliseconds between two looks at the lifeline


class Watcher:
    """The process that watches, as the supervisor has it.

    Attributes:
        pid: 0: there is none.
        pipe: what it writes to; -1: there is none.
    """

    def __init__(self) -> None:
        self.pid, self.pipe = 0, -1

    def start(self, directories: Sequence[str], lifeline: tuple[int, int], poll: "Poll") -> None:
        """As the function `start`; its pipe is one that `poll` looks at. Raises ConfigError."""
        check(directories)
        try:
            self.pid, self.pipe = start(directories, lifeline)
        except OSError as error:
            raise ConfigError(f"reload: the process that watches files cannot start: {error.strerror}") from None
        poll.register(self.pipe, POLLIN)

    def changed(self) -> list[str] | None:
        """What has changed, a text for each batch; empty: it watches no more; None: nothing."""
        try:
            return os.read(self.pipe, 65536).decode(errors="replace").splitlines()
        except BlockingIOError:
            return None

    def stop(self, poll: "Poll") -> None:
        pid, pipe = self.pid, self.pipe
        self.pid, self.pipe = 0, -1
        if pipe >= 0:
            poll.unregister(pipe)
            os.close(pipe)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def check(directories: Sequence[str]) -> None:
    """Whether it can be done. Raises ConfigError."""
    if find_spec("watchfiles") is None:
        raise ConfigError("reload needs the package watchfiles: pip install 'greenhttp[reload]'")
    for directory in directories:
        if not os.path.exists(directory):
            raise ConfigError(f"reload_dirs: {directory}: there is no such file or directory")


def check_import() -> None:
    """Whether the package can be imported; a supervisor leaves that to the process that watches. Raises ConfigError."""
    try:
        from watchfiles import watch  # noqa: F401
    except Exception as error:
        raise ConfigError(f"reload: the package watchfiles cannot be imported: {last_line(error)}") from None


def start(directories: Sequence[str], lifeline: tuple[int, int]) -> tuple[int, int]:
    """Fork the process that watches. Its number, and the end of the pipe to read from.

    Arguments:
        directories: watched with all below them; files may be named too.
        lifeline: the pipe whose end of file means that the supervisor has gone: to read, to write.
    """
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, ours
    code = 1
    try:
        _close_all_but(lifeline[0], theirs)
        signal.set_wakeup_fd(-1)
        for name in ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "TTIN", "TTOU", "WINCH", "CHLD"):
            ignored = name in ("INT", "QUIT", "HUP", "USR1", "USR2", "TTIN", "TTOU", "WINCH")  # the terminal's, to all
            signal.signal(getattr(signal, f"SIG{name}"), signal.SIG_IGN if ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _watch(directories, lifeline[0], theirs)
        code = 0
    finally:
        os._exit(code)


def _close_all_but(*kept: int) -> None:
    """Listeners, the supervisor's pipes, its lock: whatever this process had would be in use as long as it lives."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    bounds = [2, *sorted(kept), limit if 0 < limit < 1 << 20 else 1 << 20]
    for before, after in itertools.pairwise(bounds):
        if before + 1 < after:  # CPython 3.11 takes an empty range at 0 for all there are
            os.closerange(before + 1, after)


def counts(path: str) -> bool:
    """Whether a change of that file could change what the application does."""
    return path.endswith(ENDINGS) and PASSED_OVER.isdisjoint(path.split(os.sep))


def _watch(directories: Sequence[str], lifeline: int, pipe: int) -> None:
    import watchfiles

    for changes in watchfiles.watch(
        *directories, watch_filter=lambda _, path: counts(path), rust_timeout=LOOK, yield_on_timeout=True,
        raise_interrupt=False,
    ):  # fmt: skip
        if changes:
            names = sorted({os.path.relpath(path) for _, path in changes})
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            os.write(pipe, f"{', '.join(names[:3])}{more}\n".encode(errors="replace")[:4000])
        if select([lifeline], [], [], 0)[0]:
            return  # the supervisor has gone
