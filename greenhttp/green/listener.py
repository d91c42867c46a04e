"""Listening sockets.

    listen(address, backlog)        -> Listener    a plain, non-blocking, listening socket
    check(address, owner, others)                  whether `listen` could, as far as that can be told without it
    bound_name(sock)                -> Address     where it really listens (port 0 resolved)
    family_of(sock)                 -> str         whose connections it takes
    is_lost(sock, address)                         whether the file of a Unix socket has gone
    close_listener(sock, address)                  closes it, removes a Unix socket file that is still ours

`Listener` is the standard library's socket class, also in a monkey-patched process: whoever accepts from it waits on
the loop's watcher, and a cooperative class would only add a second one.

An address that cannot be used raises ConfigError that says why and, where the system tells, who holds the port.
"""

import contextlib
import errno
import os
import socket as constants  # constants; what gevent may have replaced comes from its list of originals
import stat
import struct
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from greenhttp.errors import ConfigError
from greenhttp.process.accounts import is_privileged, owner_ids
from greenhttp.settings.address import Address, as_ipv4


def _original(name: str) -> Any:
    """The standard library's own, also in a patched process. A supervisor has no gevent, and must not get it here."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(constants, name) if monkey is None else monkey.get_original("socket", name)


if TYPE_CHECKING:
    from socket import socket as PlainSocket
else:
    PlainSocket = _original("socket")

class Listener(PlainSocket):
    """A listening socket that remembers which file it made.

    Attributes:
        file: (device, inode) of the Unix socket file that `listen` created, else None.
        place: the absolute name of that file: the current directory may become another one. "": unknown.
    """

    file: tuple[int, int] | None = None
    place: str = ""


# ---- Address -> socket


def listen(
    address: Address, backlog: int = 2048, mode: int | None = None, owner: str | None = None, reuse_port: bool = False,
    others: Iterable[Address] = (),
) -> Listener:  # fmt: skip
    """Opens, or for `fd://` adopts, the listening socket of an address: non-blocking, not inherited by children.

    A host name may stand for several addresses: the first, in the system's order, that this machine has is bound, and
    only that one (`localhost` may be 127.0.0.1 or ::1: write the number to be sure). A busy port is an error, never a
    reason to try the next. `[::]:80` takes IPv4 too, unless `others` have an IPv4 address with that port, and is every
    IPv4 address where IPv6 is switched off; other IPv6 listeners take IPv6 alone. What is adopted stays as it is.

    TCP_NODELAY is set here once: Linux and the BSDs (macOS) copy it to every accepted socket.

    Arguments:
        backlog: connections the kernel holds until they are accepted.
        mode: permissions of a Unix socket's file, like 0o660; None: what the umask leaves.
        owner: `user:group`, `user` or `:group`, who is to have that file; None: this process.
        others: addresses that are bound beside this one.
        reuse_port: share the port with other sockets that say the same (SO_REUSEPORT); the kernel spreads connections.

    Raises:
        ConfigError: the address cannot be used; the message says why.
    """
    if address.kind == "unix":
        return _listen_unix(address, backlog, mode, owner)
    if address.kind == "fd":
        return _adopt(address, backlog)
    return _listen_tcp(address, backlog, reuse_port, takes_ipv4(address, others))


def takes_ipv4(address: Address, others: Iterable[Address]) -> bool:
    """Whether an IPv6 address is to take IPv4 as well: that of everything, where nothing else has the port."""
    taken = any(other.kind == "tcp" and ":" not in other.host and other.port == address.port for other in others)
    return address.host == "::" and not (taken and address.port)


ROOM = "raise the limit with ulimit -n"


def _resolved(address: Address, both: bool = False) -> list[Any]:
    """What getaddrinfo knows. Raises ConfigError.

    With `both`, every IPv4 address follows: what is left of every address on a machine without IPv6.
    """
    try:
        found: list[Any] = _original("getaddrinfo")(
            address.host or "0.0.0.0", address.port, type=constants.SOCK_STREAM, flags=constants.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{address}: the host name cannot be resolved ({reason})") from None
    # Of a name such as localhost the IPv4 address first: it is what a proxy in front usually connects to.
    found.sort(key=lambda each: each[0] != constants.AF_INET)
    return found + _resolved(Address("tcp", "0.0.0.0", address.port)) if both else found


def _listen_tcp(address: Address, backlog: int, reuse_port: bool = False, both: bool = False) -> Listener:
    absent: OSError | None = None
    for family, kind, protocol, _, name in _resolved(address, both):
        try:
            sock = Listener(family, kind, protocol)
        except OSError as error:
            if error.errno == errno.EMFILE:
                raise ConfigError(f"{address}: no socket can be had: {error.strerror}; {ROOM}") from None
            absent = absent or error  # IPv6 is switched off
            continue
        try:
            sock.setsockopt(constants.SOL_SOCKET, constants.SO_REUSEADDR, 1)
            if family == constants.AF_INET6:
                sock.setsockopt(constants.IPPROTO_IPV6, constants.IPV6_V6ONLY, 0 if both else 1)
            sock.setsockopt(constants.IPPROTO_TCP, constants.TCP_NODELAY, 1)
            if reuse_port:
                sock.setsockopt(constants.SOL_SOCKET, constants.SO_REUSEPORT, 1)
            sock.bind(name)
            _start(sock, backlog)
            return sock
        except OSError as error:
            sock.close()
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise ConfigError(_why(address, error, family, name)) from None
            absent = absent or error
    raise _absent(address, absent)


def _absent(address: Address, error: OSError | None) -> ConfigError:
    if error is not None and error.errno == errno.EAFNOSUPPORT and ":" in address.host:
        return ConfigError(f"{address}: IPv6 is switched off on this machine; give an IPv4 address")
    return ConfigError(f"{address}: this machine has no such address ({error.strerror if error else 'none found'})")


def _why(address: Address, error: OSError, family: int, name: Any) -> str:
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(family, name[0], name[1])
        by = f" by {holder}" if holder else ""
        return f"{address}: the port is in use{by}; stop the process that holds it, or use another port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{address}: not permitted; ports under 1024 usually need root or CAP_NET_BIND_SERVICE"
    return f"{address}: cannot listen ({error.strerror or error})"


def _listen_unix(address: Address, backlog: int, mode: int | None, owner: str | None) -> Listener:
    path = address.path
    ids = (-1, -1) if owner is None else owner_ids(owner, "socket_owner")
    _remove_stale(path)
    try:
        sock = Listener(constants.AF_UNIX, constants.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"{address}: no socket can be had: {error.strerror}; {ROOM}") from None
    try:
        if mode is not None:  # not by chmod alone: until then others could connect. A process has but one umask
            before = os.umask(0o777 & ~mode)
            try:
                sock.bind(path)
            finally:
                os.umask(before)
        else:
            sock.bind(path)
        made = os.lstat(path)
        sock.file, sock.place = (made.st_dev, made.st_ino), os.path.abspath(path)
        if ids != (-1, -1):
            _give(address, *ids)
        _start(sock, backlog)
        return sock
    except ConfigError:
        close_listener(sock, address)
        raise
    except OSError as error:
        close_listener(sock, address)
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"{address}: in use by another server") from None
        reason = error.strerror or str(error)  # "AF_UNIX path too long" comes without a number
        raise ConfigError(f"{address}: cannot listen ({reason})") from None


def _give(address: Address, uid: int, gid: int) -> None:
    """Before anybody can connect: it does not listen yet."""
    try:
        os.chown(address.path, uid, gid)
    except OSError as error:
        raise _not_given(address, error.strerror) from None


def _not_given(address: Address, why: str | None) -> ConfigError:
    return ConfigError(f"socket_owner: the owner of {address} cannot be set ({why}); run as root, or in that group")


def _probe(path: str) -> int:
    """What a client would meet at a Unix socket's file: an errno, ENOENT without a file; 0: a server.

    Raises ConfigError for a file that is something else.
    """
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return errno.ENOENT
    except OSError as error:
        raise ConfigError(f"unix:{path}: cannot be checked ({error.strerror})") from None
    if not stat.S_ISSOCK(there.st_mode):
        raise ConfigError(f"unix:{path}: the file exists and is not a socket; remove it, or use another name")
    with PlainSocket(constants.AF_UNIX, constants.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full queue must not hold us up: EAGAIN also means that somebody is there
        return probe.connect_ex(path)


def _remove_stale(path: str) -> None:
    """Makes way for a Unix socket: a file that nobody listens on any more goes, all else is an error."""
    result = _probe(path)
    if result == errno.ENOENT:
        return
    if result != errno.ECONNREFUSED:
        raise ConfigError(f"unix:{path}: in use by another server" + _not_plain(result))
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigError(f"unix:{path}: an old socket file cannot be removed ({error.strerror})") from None


def _not_plain(result: int) -> str:
    return "" if result in (0, errno.EAGAIN, errno.EINPROGRESS) else f" ({os.strerror(result)})"


def _adopt(address: Address, backlog: int) -> Listener:
    """Takes over a listening socket that somebody else opened (systemd, a supervisor, an older server)."""
    try:
        if not stat.S_ISSOCK(os.fstat(address.fd).st_mode):
            raise ConfigError(f"{address}: the descriptor is not a socket")
    except OSError as error:
        raise ConfigError(f"{address}: no such descriptor ({error.strerror}); was it inherited?") from None
    sock = Listener(fileno=address.fd)
    wrong = ""
    if sock.family not in (constants.AF_INET, constants.AF_INET6, constants.AF_UNIX):
        wrong = "neither a TCP nor a Unix socket"
    elif sock.type != constants.SOCK_STREAM:
        wrong = "not a stream socket"
    elif not _accepts(sock):
        wrong = "a socket that does not listen"
    if wrong:
        sock.detach()  # it is not ours to close
        raise ConfigError(f"{address}: {wrong}")
    try:
        if sock.family != constants.AF_UNIX:
            sock.setsockopt(constants.IPPROTO_TCP, constants.TCP_NODELAY, 1)
        _start(sock, backlog)
    except OSError as error:
        sock.detach()
        raise ConfigError(f"{address}: cannot listen ({error.strerror})") from None
    return sock


def _accepts(sock: PlainSocket) -> bool:
    try:
        return bool(sock.getsockopt(constants.SOL_SOCKET, constants.SO_ACCEPTCONN))
    except (AttributeError, OSError):  # not every system tells; then listen() will
        return True


def _start(sock: Listener, backlog: int) -> None:
    sock.listen(backlog)  # again on an inherited one: it only sets the backlog
    sock.setblocking(False)
    sock.set_inheritable(False)


# ---- Address -> whether it could be


def check(address: Address, owner: str | None = None, others: Iterable[Address] = ()) -> tuple[str, int]:
    """Whether `listen` could open it, as far as that can be told without listening and without making a file.

    That another server has the port or the file is no mistake: the check is made beside the one that is to be replaced.
    What `fd://` names is the business of whoever starts the server.

    Returns host and port as numbers, or the absolute name of a file and -1, for who compares several addresses.

    Raises ConfigError, as `listen`.
    """
    if address.kind == "fd":
        return str(address), -1
    if address.kind == "tcp":
        return _check_tcp(address, takes_ipv4(address, others))
    _check_unix(address, owner)
    return os.path.abspath(address.path), -1


def _check_tcp(address: Address, both: bool) -> tuple[str, int]:
    absent: OSError | None = None
    for family, kind, protocol, _, name in _resolved(address, both):
        try:
            with PlainSocket(family, kind, protocol) as sock:
                sock.bind((name[0], 0, *name[2:]))  # to a port that nobody has: it is the host that is looked at
        except OSError as error:
            absent = absent or error
            continue
        if 0 < address.port < _first_free() and os.geteuid() != 0:
            _check_privileged(address, family, kind, protocol, name)
        return str(name[0]), address.port
    raise _absent(address, absent)


def _first_free() -> int:
    """The first port that any user may have."""
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 1024 if sys.platform == "linux" else 0  # macOS asks for no rights where it is every address


def _check_privileged(address: Address, family: int, kind: int, protocol: int, name: Any) -> None:
    """Whether this user may have the port. Bound with SO_REUSEADDR and not listened on, it is in nobody's way."""
    with PlainSocket(family, kind, protocol) as sock:
        sock.setsockopt(constants.SOL_SOCKET, constants.SO_REUSEADDR, 1)
        try:
            sock.bind(name)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM) and not _is_served(family, name[0], name[1]):
                raise ConfigError(_why(address, error, family, name)) from None


def _check_unix(address: Address, owner: str | None) -> None:
    path = address.path
    with PlainSocket(constants.AF_UNIX, constants.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect_ex(path)
        except OSError as error:  # "AF_UNIX path too long"
            raise ConfigError(f"{address}: cannot listen ({error})") from None
    if _probe(path) not in (errno.ENOENT, errno.ECONNREFUSED):
        return
    directory = os.path.dirname(os.path.abspath(path))
    try:
        os.stat(os.path.join(directory, "."))
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigError(f"{address}: cannot listen ({error.strerror})") from None
    if owner is not None and not is_privileged():
        uid, gid = owner_ids(owner, "socket_owner")
        if uid not in (-1, os.geteuid()) or gid not in (-1, os.getegid(), *os.getgroups()):
            raise _not_given(address, os.strerror(errno.EPERM))


# ---- afterwards


def bound_name(sock: PlainSocket) -> Address:
    """The address a socket is bound to, with the port the system has chosen."""
    name = sock.getsockname()
    if sock.family == constants.AF_UNIX:
        path = name if isinstance(name, str) else os.fsdecode(name)
        return Address("unix", path="@" + path[1:] if path.startswith("\0") else path)
    return Address("tcp", host=as_ipv4(name[0]), port=name[1])


def family_of(sock: PlainSocket) -> str:
    """Whose connections it takes: "unix", "IPv4", "IPv6", or "IPv4 and IPv6", as who has opened it says."""
    if sock.family == constants.AF_UNIX:
        return "unix"
    if sock.family == constants.AF_INET or bound_name(sock).host.count(":") == 0:
        return "IPv4"
    return "IPv6" if sock.getsockopt(constants.IPPROTO_IPV6, constants.IPV6_V6ONLY) else "IPv4 and IPv6"


def is_lost(sock: PlainSocket, address: Address) -> bool:
    """Whether nobody can connect any more, since the Unix socket file that `listen` made is not there."""
    if not isinstance(sock, Listener) or sock.file is None or not sock.place or address.kind != "unix":
        return False
    try:
        there = os.lstat(sock.place)
    except FileNotFoundError:
        return True
    except OSError:  # nobody knows
        return False
    return (there.st_dev, there.st_ino) != sock.file


def close_listener(sock: PlainSocket, address: Address) -> None:
    """Closes the socket; removes the Unix socket file unless another server has put its own there. May be repeated.

    The file goes first: between the two a client finds either no file or a socket that still accepts its connection.
    """
    if isinstance(sock, Listener) and sock.file is not None and address.kind == "unix":
        made, sock.file = sock.file, None
        path = sock.place or address.path  # the first also where an application has left the directory
        with contextlib.suppress(OSError):
            there = os.lstat(path)
            if (there.st_dev, there.st_ino) == made:
                os.unlink(path)
    sock.close()


# ---- who holds a port


def port_holder(family: int, host: str, port: int) -> str:
    """Who listens on a port, like `process 4242 (nginx)`; "" where that cannot be found out. Never raises.

    Reads /proc, so Linux only; another user's processes are visible to root alone.
    """
    try:
        sockets = _listening_inodes(family, host, port)
        if not sockets:
            return ""
        for pid in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
            with contextlib.suppress(OSError):
                for descriptor in os.listdir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        if os.readlink(f"/proc/{pid}/fd/{descriptor}") in sockets:
                            return _process_name(pid)
    except Exception:  # a message must not fail for want of an ornament
        return ""
    return ""


def _process_name(pid: str) -> str:
    if int(pid) == os.getpid():
        return "this process itself"
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return f"process {pid} ({file.read().strip()})"


def _is_served(family: int, host: str, port: int) -> bool:
    """Whether somebody listens there, as far as can be found out."""
    try:
        return bool(_listening_inodes(family, host, port))
    except Exception:
        return False


def _listening_inodes(family: int, host: str, port: int) -> set[str]:
    """`socket:[inode]` of each socket that listens on the port at this address or at every address."""
    table = "/proc/net/tcp6" if family == constants.AF_INET6 else "/proc/net/tcp"
    packed = constants.inet_pton(family, host.partition("%")[0])
    words = struct.unpack(f"{'<' if sys.byteorder == 'little' else '>'}{len(packed) // 4}I", packed)
    wanted, every = "".join(f"{word:08X}" for word in words), "0" * (2 * len(packed))
    inodes = set()
    with open(table, encoding="ascii") as file:
        next(file)
        for line in file:
            fields = line.split()
            address, _, hex_port = fields[1].partition(":")
            if fields[3] == "0A" and int(hex_port, 16) == port and (wanted == every or address in (wanted, every)):
                inodes.add(f"socket:[{fields[9]}]")
    return inodes
