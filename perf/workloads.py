"""What is asked of every server, and how an answer is checked."""

import http.client
from dataclasses import dataclass, field

from perf.apps import HELLO, MEBIBYTE


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


WORKLOADS = [
    Workload("hello-64", "/", 64),
    Workload("hello-1000", "/", 1000),
    Workload("hello-10000", "/", 10000, stretch=2, patience=5),
    Workload("browser-64", "/", 64, "browser"),
    Workload("post-64", "/echo", 64, "post", method="POST", body=b"x" * 1024, answer=b"x" * 1024),
    Workload("new-64", "/", 64, "close", headers={"Connection": "close"}, keep_alive=False),
    Workload("big-16", "/1m", 16, answer=MEBIBYTE),
    Workload("wait-2000", "/wait", 2000, patience=5),
    Workload("pipeline-64", "/", 64, "pipeline", pipeline=16),
]
BY_NAME = {workload.name: workload for workload in WORKLOADS}


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
