"""An authority like Let's Encrypt on the loopback: Debian's pebble, and certbot as its client.

pebble asks `pebble-challtestsrv` for the address of every name and is told 127.0.0.1; there it asks for the answer to
its challenge over HTTP, three times, as the real one does from several places. Nothing leaves the machine.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

TIMEOUT = 60  # seconds; only a hang takes as long
# It waits for nothing, rejects no valid nonce, and never takes an old answer for a new one.
QUICK = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
QUERY = b"\0\1\1\0\0\1\0\0\0\0\0\0" + b"\4shop\7example\0" + b"\0\1\0\1"  # A shop.example, RFC 1035 4.1


class Authority:
    """`with Authority(directory, http=PORT, tls=PORT) as authority:`; the ports are where it expects every server.

    Attributes:
        root: the certificate that all of its certificates lead to; another one for each authority.
        environ: what makes certbot ask it, as it is called on any server, and keep its files in the directory `files`.
        files: what /etc/letsencrypt is elsewhere.
    """

    def __init__(self, directory: Path, http: int, tls: int) -> None:
        self.directory = directory
        directory.mkdir()
        self.files = directory / "letsencrypt"
        self.root = directory / "root.pem"
        self.ports = http, tls
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.kept: list[socket.socket] = []

    def __enter__(self) -> Authority:
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        names, orders, management = (self._free() for _ in range(3))
        own, key = self.directory / "pebble.pem", self.directory / "pebble.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1", "-out", own, "-keyout", key],
            check=True, capture_output=True, timeout=TIMEOUT,
        )  # fmt: skip
        file = self.directory / "pebble.json"
        config = {
            "listenAddress": f"127.0.0.1:{orders}", "managementListenAddress": f"127.0.0.1:{management}",
            "certificate": str(own), "privateKey": str(key), "httpPort": self.ports[0], "tlsPort": self.ports[1],
        }  # fmt: skip
        file.write_text(json.dumps({"pebble": config}))
        off = [word for name in ("http01", "https01", "tlsalpn01", "management") for word in (f"-{name}", "")]
        at = f"127.0.0.1:{names}"
        self._run("pebble-challtestsrv", "-dns01", at, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", *off)
        self._until(lambda: resolves(names))
        self._run("pebble", "-strict=false", "-config", str(file), "-dnsserver", at)
        self._until(lambda: listens(orders) and listens(management))
        context = ssl.create_default_context(cafile=own)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(f"https://127.0.0.1:{management}/roots/0", timeout=TIMEOUT) as answer:
            self.root.write_bytes(answer.read())
        self._configure(f"https://127.0.0.1:{orders}/dir")
        self.environ = {"XDG_CONFIG_HOME": str(self.directory), "REQUESTS_CA_BUNDLE": str(own)}

    def _configure(self, server: str) -> None:
        """certbot's file of settings for a user: what it would ask a person for, and directories that need no root."""
        self.files.mkdir()
        lines = [f"server = {server}", f"config-dir = {self.files}"]
        lines += [f"{name}-dir = {self.directory / name}" for name in ("work", "logs")]
        lines += [f"{name} = true" for name in (
            "agree-tos", "register-unsafely-without-email", "non-interactive", "no-random-sleep-on-renew",
        )]  # fmt: skip
        (self.files / "cli.ini").write_text("\n".join(lines) + "\n")

    def _free(self) -> int:
        """A port that stays its own: bound and not listening, it is nobody's but who asks for it."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        self.kept.append(sock)
        return sock.getsockname()[1]

    def _run(self, program: str, *arguments: str) -> None:
        with open(self.directory / f"{program}.log", "wb") as log:
            self.daemons.append(subprocess.Popen(
                [program, *arguments], env={**os.environ, **QUICK}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT,
            ))  # fmt: skip

    def _until(self, ready: Callable[[], bool]) -> None:
        """What was started last says that it listens before it does."""
        until = time.monotonic() + TIMEOUT
        while not ready():
            if self.daemons[-1].poll() is not None or time.monotonic() > until:
                logs = "".join(log.read_text() for log in self.directory.glob("*.log"))
                raise AssertionError(f"the authority does not start:\n{logs}")
            time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        for daemon in self.daemons:
            daemon.kill()
            daemon.wait()
        for sock in self.kept:
            sock.close()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), TIMEOUT).close()
    except ConnectionRefusedError:
        return False
    return True


def resolves(port: int) -> bool:
    """Whether somebody answers for names there."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.connect(("127.0.0.1", port))
        try:
            sock.send(QUERY)
            return bool(sock.recv(512))
        except (ConnectionRefusedError, TimeoutError):
            return False
