"""The servers of the comparison: how each is started, what it needs, what it cannot do; and one running server."""

import contextlib
import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from perf import SERVER_CORE, build, procfs

TOP = Path(__file__).parent.parent
SERIAL = "runs one handler at a time: 50 ms of waiting each, 20 requests/s at best"
UNSAID = "closes without saying `Connection: close`, which wrk counts as a socket error on every request"
NATIVE = "the same bytes leave in the same way as for WSGI"
FIXED = "the floor knows one fixed answer"


@dataclass(frozen=True)
class Server:
    name: str
    command: Callable[[int, str], list[str]]
    """(port, workload's name or "") -> argv"""
    missing: Callable[[], str | None]
    """What to install, or None when it is there."""
    cannot: dict[str, str] = field(default_factory=dict)
    """Workload -> why this server is not asked to do it."""
    environment: dict[str, str] = field(default_factory=dict)
    directory: Path = TOP
    """Where it runs and looks for modules first."""
    patience: float = 15
    """Seconds to the first answer."""


def _needs(module: str, package: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        return None if importlib.util.find_spec(module) else f"pip install {package}"

    return missing


def _greenhttp_missing() -> str | None:
    found = importlib.util.find_spec("greenhttp")
    places = found.submodule_search_locations if found else ()
    if any(Path(place, "__main__.py").exists() for place in places or ()):
        return None
    return "build this project in place: pip install -e ."


def _peer(script: str) -> Callable[[int, str], list[str]]:
    return lambda port, workload: [sys.executable, "-m", f"perf.peers.{script}", str(port)]


def _greenhttp(app: str) -> Callable[[int, str], list[str]]:
    def command(port: int, workload: str) -> list[str]:
        # The default of 1,000 requests at a time allows 20,000 waits of 50 ms a second, whatever the server can do.
        waiting = ["--concurrency", "3000"] if workload.startswith("wait") else []
        return [sys.executable, "-m", "greenhttp", "--bind", f"127.0.0.1:{port}", *waiting, app]

    return command


floor_answer = 160
"""Size of the floor's answer in bytes; hello.py sets it to what greenhttp's own answer measures."""


def _floor(port: int, workload: str) -> list[str]:
    mode = ["close"] if workload == "new-64" else []
    return [str(build.floor()), str(port), str(floor_answer), *mode]


def _gunicorn(port: int, workload: str) -> list[str]:
    # Its default of 1,000 connections per worker and backlog of 2,048 would decide the 10,000 row, not the server.
    return [sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "1", "-b", f"127.0.0.1:{port}", "--backlog", "4096",
            "--worker-connections", "20000", "--log-level", "warning", "perf.apps:app"]  # fmt: skip


def _granian(port: int, workload: str) -> list[str]:
    # `--backpressure` defaults to the backlog and would refuse connections beyond it. Handlers that wait need threads.
    threads = ["--blocking-threads", "64"] if workload.startswith("wait") else []
    return [sys.executable, "-m", "granian", "--interface", "wsgi", "--workers", "1", "--port", str(port), "--backlog",
            "4096", "--backpressure", "20000", "--log-level", "warning", *threads, "perf.apps:app"]  # fmt: skip


def _go(port: int, workload: str) -> list[str]:
    return [str(build.go_hello()), str(port)]


SERVERS = [
    Server("greenhttp", _greenhttp("perf.apps:app"), _greenhttp_missing),
    Server("greenhttp-native", _greenhttp("perf.apps:native"), _greenhttp_missing, {"big-16": NATIVE}),
    Server("floor", _floor, lambda: build.missing_compiler("cc", "gcc"),
           {"post-64": FIXED, "big-16": FIXED, "wait-2000": FIXED}),
    Server("pywsgi", _peer("pywsgi"), _needs("gevent", "gevent"), {"new-64": UNSAID}),
    Server("gunicorn-gevent", _gunicorn, _needs("gunicorn", "gunicorn gevent")),
    Server("bjoern", _peer("bjoern_server"), _needs("bjoern", "bjoern (Debian: libev-dev)"), {"wait-2000": SERIAL}),
    Server("fastwsgi", _peer("fastwsgi_server"), _needs("fastwsgi", "FastWSGI 'setuptools<81'"), {"wait-2000": SERIAL}),
    Server("granian", _granian, _needs("granian", "granian")),
    Server("freastal", _peer("freastal_server"), _needs("freastal", "freastal"), {"wait-2000": SERIAL}),
    Server("go", _go, lambda: build.missing_compiler("go", "golang-go"), environment={"GOMAXPROCS": "1"}),
]  # fmt: skip
BY_NAME = {server.name: server for server in SERVERS}


def missing_line(server: Server) -> str | None:
    """The one line that says why a server is left out, or None."""
    what = server.missing()
    return f"{server.name} is not here, left out: {what}" if what else None


class DidNotStart(Exception):
    pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Running:
    """One server process (and its children) on its own port and core, from entering the `with` block to leaving it."""

    def __init__(self, server: Server, workload: str = "", extra: tuple[str, ...] = (), **environment: str):
        self.server, self.workload, self.extra, self.environment = server, workload, extra, environment
        self.port = free_port()

    def __enter__(self) -> "Running":
        command = [*self.server.command(self.port, self.workload), *self.extra]
        self._log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *command],
            cwd=self.server.directory,
            env={**os.environ, "PYTHONPATH": str(self.server.directory), **self.server.environment, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # a group of its own, so that stopping it reaches its children and nobody else
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info) -> None:
        self.stop()

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()

    def _wait_until_ready(self) -> None:
        seconds = self.server.patience
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                last = self.log().splitlines()[-1:] or ["no output"]
                raise DidNotStart(f"ended at start with status {self.process.returncode}: {last[0]}")
            try:
                client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                client.request("GET", "/")
                client.getresponse().read()
                client.close()
                return
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
        raise DidNotStart(f"did not answer within {seconds:.0f} s")

    def pids(self) -> list[int]:
        return procfs.tree(self.process.pid)

    def stop(self) -> None:
        for signum, patience in ((signal.SIGTERM, 3), (signal.SIGKILL, 5)):
            if self.process.poll() is None:
                self.process.send_signal(signum)
                try:
                    self.process.wait(patience)
                except subprocess.TimeoutExpired:
                    continue
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # children that outlived their master; the group is our own
        self._log.close()
