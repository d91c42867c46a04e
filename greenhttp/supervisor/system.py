"""What a supervisor shares with the system around it: pid file, user and group, systemd.

    with pid_file("run/web.pid"): ...       written, held, removed
    drop("www-data", "www-data")            after the listeners are open, before the first worker
    check_pid, check_drop                   whether these could be done
    inherited(os.environ)                   listeners that systemd has opened
    notify(os.environ, "READY=1")           a line for systemd

A user's mistake raises ConfigError.
"""

import contextlib
import errno
import fcntl
import logging
import os
import pwd
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from time import sleep

from greenhttp.errors import ConfigError
from greenhttp.process.accounts import group_id, is_privileged, user_id

log = logging.getLogger("greenhttp")

PROC = "/proc"
FIRST_INHERITED = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)


# ---- pid file


@contextlib.contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """Have the file with this process's number for as long as the block lasts.

    The file is locked (flock(2)) meanwhile. A number says little: after a crash and a restart of the machine or of the
    container a stranger may have it. So whoever finds the file unlocked takes it, unless the number is that of a
    greenhttp, as far as /proc tells: one that locks nothing, or that is becoming another program at this moment. Where
    neither the lock nor /proc tells, a living process keeps it. Forked processes give their copy of the lock back as
    they leave the block.

    Raises ConfigError if another process has it, or if it cannot be written.
    """
    if path is None:
        yield
        return
    path = os.path.abspath(path)
    owner = os.getpid()
    lock = _write_pid(path, owner)
    try:
        yield
    finally:
        if os.getpid() == owner and _read_pid(path) == owner:
            try:
                os.unlink(path)
            except OSError:  # the directory is another user's: an empty file names nobody
                with contextlib.suppress(OSError):
                    os.truncate(path, 0)
        if lock >= 0:
            os.close(lock)


def _write_pid(path: str, own: int) -> int:
    """Returns the descriptor that holds the lock, or -1."""
    other = _read_pid(path)
    if other == own:  # of the program that this process was before an upgrade, perhaps with other rights
        return _locked_again(path)
    locked = _is_locked(path)
    if locked or (other is not None and _lives(other) and _may_have(other, locked)):
        who = f"process {other}, which is running" if other is not None and _lives(other) else "another process"
        raise ConfigError(f"pid: {path} is in use by {who}; stop it, or give another file")
    if other is not None and _lives(other):
        log.info("pid: %s names process %d, which is no greenhttp; the file is replaced", path, other)
    part, fd = f"{path}.{own}", -1
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(fd, f"{own}\n".encode())
        os.replace(part, path)  # whoever reads it sees the old one or the whole new one
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise ConfigError(f"pid: {path}: {error.strerror}") from None
    return fd


def check_pid(path: str | None) -> None:
    """Whether `pid_file` could be had; makes no file. A server that runs may have it: an upgrade takes it over.

    Raises ConfigError if not.
    """
    if path is None:
        return
    path = os.path.abspath(path)
    other, locked = _read_pid(path), _is_locked(path)
    if locked or (other is not None and _lives(other) and _may_have(other, locked)):
        return
    directory = os.path.dirname(path)
    try:
        os.stat(os.path.join(directory, "."))
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigError(f"pid: {path}: {error.strerror}") from None


def _locked_again(path: str) -> int:
    """The lock has gone with the program that this process was before. Returns a descriptor, or -1."""
    fd = -1
    with contextlib.suppress(OSError):
        fd = os.open(path, (os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY) | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def _is_locked(path: str) -> bool | None:
    """Whether a process has the file locked; None: the file system does not tell."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: NFS asks for write permission otherwise
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(fd)
    return False


def _may_have(pid: int, locked: bool | None) -> bool:
    """Whether a living process may be the one that wrote its number into the file."""
    words: list[str] = []
    for _ in range(10):
        try:
            with open(f"{PROC}/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:  # no /proc, or another user's processes are hidden
            return locked is None
        if text:
            words = text.split("\0")
            break
        sleep(0.05)  # a thread of the kernel, or a process in the middle of exec
    return any(os.path.basename(word) == "greenhttp" or word.endswith("greenhttp/__main__.py") for word in words)


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
    uid, gid = _numbers(user, group)
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
        raise _cannot_switch(user, group, gid, error.strerror) from None
    if uid and os.geteuid() == uid:
        with contextlib.suppress(OSError):
            os.setuid(0)
            raise ConfigError(f"user {user}: not started, because the process could become root again")


def drops(user: str | None, group: str | None) -> bool:
    """Whether `drop` would take something from this process. Raises ConfigError."""
    uid, gid = _numbers(user, group)
    return uid not in (None, os.geteuid()) or gid not in (None, os.getegid())


def check_drop(user: str | None, group: str | None) -> None:
    """Whether `drop` would succeed. Raises ConfigError."""
    if drops(user, group) and not is_privileged():
        raise _cannot_switch(user, group, _numbers(user, group)[1], os.strerror(errno.EPERM))


def _numbers(user: str | None, group: str | None) -> tuple[int | None, int | None]:
    uid = None if user is None else user_id(user)
    gid = None if group is None else group_id(group)
    if gid is None and uid is not None:
        with contextlib.suppress(KeyError):
            gid = pwd.getpwuid(uid).pw_gid
        if gid is None and uid != os.geteuid() == 0:
            raise ConfigError(f"user {user}: /etc/passwd has no entry for it, so its group is unknown; give group too")
    return uid, gid


def _cannot_switch(user: str | None, group: str | None, gid: int | None, why: str | None) -> ConfigError:
    what = f"group {group}" if gid is not None and os.getegid() != gid and group is not None else f"user {user}"
    return ConfigError(f"{what}: cannot switch to it ({why}); start greenhttp as root, or as that user")


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
