"""nginx and HAProxy as processes of their own, with the configurations of docs/deploy/ as they stand there.

What a reader of these has to change, the lines that end in "yours", is changed here too: addresses, paths and the user.
A front runs in a directory of its own, as nobody if the tests run as root. It inherits its listening socket, whose port
the kernel has picked.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from tests.system.process import needs

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
GREENHTTP = "127.0.0.1:8000"  # what the configurations say
UNPRIVILEGED = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def filled(name: str, values: dict[str, str]) -> str:
    """The file of docs/deploy/ with other values in the lines marked as the reader's, and nowhere else.

    Each value must be in such a line: what has been changed in the file has to be changed here too.
    """
    lines, used = [], set()
    for line in (DEPLOY / name).read_text().splitlines():
        if line.endswith("# yours"):
            for old in values:
                if old in line:
                    line = line.replace(old, values[old])
                    used.add(old)
        lines.append(line)
    assert used == set(values), f"{name}: no line marked as yours has {set(values) - used}"
    return "\n".join(lines) + "\n"


class Front:
    """A front that runs until `close`.

    Attributes:
        where: its directory, which it may write to.
        port: where it listens, on 127.0.0.1.
    """

    program = ""

    def __init__(self, upstream: str, **changes: str) -> None:
        self.where = Path(tempfile.mkdtemp(prefix="front-"))
        if UNPRIVILEGED:
            shutil.chown(self.where, "nobody", "nogroup")
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.set_inheritable(True)
        self.listener.setblocking(False)  # nginx takes it as it is; a worker that came second would wait in accept
        self.port = self.listener.getsockname()[1]
        self.file = self.where / "front.conf"
        self.file.write_text(self.configuration(upstream, changes))
        self.lines: list[str] = []
        self.process: subprocess.Popen[str] | None = None

    def configuration(self, upstream: str, changes: dict[str, str]) -> str:
        raise NotImplementedError

    def command(self, *options: str) -> list[str]:
        raise NotImplementedError

    def environ(self) -> dict[str, str]:
        return dict(os.environ)

    def check(self) -> str:
        """What the program says to its configuration; AssertionError if it would not start, or warns."""
        done = subprocess.run(
            self.command(*self.check_options), env={**self.environ(), "LC_ALL": "C"}, text=True, capture_output=True,
            pass_fds=[self.listener.fileno()], timeout=60, check=False, **UNPRIVILEGED,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0 and "warn" not in said.lower(), said
        return said

    check_options: tuple[str, ...] = ()

    def start(self) -> Front:
        """It answers on its port from now on: the queue of the socket it inherits is open already."""
        self.process = subprocess.Popen(
            self.command(), env=self.environ(), cwd=self.where, stderr=subprocess.PIPE, text=True,
            pass_fds=[self.listener.fileno()], **UNPRIVILEGED,
        )  # fmt: skip
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        return self

    def _read(self) -> None:
        assert self.process is not None and self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def said(self) -> str:
        return "".join(self.lines[-40:])

    def close(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)  # quick for both
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
            finally:
                self.reader.join(10)
                assert self.process.stderr is not None
                self.process.stderr.close()
        self.listener.close()
        shutil.rmtree(self.where)


class Nginx(Front):
    """nginx with two workers; the file belongs inside http {}, and what is around it is said here."""

    program = "nginx"
    check_options = ("-t", "-q")
    around = """
daemon off;
worker_processes 2;
pid {where}/nginx.pid;
error_log stderr;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {where}/body;
    proxy_temp_path {where}/proxy;
    fastcgi_temp_path {where}/fastcgi;
    uwsgi_temp_path {where}/uwsgi;
    scgi_temp_path {where}/scgi;
{config}
}}
"""

    def configuration(self, upstream: str, changes: dict[str, str]) -> str:
        values = {GREENHTTP: upstream, "listen 80;": f"listen 127.0.0.1:{self.port};", **changes}
        return self.around.format(where=self.where, config=filled("nginx.conf", values))

    def command(self, *options: str) -> list[str]:
        path = shutil.which("nginx") or "nginx"
        return [path, "-p", str(self.where), "-e", "stderr", "-c", str(self.file), *options]

    def environ(self) -> dict[str, str]:
        # How a new nginx takes over the sockets of the one before, nginx.org/en/docs/control.html
        return {**os.environ, "NGINX": f"{self.listener.fileno()};"}


class HAProxy(Front):
    """HAProxy; `ask` speaks with its stats socket."""

    program = "haproxy"
    check_options = ("-c", "-q")

    def configuration(self, upstream: str, changes: dict[str, str]) -> str:
        self.socket = str(self.where / "admin.sock")
        values = {
            GREENHTTP: upstream.removeprefix("unix:"),  # a path is enough
            "bind :80": f"bind fd@{self.listener.fileno()}",
            "/run/haproxy/admin.sock": self.socket,
            "user haproxy": "", "group haproxy": "",
            **changes,
        }  # fmt: skip
        return filled("haproxy.cfg", values)

    def command(self, *options: str) -> list[str]:
        return [shutil.which("haproxy") or "haproxy", "-db", "-f", str(self.file), *options]

    def ask(self, line: str) -> str:
        """The answer to a command of its management guide, section 9.3."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
            client.settimeout(30)
            client.connect(self.socket)
            client.sendall(line.encode() + b"\n")
            return b"".join(iter(lambda: client.recv(65536), b"")).decode()

    def state(self, backend: str = "greenhttp", server: str = "one") -> str:
        """"up" or "down", as its health check sees the server: srv_op_state of `show servers state`."""
        table = self.ask(f"show servers state {backend}").splitlines()
        names = table[1].removeprefix("# ").split()
        for line in table[2:]:
            row = dict(zip(names, line.split(), strict=False))
            if row.get("srv_name") == server:
                return {"0": "down", "2": "up"}.get(row["srv_op_state"], row["srv_op_state"])
        raise AssertionError(f"no {backend}/{server} in {table}")


class TLS:
    """In a front that is spoken to by https: what a reader adds to the line that says where to listen.

    Attributes:
        certificate: a file, its own authority, for 127.0.0.1.
    """

    where: Path
    listener: socket.socket
    listening = ""  # how that line ends
    adds = ""  # what follows

    def configuration(self, upstream: str, changes: dict[str, str]) -> str:
        self.certificate, key = self.where / "certificate.pem", self.where / "certificate.pem.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1", "-out", self.certificate, "-keyout", key],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        if UNPRIVILEGED:
            shutil.chown(key, "nobody", "nogroup")
        text: str = super().configuration(upstream, changes)  # type: ignore[misc]
        before = self.listening.format(front=self, fd=self.listener.fileno())
        assert text.count(before) == 1
        return text.replace(before, before.removesuffix(";") + self.adds.format(front=self))


class TLSNginx(TLS, Nginx):
    listening = "listen 127.0.0.1:{front.port};"
    adds = " ssl; ssl_certificate {front.certificate}; ssl_certificate_key {front.certificate}.key;"


class TLSHAProxy(TLS, HAProxy):
    listening = "bind fd@{fd}"
    adds = " ssl crt {front.certificate}"


def each(*kinds: type[Front]) -> pytest.MarkDecorator:
    """The parameter `kind`: these fronts, each skipped where its program is not installed."""
    return pytest.mark.parametrize("kind", [pytest.param(k, marks=needs(k.program), id=k.program) for k in kinds])
