"""wrk, the load generator: its command line and the one line that perf/wrk/report.lua makes it end with."""

import re
import shutil
import socket
import ssl
import subprocess
from dataclasses import dataclass

from perf import CLIENT_CORE
from perf.tools import build

MISSING = "wrk is missing: install the Debian package `wrk` (apt-get install wrk)"


@dataclass(frozen=True)
class Load:
    """What wrk counted in one run."""

    requests: int
    duration_us: int
    bytes: int
    connect: int
    read: int
    write: int
    status: int
    timeout: int
    p50_us: int
    p99_us: int
    max_us: int

    @property
    def errors(self) -> int:
        return self.connect + self.read + self.write + self.status + self.timeout

    @property
    def per_second(self) -> float:
        return self.requests * 1e6 / self.duration_us if self.duration_us else 0.0

    def fault(self) -> str | None:
        """Why this run must not count, or None."""
        kinds = ("status", "connect", "read", "write", "timeout")
        if wrong := [f"{getattr(self, kind)} {kind} errors" for kind in kinds if getattr(self, kind)]:
            return ", ".join(wrong)
        return None if self.requests else "not one request was answered"


def available() -> bool:
    return shutil.which("wrk") is not None


def parse(output: str) -> Load:
    line = next((line for line in output.splitlines() if line.startswith("PERF ")), None)
    if line is None:
        raise ValueError(f"wrk ended without its report: {output.strip()[-200:] or 'no output'}")
    return Load(**{name: int(value) for name, value in re.findall(r"(\w+)=(-?\d+)", line)})


def command(url: str, connections: int, seconds: int, script: str, timeout: int, fresh: bool = False) -> list[str]:
    # One thread: wrk has one core. `--latency` is not needed, the script asks for the percentiles itself.
    added = ["env", f"LD_PRELOAD={build.fresh()}"] if fresh else []
    return ["taskset", "-c", str(CLIENT_CORE), *added, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s",
            f"perf/wrk/{script}.lua", "--timeout", f"{timeout}s", url]  # fmt: skip


def start(url: str, connections: int, seconds: int, script: str, timeout: int, fresh: bool = False) -> subprocess.Popen:
    """`fresh`: over TLS, with a full handshake on each connection; by itself wrk resumes sessions."""
    return subprocess.Popen(
        command(url, connections, seconds, script, timeout, fresh),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def resumes(script: str, fresh: bool) -> bool:
    """Whether wrk's second connection resumes the session of its first, as a TLS 1.3 server with OpenSSL's usual two
    tickets sees it. OSError (ssl.SSLError is one) when it does not connect twice within 5 s each."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(*build.certificate())
    answered = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        load = start(f"https://127.0.0.1:{listener.getsockname()[1]}/", 1, 30, script, 30, fresh)
        try:
            while len(answered) < 2:
                plain, _ = listener.accept()
                plain.settimeout(5)
                with plain:
                    if not plain.recv(1, socket.MSG_PEEK):  # wrk first tries whether it can connect
                        continue
                    with context.wrap_socket(plain, server_side=True) as client:
                        answered.append(client.session_reused)
                        client.recv(65536)
                        client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        finally:
            load.kill()
            load.communicate()
    return answered[1]


def first_write(path: str, script: str) -> bytes:
    """What wrk sends at once on a connection, as it goes over the wire: all that its scripts add is in it.

    OSError when it sends nothing within 5 s.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        load = start(f"http://127.0.0.1:{listener.getsockname()[1]}{path}", 1, 30, script, 30)
        try:
            while True:
                client, _ = listener.accept()
                with client:
                    client.settimeout(5)
                    if sent := client.recv(65536):  # wrk first tries whether it can connect, and sends nothing then
                        return sent
        finally:
            load.kill()
            load.communicate()
