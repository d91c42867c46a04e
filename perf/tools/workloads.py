"""What is asked of every server, and how an answer is checked."""

import html
import http.client
import importlib.util
import shutil
from dataclasses import dataclass, field

from perf.tools import clients
from perf.tools.apps import HELLO, ITEMS, MEBIBYTE, TITLE


@dataclass(frozen=True)
class Workload:
    name: str
    path: str
    connections: int
    script: str = "report"
    """perf/wrk/NAME.lua"""
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    answer: bytes = HELLO
    stretch: int = 1
    """Factor on the window: 10,000 connections need time to be opened."""
    patience: int = 2
    """Seconds without an answer after which wrk counts a time-out, which voids the row."""
    keep_alive: bool = True
    pipeline: int = 1
    """Requests that leave together, as the script says."""
    idle: bool = False
    """No load at all: the connections are opened and held, and memory is what is measured."""
    tls: bool = False
    """Over TLS 1.3. Asked of other servers than the plain ones: `Server.speaks`."""
    fresh: bool = False
    """wrk must not resume sessions: each connection is a full handshake."""
    application: str = "perf.tools.apps:app"
    """What WSGI servers serve."""
    needs: str | None = None
    """The package which that application is made with."""

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    def missing(self) -> str | None:
        """The one line that says why the workload is left out, or None."""
        if self.needs and not importlib.util.find_spec(self.needs):
            return f"{self.name} is left out: pip install {self.needs}"
        programs = (("openssl", "openssl", self.tls), ("cc", "gcc", self.fresh))
        for program, package, needed in programs:
            if needed and not shutil.which(program):
                return f"{self.name} is left out: install the Debian package `{package}`"
        return None


def page() -> bytes:
    """What perf/tools/flask_app.py must answer, made without its template."""
    rows = "".join(f"<tr><td>{html.escape(name)}</td><td>{price:.2f}</td></tr>\n" for name, price in ITEMS)
    return f"<!doctype html>\n<title>{html.escape(TITLE)}</title>\n<table>\n{rows}</table>".encode()


WORKLOADS = [
    Workload("hello-64", "/", 64),
    Workload("hello-1000", "/", 1000),
    Workload("hello-10000", "/", 10000, stretch=2, patience=5),
    Workload("browser-64", "/", 64, "browser"),
    Workload("post-64", "/echo", 64, "post", method="POST", body=b"x" * 1024, answer=b"x" * 1024),
    Workload("new-64", "/", 64, "close", headers={"Connection": "close"}, keep_alive=False),
    Workload("big-16", "/1m", 16, answer=MEBIBYTE),
    Workload("pipeline-64", "/", 64, "pipeline", pipeline=16),
    Workload("flask-64", "/table", 64, answer=page(), application="perf.tools.flask_app:app", needs="flask"),
    Workload("wait-2000", "/wait", 2000, patience=5),
    Workload("wait-10000", "/wait", 10000, stretch=2, patience=5),
    Workload("idle-10000", "/", 10000, idle=True),
    Workload("tls-64", "/", 64, tls=True),
    Workload("tls-new", "/", 64, "close", headers={"Connection": "close"}, keep_alive=False, tls=True, fresh=True),
    Workload("tls-idle", "/", 10000, idle=True, tls=True),
]
BY_NAME = {workload.name: workload for workload in WORKLOADS}
WAITS = tuple(workload.name for workload in WORKLOADS if workload.path == "/wait")


def check(workload: Workload, port: int, times: int = 1) -> str | None:
    """Ask as the workload does and say what is wrong with the answers, or None."""
    client = clients.http_connection(port, workload.tls, timeout=10)
    try:
        for _ in range(times):
            client.request(workload.method, workload.path, workload.body, workload.headers)
            if workload.tls and (version := client.sock.version()) != "TLSv1.3":
                return f"{version} instead of TLSv1.3"
            response = client.getresponse()
            body = response.read()
            if response.status != 200:
                return f"status {response.status}"
            if body != workload.answer:
                return f"wrong body: {len(body)} bytes for {len(workload.answer)}"
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        client.close()
    return None
