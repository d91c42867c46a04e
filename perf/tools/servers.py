"""The servers of the comparison: how each is started, what it needs, what it cannot do; and one running server."""

import contextlib
import http.client
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from perf import SERVER_CORE
from perf.tools import build, clients, procfs
from perf.tools.workloads import BY_NAME as BY_WORKLOAD
from perf.tools.workloads import WAITS, Workload

TOP = Path(__file__).parent.parent.parent
SERIAL = "runs one handler at a time: 50 ms of waiting each, 20 requests/s at best"
UNSAID = "closes without saying `Connection: close`, which wrk counts as a socket error on every request"
NATIVE = "the same bytes leave in the same way as for WSGI"
FIXED = "the floor knows one fixed answer"
STATIC = "the floor keeps one byte for each descriptor, allocated once for all"
UNPIPELINED = "its router keeps connections for non-pipelined requests only, as its help says"
WSGI = "Flask is a WSGI application"


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
    speaks: tuple[str, ...] = ("http",)
    """Whether it is asked the plain workloads ("http"), those over TLS ("https"), or both."""

    def takes(self, workload: Workload) -> bool:
        return workload.scheme in self.speaks


def _needs(module: str, package: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        return None if importlib.util.find_spec(module) else f"pip install {package}"

    return missing


def _needs_all(packages: dict[str, str]) -> Callable[[], str | None]:
    """Module -> package."""
    each = [_needs(module, package) for module, package in packages.items()]
    return lambda: next((line for missing in each if (line := missing())), None)


def _greenhttp_missing() -> str | None:
    found = importlib.util.find_spec("greenhttp")
    places = found.submodule_search_locations if found else ()
    if any(Path(place, "__main__.py").exists() for place in places or ()):
        return None
    return "build this project in place: pip install -e ."


def _needs_program(name: str, package: str) -> Callable[[], str | None]:
    return lambda: None if _program(name) else f"pip install {package}"


def _program(name: str) -> str | None:
    """A command that a package has installed: beside this Python, where its virtual environment is not on the path."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def _over_tls(workload: str) -> bool:
    return bool(workload) and BY_WORKLOAD[workload].tls


def _certified(workload: str, certfile: str, keyfile: str) -> list[str]:
    """These two options with this run's certificate, where the workload is one over TLS."""
    if not _over_tls(workload):
        return []
    pair = build.certificate()
    return [certfile, str(pair.certfile), keyfile, str(pair.keyfile)]


def _application(workload: str) -> str:
    return BY_WORKLOAD[workload].application if workload else "perf.tools.apps:app"


def _waiting(workload: str) -> int:
    """Handlers that wait at once in this workload; 0 in those where none does."""
    return BY_WORKLOAD[workload].connections if workload in WAITS else 0


def _started(script: str, threads: int = 0) -> Callable[[int, str], list[str]]:
    """A start script of perf/start/; `threads` as many as when handlers do not wait."""

    def command(port: int, workload: str) -> list[str]:
        number = [str(_waiting(workload) or threads)] if threads else []
        return [sys.executable, "-m", f"perf.start.{script}", str(port), _application(workload), *number]

    return command


def _greenhttp(app: str | None = None, module: str = "greenhttp") -> Callable[[int, str], list[str]]:
    def command(port: int, workload: str) -> list[str]:
        # The default of 1,000 requests at a time allows 20,000 waits of 50 ms a second, whatever the server can do.
        waiting = ["--concurrency", str(_waiting(workload) + 1000)] if _waiting(workload) else []
        certified = _certified(workload, "--certfile", "--keyfile")
        return [sys.executable, "-m", module, "--bind", f"127.0.0.1:{port}", *waiting, *certified,
                app or _application(workload)]  # fmt: skip

    return command


floor_answer = 160
"""Size of the floor's answer in bytes; peers.py sets it to what greenhttp's own answer measures."""


def _floor(port: int, workload: str) -> list[str]:
    mode = ["close"] if workload == "new-64" else []
    return [str(build.floor()), str(port), str(floor_answer), *mode]


def _gunicorn(worker: str, threads: int = 0) -> Callable[[int, str], list[str]]:
    """Its default of 1,000 connections per worker and backlog of 2,048 would decide the 10,000 row, not the server; its
    2 s of keep-alive those where connections pause."""

    def command(port: int, workload: str) -> list[str]:
        number = ["--threads", str(_waiting(workload) or threads)] if threads else []
        return [sys.executable, "-m", "gunicorn", "-k", worker, "-w", "1", *number, "-b", f"127.0.0.1:{port}",
                "--backlog", "4096", "--worker-connections", "20000", "--keep-alive", "75", "--log-level", "warning",
                *_certified(workload, "--certfile", "--keyfile"),
                _application(workload)]  # fmt: skip

    return command


def _uwsgi(port: int, workload: str) -> list[str]:
    # With --gevent, --http-socket closes after each answer and --http11-socket ends at the second connection with an
    # assertion of libev. What keeps connections is its router, a process of its own; both count.
    cores = str(_waiting(workload) + 1000 if _waiting(workload) else 3000)
    return [_program("uwsgi") or "uwsgi", "--http", f"127.0.0.1:{port}", "--http-keepalive", "--master",
            "--gevent", cores, "--gevent-early-monkey-patch", "--module", _application(workload), "--need-app",
            "--listen", "4096", "--disable-logging", "--die-on-term", "--virtualenv", sys.prefix,
            "--pythonpath", str(TOP)]  # fmt: skip


def _granian(port: int, workload: str) -> list[str]:
    # `--backpressure` defaults to the backlog and would refuse connections beyond it. Handlers that wait need threads.
    threads = ["--blocking-threads", str(_waiting(workload))] if _waiting(workload) else []
    return [sys.executable, "-m", "granian", "--interface", "wsgi", "--workers", "1", "--port", str(port), "--backlog",
            "4096", "--backpressure", "20000", "--log-level", "warning", *threads,
            *_certified(workload, "--ssl-certificate", "--ssl-keyfile"),
            _application(workload)]  # fmt: skip


def _go(port: int, workload: str) -> list[str]:
    pair = build.certificate() if _over_tls(workload) else ()
    return [str(build.go_hello()), str(port), *map(str, pair)]


def _uvicorn(port: int, workload: str) -> list[str]:
    # Its default of 5 s would close connections that are only held.
    return [sys.executable, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", "--port", str(port),
            "--backlog", "4096", "--timeout-keep-alive", "75", "--no-access-log", "--log-level", "warning",
            *_certified(workload, "--ssl-certfile", "--ssl-keyfile"), "perf.tools.apps:asgi"]  # fmt: skip


def _nginx(port: int, workload: str) -> list[str]:
    return ["nginx", "-c", str(build.nginx_configuration(port))]


BOTH = ("http", "https")
ONE_AT_A_TIME = dict.fromkeys(WAITS, SERIAL)
SERVERS = [
    Server("greenhttp", _greenhttp(), _greenhttp_missing, speaks=BOTH),
    Server("greenhttp-native", _greenhttp("perf.tools.apps:native"), _greenhttp_missing,
           {"big-16": NATIVE, "flask-64": WSGI}, speaks=BOTH),
    Server("greenhttp-simple", _greenhttp(module="perf.tools.simple"), _greenhttp_missing, speaks=("https",)),
    Server("floor", _floor, lambda: build.missing_program("cc", "gcc"),
           {**dict.fromkeys(("post-64", "big-16", "flask-64", *WAITS), FIXED), "idle-10000": STATIC}),
    Server("pywsgi", _started("pywsgi"), _needs("gevent", "gevent"), {"new-64": UNSAID}),
    Server("gunicorn-gevent", _gunicorn("gevent"), _needs("gunicorn", "gunicorn gevent"), speaks=BOTH),
    Server("gunicorn-gthread", _gunicorn("gthread", 16), _needs("gunicorn", "gunicorn")),
    Server("uwsgi-gevent", _uwsgi, _needs_program("uwsgi", "uWSGI gevent"),
           {"new-64": UNSAID, "pipeline-64": UNPIPELINED}),
    Server("waitress", _started("waitress_server", 4), _needs("waitress", "waitress")),
    Server("cheroot", _started("cheroot_server", 10), _needs("cheroot", "cheroot")),
    Server("granian", _granian, _needs("granian", "granian"), speaks=BOTH),
    Server("bjoern", _started("bjoern_server"), _needs("bjoern", "bjoern (Debian: libev-dev)"), ONE_AT_A_TIME),
    Server("fastwsgi", _started("fastwsgi_server"), _needs("fastwsgi", "FastWSGI 'setuptools<81'"), ONE_AT_A_TIME),
    Server("freastal", _started("freastal_server"), _needs("freastal", "freastal"), ONE_AT_A_TIME),
    Server("go", _go, lambda: build.missing_program("go", "golang-go"), {"flask-64": WSGI}, {"GOMAXPROCS": "1"},
           speaks=BOTH),
    Server("uvicorn", _uvicorn, _needs_all({"uvicorn": "uvicorn", "uvloop": "uvloop", "httptools": "httptools"}),
           speaks=("https",)),
    Server("nginx", _nginx, lambda: build.missing_program("nginx", "nginx-light"), speaks=("https",)),
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
                client = clients.http_connection(self.port, _over_tls(self.workload), timeout=5)
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
