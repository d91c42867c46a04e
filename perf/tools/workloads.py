"""What is asked of every server, and how an answer is checked."""

import html
import http.client
import importlib.util
from dataclasses import dataclass, field

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
    application: str = "perf.tools.apps:app"
    """What WSGI servers serve."""
    needs: str | None = None
    """The package which that application is made with."""

    def missing(self) -> str | None:
        """The one line that says why the workload is left out, or None."""
        if not self.needs or importlib.util.find_spec(self.needs):
            return None
        return f"{self.name} is left out: pip install {self.needs}"


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
]
BY_NAME = {workload.name: workload for workload in WORKLOADS}
WAITS = tuple(workload.name for workload in WORKLOADS if workload.path == "/wait")


def check(workload: Workload, port: int, times: int = 1) -> str | None:
    """Ask as the workload does and say what is wrong with the answers, or None."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        for _ in range(times):
            client.request(workload.method, workload.path, workload.body, workload.headers)
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
