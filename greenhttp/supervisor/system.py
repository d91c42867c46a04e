"""What a supervisor shares with the system around it: pid file, user and group, systemd.

    with pid_file("run/web.pid"): ...       written, held, removed
    drop("www-data", "www-data")            after the listeners are open, before the first worker
    inherited(os.environ)                   listeners that systemd has opened
    notify(os.environ, "READY=1")           a line for systemd

A user's mistake raises ConfigError.
"""

import contextlib
import os
import pwd
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping, MutableMapping

from greenhttp.errors import ConfigError
from greenhttp.process.accounts import group_id, user_id

FIRST_INHERITED = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)


# ---- pid file


@contextlib.contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """Have the file with this process's number for as long as the block lasts.

    An old file of a process that has gone is replaced. Raises ConfigError if another process has it, or if it cannot be
    written.
    """
    if path is None:
        yield
        return
    path = os.path.abspath(path)
    owner = os.getpid()
    _write_pid(path, owner)
    try:
        yield
    finally:
        if os.getpid() == owner and _read_pid(path) == owner:
            try:
                os.unlink(path)
            except OSError:  # the directory is another user's: an empty file names nobody
                with contextlib.suppress(OSError):
                    os.truncate(path, 0)


def _write_pid(path: str, own: int) -> None:
    other = _read_pid(path)
    if other == own:  # of the program that this process was before an upgrade, perhaps with other rights
        return
    if other is not None and _lives(other):
        raise ConfigError(f"pid: {path} is in use by process {other}, which is running; stop it, or give another file")
    part = f"{path}.{own}"
    try:
        with open(part, "w", encoding="ascii") as file:
            file.write(f"{own}\n")
        os.replace(part, path)  # whoever reads it sees the old one or the whole new one
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise ConfigError(f"pid: {path}: {error.strerror}") from None


def _read_pid(path: str) -> int | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(32).strip()
    except OSError:
        return None
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) <= 10 else None


def _lives(pid: int) -> bool:
    if pid == 0:
        return False  # to kill(2) it is the caller's own group
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # no process has a number that great
        return False
    except OSError:
        return True  # somebody else's
    return True


# ---- descriptors


def pipe() -> tuple[int, int]:
    """os.pipe() for what a start cannot do without. Raises ConfigError."""
    try:
        return os.pipe()
    except OSError as error:
        raise ConfigError(f"the supervisor needs a pipe: {error.strerror}; raise the limit with ulimit -n") from None


# ---- user and group


def drop(user: str | None, group: str | None, files: Iterable[str | None] = ()) -> None:
    """Go on as this user and group, with the user's further groups, for good. None: stay. Raises ConfigError.

    The group goes first: afterwards the process may no longer be allowed to.

    Arguments:
        files: pid file and logs, which that user has to open later: made, and given to it. None and "-" are none.
    """
    uid = None if user is None else user_id(user)
    gid = None if group is None else group_id(group)
    if gid is None and uid is not None:
        with contextlib.suppress(KeyError):
            gid = pwd.getpwuid(uid).pw_gid
        if gid is None and uid != os.geteuid() == 0:
            raise ConfigError(f"user {user}: /etc/passwd has no entry for it, so its group is unknown; give group too")
    if os.geteuid() == 0 and (uid or gid):
        for path in files:
            if path not in (None, "-"):
                _give(str(path), uid, gid)
    try:
        if gid is not None and (gid != os.getegid() or uid is not None and uid != os.geteuid()):
            if os.geteuid() == 0:
                _further_groups(uid, gid)
            os.setgid(gid)
        if uid is not None and uid != os.geteuid():
            os.setuid(uid)
    except OSError as error:
        what = f"group {group}" if gid is not None and os.getegid() != gid and group is not None else f"user {user}"
        raise ConfigError(
            f"{what}: cannot switch to it ({error.strerror}); start greenhttp as root, or as that user"
        ) from None
    if uid and os.geteuid() == uid:
        with contextlib.suppress(OSError):
            os.setuid(0)
            raise ConfigError(f"user {user}: not started, because the process could become root again")


def _give(path: str, uid: int | None, gid: int | None) -> None:
    """A plain file only, and through no link: root must not be led to give away what is not meant."""
    with contextlib.suppress(OSError):  # whoever opens it will say what is wrong
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        try:
            there = os.fstat(fd)
            if stat.S_ISREG(there.st_mode) and there.st_nlink == 1:
                os.fchown(fd, -1 if uid is None else uid, -1 if gid is None else gid)
        finally:
            os.close(fd)


def _further_groups(uid: int | None, gid: int) -> None:
    name = ""
    if uid is not None:
        with contextlib.suppress(KeyError):
            name = pwd.getpwuid(uid).pw_name
    if name:
        os.initgroups(name, gid)
    else:
        os.setgroups([gid])


# ---- systemd


def inherited(environ: MutableMapping[str, str]) -> list[int]:
    """Descriptors of the listeners that systemd has opened (sd_listen_fds(3)); the variables are taken out.

    They are meant for one process: what is started later must not take them for its own.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not (count.isascii() and count.isdigit() and len(count) < 5):
        return []
    found = list(range(FIRST_INHERITED, FIRST_INHERITED + int(count)))
    for fd in found:
        with contextlib.suppress(OSError):
            os.set_inheritable(fd, False)
    return found


def notify(environ: Mapping[str, str], *lines: str) -> bool:
    """Tell systemd (sd_notify(3)). Returns whether there was somebody to tell; never raises and never waits."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address or address[0] not in "/@":
        return False
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        sock.connect("\0" + address[1:] if address[0] == "@" else address)
        sock.sendall("\n".join(lines).encode(errors="replace"))
        return True
    return False


def watchdog_period(environ: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life that systemd wants, half of its patience (sd_watchdog_enabled(3)), or None."""
    patience, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (patience.isascii() and patience.isdigit() and 0 < len(patience) < 16) or int(patience) == 0:
        return None
    if pid and pid != str(os.getpid()):
        return None
    return int(patience) / 2_000_000
