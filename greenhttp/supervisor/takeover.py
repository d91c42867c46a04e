"""One program takes over from another in the same process: listeners, pipes and workers stay, and so does its number.

`exec` replaces the program and nothing else. So what was started by systemd, a container or a terminal stays what it
was, and the workers stay children of their master. What the new program must know travels in one environment variable,
the descriptors themselves by being inherited.
"""

import contextlib
import json
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass

from greenhttp.errors import ConfigError
from greenhttp.green.listener import Listener
from greenhttp.settings import console
from greenhttp.settings.address import Address, parse_address
from greenhttp.supervisor import certificates

log = logging.getLogger("greenhttp")

VARIABLE = "GREENHTTP_TAKEOVER"
HELD = "GREENHTTP_HELD"  # what a program that is going to be replaced listens on, for the check of the next one
LAYOUT = 3  # of what the variable says of workers, and of their boards


@dataclass(frozen=True)
class Left:
    """A worker that serves on while its master becomes another program. Descriptors, and what `Child` needs.

    Attributes:
        graceful, timeout: settings it was started with, in seconds.
        leaving: why it has asked to be replaced, or "".
        told: the signals it was sent, with commas between.
        unread: what it has said of a line that is not over; a byte is a character.
    """

    number: int
    pid: int
    pipe: int
    board: int
    entries: int
    generation: int
    serving: bool
    graceful: float
    timeout: float
    leaving: str
    told: str
    unread: str


@dataclass(frozen=True)
class Taken:
    """All that is handed over.

    Attributes:
        last: the number of the newest worker.
        tls: its certificates; None of a program that knew none.
    """

    listeners: dict[str, tuple[Listener, Address]]
    workers: list[Left]
    lifeline: tuple[int, int]
    last: int
    tls: certificates.Left | None = None


class Check:
    """The program on disk checks itself, in a process of its own, before this one becomes it, which it can only once.

    Attributes:
        pid: of that process; 0: there is none.
    """

    def __init__(self) -> None:
        self.pid = 0
        self.since = 0.0

    def begin(self, where: str, held: Sequence[str], when: float) -> None:
        """Arguments:
        where, held: as for `check`.
        """
        if self.pid:
            log.info("upgrade: the program on disk is already being checked")
            return
        log.info("upgrade: checking the program on disk first")
        try:
            self.pid, self.since = check(where, held), when
        except OSError as error:
            log.error("not upgraded, nothing was changed: its check cannot start: %s", error.strerror)

    def look(self, when: float, patience: float) -> None:
        """End it if it takes longer than so many seconds; 0: it may."""
        if self.pid and patience and when - self.since > patience:
            log.error("upgrade: the check did not finish within %g s (boot_timeout) and is killed", patience)
            self.end(when)

    def end(self, when: float) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self.since = when

    def over(self, status: int) -> bool:
        """It has ended. Whether the program on disk could be started."""
        self.pid = 0
        if os.waitstatus_to_exitcode(status) != 0:
            log.error("not upgraded, nothing was changed: the check of the new program failed (see above)")
            return False
        return True


def check(where: str, held: Sequence[str]) -> int:
    """Start the program on disk with `--check`, from the directory and with the command line of the first start.

    Arguments:
        held: the addresses that this process listens on. It hands them over, so the next program needs no right to
            open them: this process may have given up what it could open them with.

    Returns the number of its process, which leads a group of its own; its exit code 0 means that it could be started.
    It listens nowhere.
    Raises OSError if there can be no such process.
    """
    command = [*_command(), "--check"]
    shell = ["sh", "-c", 'cd "$0" && exec "$@" >/dev/null', where, *command]
    return os.posix_spawn("/bin/sh", shell, {**os.environ, HELD: json.dumps(list(held))}, setpgroup=0)


def needed(addresses: Sequence[str], environ: MutableMapping[str, str]) -> list[Address]:
    """Of the addresses those that a check has to look at: not those that a program hands over, see `check`."""
    wanted = [parse_address(text) for text in addresses]
    try:
        held = [parse_address(text) for text in json.loads(environ.pop(HELD, "[]"))]
    except (ValueError, TypeError, AttributeError, ConfigError):  # no program of ours has written that
        return wanted
    if held and all(address.kind == "fd" for address in held):
        return []  # systemd's sockets, which count instead of `bind`
    return [address for address in wanted if address not in held]


def become(where: str, taken: Taken, signals: Sequence[str], arrived: deque[int]) -> None:
    """Replace this program by the one on disk. Does not return. Raises OSError if it cannot be; then all is as before.

    Signals are held back until the new program can take them; so are those that have arrived and are not yet handled.
    """
    listeners = [
        (sock.fileno(), str(address), [*sock.file, sock.place] if sock.file else None)
        for sock, address in taken.listeners.values()
    ]
    held = taken.tls
    private = [*taken.lifeline, *(fd for left in taken.workers for fd in (left.pipe, left.board))]
    private += held.descriptors() if held else []
    os.environ[VARIABLE] = json.dumps(
        {
            "pid": os.getpid(), "listeners": listeners, "private": private,  # whatever the layout
            "layout": LAYOUT, "workers": [asdict(left) for left in taken.workers], "last": taken.last,
            "certificates": asdict(held) if held else None,
        }
    )  # fmt: skip
    inherited = [*(entry[0] for entry in listeners), *private]
    here = where
    with contextlib.suppress(FileNotFoundError):  # it has been removed meanwhile
        here = os.getcwd()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, f"SIG{name}") for name in signals])
    try:
        while arrived:
            os.kill(os.getpid(), arrived.popleft())  # pending signals survive exec, see execve(2)
        for fd in inherited:
            os.set_inheritable(fd, True)
        os.chdir(where)
        console.restore()  # the new program should not be told by what a preloaded application has put there
        command = _command()
        os.execv(command[0], command)
    finally:  # it has failed: this program goes on
        with contextlib.suppress(OSError):
            os.chdir(here)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        del os.environ[VARIABLE]
        for fd in inherited:
            os.set_inheritable(fd, False)


def expected(environ: Mapping[str, str]) -> bool:
    """Whether another program has left something to this one."""
    return VARIABLE in environ


def taken(environ: MutableMapping[str, str]) -> Taken | None:
    """What another program has left to this one, in the same process; None: nothing.

    Of a program with another layout the listeners are taken and its workers are not: they drain by themselves, since
    their lifeline ends here.
    """
    text = environ.pop(VARIABLE, "")
    if not text:
        return None
    try:
        said = json.loads(text)
        if said["pid"] != os.getpid():
            return None
        left = [(int(fd), parse_address(name), made) for fd, name, made in said["listeners"]]
        private = [int(fd) for fd in said["private"]]
    except (ValueError, KeyError, TypeError, ConfigError):  # no program of ours has written that
        return None
    listeners: dict[str, tuple[Listener, Address]] = {}
    for fd, address, made in left:
        sock = Listener(fileno=fd)
        sock.setblocking(False)
        sock.set_inheritable(False)
        if made is not None:
            sock.file, sock.place = (made[0], made[1]), str(made[2]) if made[2:] else ""
        listeners[str(address)] = (sock, address)
    if said.get("layout") != LAYOUT:
        for fd in private:
            os.close(fd)
        return Taken(listeners, [], os.pipe(), 0)
    for fd in private:
        os.set_inheritable(fd, False)
    workers = [Left(**worker) for worker in said["workers"]]
    held = said.get("certificates")
    return Taken(
        listeners, workers, (private[0], private[1]), said["last"], certificates.Left.of(held) if held else None
    )


def _command() -> list[str]:
    """How this program was started: the interpreter, its options, the script or module, and the command line."""
    return [sys.executable, *sys.orig_argv[1:]]
