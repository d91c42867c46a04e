"""green/listener.py: what is opened for an address, and what is said when that fails."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from greenhttp.errors import ConfigError
from greenhttp.green import listener
from greenhttp.green.listener import (
    Listener,
    bound_name,
    check,
    close_listener,
    family_of,
    is_lost,
    listen,
    port_holder,
)
from greenhttp.settings.address import Address, parse_address

LOCAL = Address("tcp", host="127.0.0.1", port=0)
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def opened():
    """listen() whose sockets are closed at the end."""
    listeners = []

    def open_one(address, backlog=16, others=()):
        sock = listen(address, backlog, others=others)
        listeners.append((sock, address))
        return sock

    yield open_one
    for sock, address in listeners:
        close_listener(sock, address)


# ---- whether it could be


def told(call, *arguments):
    """What the ConfigError says, or ""."""
    try:
        call(*arguments)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "text",
    [
        "no-such-host.invalid:80",
        "192.0.2.1:80",  # TEST-NET-1, RFC 5737: nobody's
        "[2001:db8::1]:80",
        "unix:absent/s",
        "unix:file",
        "unix:file/s",
        "unix:" + "a" * 200,
        "unix:directory",
    ],
)
def test_what_cannot_be_listened_on_fails_its_check_with_the_same_words(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    assert told(check, parse_address(text)) == told(listen, parse_address(text)) != ""


@pytest.mark.parametrize("text", ["127.0.0.1:0", ":0", "localhost:0", "unix:s", "fd://99"])
def test_a_check_of_what_can_be_takes_nothing(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(parse_address(text))
    assert os.listdir(tmp_path) == []


def test_a_check_beside_the_server_that_has_the_address_says_nothing(opened, path):
    for address in (bound_name(opened(LOCAL)), Address("unix", path=path)):
        sock = opened(address) if address.kind == "unix" else None
        check(address)
        assert sock is None or not is_lost(sock, address)


def test_a_stale_file_passes_its_check_and_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind("s")
    check(parse_address("unix:s"))
    assert os.listdir(tmp_path) == ["s"]


AS_NOBODY = """
import codecs, os, sys
from greenhttp.errors import ConfigError
from greenhttp.green.listener import check
from greenhttp.settings.address import parse_address
check(parse_address(":0")), codecs.lookup("ascii")  # another user may not be able to read this Python
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
for text in sys.argv[1:]:
    address, _, owner = text.partition(" ")
    try:
        check(parse_address(address), owner or None)
        print("ok")
    except ConfigError as error:
        print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_rights_are_part_of_the_check(tmp_path):
    for place in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(place, 0o755)
    (tmp_path / "own").mkdir()
    os.chown(tmp_path / "own", 65534, 65534)
    asked = ("127.0.0.1:81", "127.0.0.1:8000", "unix:s", "unix:own/s", "unix:own/s 65534:65534", "unix:own/s root")
    with socket.socket(socket.AF_UNIX) as sock:  # a server of root's, in a directory of root's
        sock.bind(str(tmp_path / "root"))
        sock.listen()
        os.chmod(tmp_path / "root", 0o666)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, *asked, "unix:root"], cwd=tmp_path, capture_output=True, text=True,
            check=False, timeout=60, env={**os.environ, "PYTHONPATH": os.getcwd()},
        )  # fmt: skip
    privileged = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    refused = "127.0.0.1:81: not permitted; ports under 1024 usually need root or CAP_NET_BIND_SERVICE"
    assert done.stdout.splitlines() == [
        refused if privileged > 81 else "ok",
        "ok",
        "unix:s: cannot listen (Permission denied)",
        "ok",
        "ok",
        "socket_owner: the owner of unix:own/s cannot be set (Operation not permitted);"
        " run as root, or in that group",
        "ok",
    ], done.stderr


# ---- TCP


def test_a_listener_is_plain_non_blocking_and_not_inherited(opened):
    sock = opened(LOCAL)
    assert not sock.getblocking()
    assert not sock.get_inheritable()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    with pytest.raises(BlockingIOError):
        sock.accept()


def test_port_0_is_resolved_by_bound_name(opened):
    bound = bound_name(opened(LOCAL))
    assert (bound.kind, bound.host) == ("tcp", "127.0.0.1")
    assert 0 < bound.port < 65536
    assert str(bound) == f"127.0.0.1:{bound.port}"


def test_accepted_sockets_inherit_tcp_nodelay(opened):
    sock = opened(LOCAL)
    sock.setblocking(True)  # accept() without a loop
    with socket.create_connection(sock.getsockname()):
        accepted, _ = sock.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_empty_host_is_every_ipv4_address(opened):
    assert bound_name(opened(Address("tcp", port=0))).host == "0.0.0.0"


@ipv6
def test_ipv4_and_ipv6_can_be_bound_side_by_side(opened):
    port = bound_name(opened(Address("tcp", "0.0.0.0", 0))).port
    address = Address("tcp", "::", port)
    sock = opened(address, others=[address, Address("tcp", "0.0.0.0", port)])
    assert str(bound_name(sock)) == f"[::]:{port}"
    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


@ipv6
@pytest.mark.parametrize(
    "others", [[], [Address("tcp", "::", 0)], [Address("tcp", "127.0.0.1", 1), Address("unix", path="s")]]
)
def test_every_ipv6_address_is_every_ipv4_address_too(opened, others):
    port = bound_name(opened(Address("tcp", "::", 0), others=others)).port
    with socket.create_connection(("127.0.0.1", port), 10), socket.create_connection(("::1", port), 10):
        pass


@ipv6
def test_another_ipv6_address_takes_ipv6_alone(opened):
    port = bound_name(opened(Address("tcp", "::1", 0))).port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 10)


@pytest.fixture
def no_ipv6(monkeypatch):
    """A kernel without IPv6, as with ipv6.disable=1."""

    def without(kind):
        def make(family=socket.AF_INET, *words, **more):
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            return kind(family, *words, **more)

        return make

    monkeypatch.setattr(listener, "Listener", without(Listener))
    monkeypatch.setattr(listener, "PlainSocket", without(socket.socket))


def test_without_ipv6_every_address_is_every_ipv4_address(no_ipv6, monkeypatch):
    monkeypatch.setattr(listener, "_start", lambda sock, backlog: sock.listen(backlog))
    address = Address("tcp", "::", 0)
    assert check(address, others=[address]) == ("0.0.0.0", 0)
    with listen(address, others=[address]) as sock:
        assert (bound_name(sock).host, sock.family) == ("0.0.0.0", socket.AF_INET)
        with socket.create_connection(("127.0.0.1", bound_name(sock).port), 10):
            pass


@pytest.mark.parametrize("host", ["::1", "::"])
def test_without_ipv6_an_ipv6_address_is_refused_in_words(no_ipv6, host):
    """`[::]` too where another address has the port for IPv4."""
    address = Address("tcp", host, 8000)
    for call in (check, listen):
        with pytest.raises(ConfigError, match=r"^\[::1?\]:8000: IPv6 is switched off on this machine; give an IPv4 a"):
            call(address, others=[Address("tcp", "", 8000), address])


@ipv6
@pytest.mark.parametrize(("only", "family"), [(0, "IPv4 and IPv6"), (1, "IPv6")])
def test_an_inherited_socket_takes_what_it_took(opened, only, family):
    with socket.socket(socket.AF_INET6) as theirs:
        theirs.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        theirs.bind(("::", 0))
        theirs.listen(1)
        sock = opened(Address("fd", fd=os.dup(theirs.fileno())), others=[Address("tcp", "", theirs.getsockname()[1])])
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == only
        assert family_of(sock) == family


@ipv6
def test_an_ipv4_address_written_as_ipv6_is_shown_as_ipv4(opened):
    with socket.socket(socket.AF_INET6) as theirs:
        theirs.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        theirs.bind(("::ffff:127.0.0.1", 0))
        theirs.listen(1)
        sock = opened(Address("fd", fd=os.dup(theirs.fileno())))
        assert (str(bound_name(sock)), family_of(sock)) == (f"127.0.0.1:{theirs.getsockname()[1]}", "IPv4")


def test_whose_connections_a_socket_takes(opened, path):
    assert family_of(opened(LOCAL)) == "IPv4"
    assert family_of(opened(Address("unix", path=path))) == "unix"


def test_a_host_name_binds_one_address(opened):
    assert bound_name(opened(Address("tcp", "localhost", 0))).host in ("127.0.0.1", "::1")


def test_an_unknown_host():
    with pytest.raises(ConfigError, match=r"^no-such-host\.invalid:1: the host name cannot be resolved"):
        listen(Address("tcp", "no-such-host.invalid", 1))
    with pytest.raises(ConfigError, match="the host name cannot be resolved"):
        listen(Address("tcp", "x" * 70, 1))  # a label too long for the name system


def test_an_address_of_another_machine():
    with pytest.raises(ConfigError, match="this machine has no such address"):
        listen(Address("tcp", "192.0.2.1", 0))


def test_a_busy_port_is_an_error_also_for_a_name_with_two_addresses(opened, monkeypatch):
    busy = bound_name(opened(LOCAL)).port
    two = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, busy)) for host in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: two)
    with pytest.raises(ConfigError, match=f"^two.example:{busy}: the port is in use"):
        listen(Address("tcp", "two.example", busy))


@pytest.mark.parametrize(
    ("number", "message"), [(errno.EACCES, "not permitted; ports under 1024"), (errno.ENOBUFS, "cannot listen")]
)
def test_why_the_system_refuses_an_address_is_said(monkeypatch, number, message):
    def bind(sock, name):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Listener, "bind", bind)
    with pytest.raises(ConfigError, match=f"^127.0.0.1:80: {message}"):
        listen(parse_address("127.0.0.1:80"))


def test_the_next_address_of_a_name_is_taken_where_this_machine_lacks_the_first(opened, monkeypatch):
    two = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("192.0.2.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: two)
    assert bound_name(opened(Address("tcp", "two.example", 0))).host == "127.0.0.1"


def test_of_a_name_the_ipv4_address_is_taken(opened, monkeypatch):
    both = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]  # fmt: skip
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: list(both))
    assert bound_name(opened(Address("tcp", "localhost", 0))).host == "127.0.0.1"


@linux
def test_a_busy_port_names_this_process(opened):
    busy = bound_name(opened(LOCAL)).port
    with pytest.raises(ConfigError, match="the port is in use by this process itself"):
        listen(Address("tcp", "127.0.0.1", busy))
    with pytest.raises(ConfigError, match="the port is in use by this process itself"):
        listen(Address("tcp", "", busy))


HOLD = """
import socket, sys
sock = socket.create_server((sys.argv[1], 0), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print(sock.getsockname()[1], flush=True)
sys.stdin.read()
"""


@linux
@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=ipv6)])
def test_a_busy_port_names_the_other_process(host):
    with subprocess.Popen([sys.executable, "-c", HOLD, host], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        port = int(other.stdout.readline())
        with pytest.raises(ConfigError, match=rf"the port is in use by process {other.pid} \(.+\)"):
            listen(Address("tcp", host, port))
        other.stdin.close()


def test_looking_for_the_holder_never_raises(monkeypatch):
    def closed(*args):
        raise PermissionError(errno.EACCES, "closed")

    assert port_holder(socket.AF_INET, "not an address", 1) == ""
    monkeypatch.setattr(os, "listdir", closed)
    assert port_holder(socket.AF_INET, "127.0.0.1", 1) == ""


# ---- Unix


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A relative name: temporary directories can be deeper than a Unix address is long."""
    monkeypatch.chdir(tmp_path)
    return "x.sock"


def test_a_unix_socket_serves_and_takes_its_file_with_it(path):
    address = Address("unix", path=path)
    sock = listen(address, 16)
    assert bound_name(sock) == address
    assert not sock.getblocking()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    close_listener(sock, address)
    assert not os.path.exists(path)
    assert sock.fileno() == -1
    close_listener(sock, address)  # again: nothing


def test_the_file_of_a_unix_socket_is_missed_wherever_the_process_is(path, opened, tmp_path, monkeypatch):
    address = Address("unix", path=path)
    sock = opened(address)
    assert not is_lost(sock, address)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert not is_lost(sock, address)
    os.unlink(f"../{path}")
    assert is_lost(sock, address)
    with socket.socket(socket.AF_UNIX) as other:
        monkeypatch.chdir("..")
        other.bind(path)
        assert is_lost(sock, address)
    tcp = opened(LOCAL)
    assert not is_lost(tcp, LOCAL)


def test_a_stale_socket_file_is_replaced(path, opened):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    old = os.lstat(path)
    assert os.path.exists(path)
    opened(Address("unix", path=path))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    assert old.st_mode == os.lstat(path).st_mode


def test_a_live_unix_socket_is_in_use(path, opened):
    opened(Address("unix", path=path))
    with pytest.raises(ConfigError, match="^unix:x.sock: in use by another server$"):
        listen(Address("unix", path=path))
    assert os.path.exists(path)


@linux  # a full queue says EAGAIN there
def test_a_live_unix_socket_with_a_full_queue_is_in_use(path, opened):
    opened(Address("unix", path=path), 0)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    try:
        for client in clients:
            client.setblocking(False)
            client.connect_ex(path)
        with pytest.raises(ConfigError, match="in use"):
            listen(Address("unix", path=path))
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_left_alone(path, kind):
    if kind == "file":
        open(path, "w").close()
    elif kind == "directory":
        os.mkdir(path)
    else:
        os.symlink("elsewhere", path)
    with pytest.raises(ConfigError, match="the file exists and is not a socket"):
        listen(Address("unix", path=path))
    assert os.path.lexists(path)


def test_the_file_of_a_successor_is_left_alone(path):
    address = Address("unix", path=path)
    sock = listen(address)
    os.rename(path, "old")  # kept, so that the new file cannot get the same inode
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(path)
        close_listener(sock, address)
        assert os.path.exists(path)


def test_a_unix_path_that_is_too_long(path):
    with pytest.raises(ConfigError, match="cannot listen"):
        listen(Address("unix", path="x" * 300 + "/y" if sys.platform == "darwin" else "x" * 200))


def test_a_unix_path_through_a_file(path):
    with open(path, "w"), pytest.raises(ConfigError, match="cannot be checked"):
        listen(Address("unix", path=f"{path}/x.sock"))


def test_a_unix_path_in_no_directory(path):
    with pytest.raises(ConfigError, match="cannot listen"):
        listen(Address("unix", path="nowhere/x.sock"))


# ---- inherited


def test_an_inherited_listener_is_adopted():
    theirs = socket.create_server(("127.0.0.1", 0))
    name = theirs.getsockname()
    address = Address("fd", fd=theirs.detach())
    sock = listen(address)
    assert sock.fileno() == address.fd
    assert bound_name(sock) == Address("tcp", *name)
    assert not sock.getblocking()
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    close_listener(sock, address)


def test_the_file_of_an_inherited_unix_socket_stays(path):
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(path)
        theirs.listen()
        address = Address("fd", fd=os.dup(theirs.fileno()))
        sock = listen(address)
        assert bound_name(sock) == Address("unix", path=path)
        close_listener(sock, bound_name(sock))
        assert os.path.exists(path)


def test_what_cannot_be_adopted_stays_open(tmp_path):
    pair = socket.socketpair()
    datagram = socket.socket(type=socket.SOCK_DGRAM)
    deaf = socket.socket()
    with pair[0], pair[1], datagram, deaf, open(tmp_path / "f", "w") as file:
        cases = [(file, "not a socket"), (datagram, "not a stream socket")]
        if sys.platform.startswith("linux"):
            cases += [(deaf, "does not listen"), (pair[0], "does not listen")]
        for thing, why in cases:
            with pytest.raises(ConfigError, match=f"^fd://{thing.fileno()}: .*{why}"):
                listen(Address("fd", fd=thing.fileno()))
            os.fstat(thing.fileno())
    with pytest.raises(ConfigError, match="no such descriptor"):
        listen(Address("fd", fd=99999))


# ---- a patched process

PATCHED = """
import greenhttp.patch
import socket
from greenhttp.green.listener import listen, close_listener, Listener
from greenhttp.settings.address import parse_address
from gevent import monkey
assert socket.socket.__module__.startswith("gevent")
address = parse_address("localhost:0")
sock = listen(address)
assert isinstance(sock, monkey.get_original("socket", "socket")) and not isinstance(sock, socket.socket)
assert not hasattr(sock, "hub")
close_listener(sock, address)
"""


def test_the_listener_stays_plain_in_a_patched_process():
    subprocess.run([sys.executable, "-W", "error", "-c", PATCHED], check=True)
