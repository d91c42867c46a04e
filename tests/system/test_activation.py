"""Sockets that systemd has opened, by a launcher that does as it does: descriptors from 3, LISTEN_FDS, exec.

What counts is the socket: whether it takes IPv4 beside IPv6 is what its owner has set (BindIPv6Only= of a unit).
"""

import contextlib
import re
import socket

import pytest

from tests.green.test_listener import ipv6
from tests.system.process import Process, ended

pytestmark = ipv6
LAUNCH = """
import os, socket, sys
host, only, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
sock = socket.socket(socket.AF_INET6)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
sock.bind((host, 0))
sock.listen(16)
os.dup2(sock.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="web")
os.execv(sys.executable, [sys.executable, "-m", "greenhttp", *command])
"""
APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(environ[name] for name in ("REMOTE_ADDR", "SERVER_NAME", "wsgi.url_scheme")).encode()]
"""


class Activated:
    """greenhttp on such a socket.

    Attributes:
        start: the line that says where it serves.
    """

    def __init__(self, directory, only, *options, host="::"):
        (directory / "web.py").write_text(APP)
        self.process = Process(directory, "-c", LAUNCH, host, str(only), "web:app", "--access-logfile", "-", *options)
        said = self.process.until("Ctrl-C")
        self.start = next(line for line in said.splitlines() if "serving web:app at" in line)
        self.port = int(re.search(r"at http://\S+:(\d+)", self.start)[1])

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.__exit__(*exc)

    def ask(self, host, *fields, before=""):
        """What the application says: the peer, the server's name, and the scheme; [""] without an answer."""
        lines = [f"{before}GET / HTTP/1.0", "X-Forwarded-Proto: https", *fields, "", ""]
        with socket.create_connection((host, self.port), 30) as client, contextlib.suppress(ConnectionResetError):
            client.sendall("\r\n".join(lines).encode())
            return client.makefile("rb").read().decode().partition("\r\n\r\n")[2].split(" ")
        return [""]

    def logged(self):
        """The peers in the access log, when it has ended well."""
        self.process.terminate()
        code, out, _ = ended(self.process)
        assert code == 0
        return [line.split(" ")[0] for line in out.splitlines()]


@pytest.mark.parametrize("trusted", ["127.0.0.1", "::ffff:127.0.0.1", "::ffff:127.0.0.0/104"])
def test_an_ipv4_peer_of_a_socket_for_both_is_shown_logged_and_trusted_as_ipv4(tmp_path, trusted):
    with Activated(tmp_path, 0, "--forwarded-allow-ips", trusted) as served:
        assert served.start.endswith("(and every other address of this machine)")
        assert served.ask("127.0.0.1") == ["127.0.0.1", "::", "https"]
        assert served.ask("::1") == ["::1", "::", "http"]
        assert served.logged() == ["127.0.0.1", "::1"]


def test_an_ipv4_peer_is_not_trusted_as_the_ipv6_address_that_ends_like_it(tmp_path):
    with Activated(tmp_path, 0, "--forwarded-allow-ips", "::7f00:1,::/96") as served:
        assert served.ask("127.0.0.1") == ["127.0.0.1", "::", "http"]


def test_a_socket_for_ipv6_alone_stays_one_and_the_start_says_so(tmp_path):
    with Activated(tmp_path, 1, "-b", ":0") as served:
        assert served.start.endswith("(and every other IPv6 address of this machine)")
        with pytest.raises(ConnectionRefusedError):
            served.ask("127.0.0.1")
        assert served.ask("::1") == ["::1", "::", "https"]
        assert served.logged() == ["::1"]


def test_a_socket_for_an_ipv4_address_written_as_ipv6_is_shown_as_ipv4(tmp_path):
    with Activated(tmp_path, 0, host="::ffff:127.0.0.1") as served:
        assert served.start.endswith(f" at http://127.0.0.1:{served.port}")
        assert served.ask("127.0.0.1") == ["127.0.0.1", "127.0.0.1", "https"]


def test_a_client_that_a_proxy_tells_as_ipv4_written_as_ipv6_is_that_ipv4_address(tmp_path):
    with Activated(tmp_path, 0, "--forwarded-allow-ips", "::ffff:127.0.0.1,192.0.2.2") as served:
        assert served.ask("127.0.0.1", "X-Forwarded-For: ::ffff:192.0.2.1, ::ffff:192.0.2.2")[0] == "192.0.2.1"
        assert served.logged() == ["192.0.2.1"]


def test_the_proxy_protocol_is_taken_from_an_ipv4_peer_of_a_socket_for_both(tmp_path):
    v1 = "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 4711 443\r\n"
    trusted = "--proxy-allow-from", "::ffff:127.0.0.1", "--forwarded-allow-ips", "192.0.2.1"
    with Activated(tmp_path, 0, "--proxy-protocol", "v1", *trusted) as served:
        assert served.ask("127.0.0.1", before=v1) == ["192.0.2.1", "::", "https"]
        assert served.ask("::1", before=v1) == [""]
        assert served.logged() == ["192.0.2.1"]
