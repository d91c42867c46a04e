"""`valgrind --tool=callgrind`: how many instructions of the server a request takes, counted and not sampled.

A fixed number of requests, one after the other on one connection, as wrk writes them but with their fields in one
order: wrk's comes from a hash table and is another one each time, which is a per cent of browser-64. What came before
is dumped and thrown away. So the figure is nearly the same again (perf/README.md says how nearly), whatever else the
machine does: it tells two commits apart where times cannot. It holds no kernel and no cache misses, and no two requests
share a turn of the loop, as they do under load: it is a measure of code, not of time.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from perf.profile.symbols import Symbol, tables
from perf.reach.figure import Unable
from perf.tools import clients, wrk
from perf.tools.results import Table
from perf.tools.servers import Running, Server
from perf.tools.workloads import Workload

MISSING = "valgrind is missing: install the Debian package `valgrind`"
WARM_UP = 512
"""Requests before: CPython has specialised the hot bytecode, pools and free lists are filled."""
REQUESTS = 2048
FEW = {"/wait": 64, "/1m": 64}
"""Paths whose answers take long: so many requests before, and four times as many that count."""

SAME_AGAIN = {"PYTHONHASHSEED": "0", "GREENHTTP_HUB_WARN": "10m"}
"""Environment of the server. Under valgrind on a busy machine a turn of the loop may last longer than --hub-warn, and
what it logs once was 2 % of pipeline-64."""

NAME = re.compile(r"^(c?)(ob|fn)=\((\d+)\)(?: (.+))?$")
COST = re.compile(r"^(?:[+-]?\d+|\*) (\d+)$")


@dataclass(frozen=True)
class Counted:
    costs: dict[Symbol, int]
    """Instructions of each function itself, of all requests together."""
    requests: int

    @property
    def per_request(self) -> float:
        return sum(self.costs.values()) / self.requests


def available() -> bool:
    return shutil.which("valgrind") is not None and shutil.which("callgrind_control") is not None


def parse(text: str) -> dict[Symbol, int]:
    """Instructions of each function itself, from a callgrind file. What its calls took is left out."""
    names: dict[tuple[str, str], str] = {}
    costs: dict[Symbol, int] = {}
    at, called = {"ob": "", "fn": ""}, False
    for line in text.splitlines():
        if found := NAME.match(line):
            callee, kind, number, name = found.groups()
            if name:
                names[kind, number] = name
            if not callee:
                at[kind] = names[kind, number]
        elif line.startswith("calls="):
            called = True  # the next line is the cost of the call, which the function called has itself
        elif found := COST.match(line):
            if not called:
                key = (at["ob"], re.sub(r"'\d+$", "", at["fn"]))  # 'N: the Nth level of a recursion
                costs[key] = costs.get(key, 0) + int(found[1])
            called = False
    return costs


def ordered(batch: bytes) -> bytes:
    """The same request with its fields sorted, Host first. Pipelined ones have one field each and stay as they are."""
    head, end, rest = batch.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    fields.sort(key=lambda field: (not field.startswith(b"Host:"), field))
    return b"\r\n".join([line, *fields]) + end + rest


def _ask(port: int, workload: Workload, batch: bytes) -> Iterator[None]:
    """One batch each turn, until it is answered."""
    client = None
    try:
        while True:
            client = client or clients.connect(port, tls=workload.tls)
            client.settimeout(60)
            client.sendall(batch)
            answers, left = clients.Answers(), workload.pipeline
            while left > 0:
                if not (data := client.recv(1 << 20)):
                    raise Unable("the server closed the connection")
                for status, body in answers.feed(data):
                    left -= 1
                    if status != 200 or body != workload.answer:
                        raise Unable(f"a wrong answer: status {status}, {len(body)} bytes")
            if not workload.keep_alive:
                client.close()
                client = None
            yield
    finally:
        if client:
            client.close()


def _dump(pid: int, number: int, directory: str) -> str:
    """Have callgrind write what it has counted and begin anew; what it wrote."""
    done = subprocess.run(
        ["callgrind_control", "-d", str(pid)], capture_output=True, text=True, timeout=60, check=False
    )
    written = Path(directory, f"out.{number}")
    if done.returncode or not written.exists():
        raise Unable(f"callgrind_control: {(done.stderr or done.stdout).strip()[-200:]}")
    return written.read_text()


def count(server: Server, workload: Workload) -> Counted:
    """Start the server under callgrind and count. Unable, servers.DidNotStart or OSError where that fails."""
    batch = ordered(wrk.first_write(workload.path, workload.script))
    before = FEW.get(workload.path, WARM_UP) // workload.pipeline
    requests = FEW.get(workload.path, REQUESTS // 4) * 4 // workload.pipeline * workload.pipeline
    with tempfile.TemporaryDirectory() as directory:
        valgrind = ["valgrind", "-q", "--tool=callgrind", "--dump-line=no", f"--callgrind-out-file={directory}/out"]
        slow = replace(
            server,
            command=lambda port, name: [*valgrind, *server.command(port, name)],
            environment={**server.environment, **SAME_AGAIN},
            patience=180,
        )
        with Running(slow, workload.name) as running:
            asking = _ask(running.port, workload, batch)
            for _ in range(before):
                next(asking)
            _dump(running.process.pid, 1, directory)
            for _ in range(requests // workload.pipeline):
                next(asking)
            text = _dump(running.process.pid, 2, directory)
            asking.close()
    return Counted(parse(text), requests)


def run(server: Server, workload: Workload) -> list[Table]:
    counted = count(server, workload)
    each = counted.per_request
    title = f"Instructions (callgrind, {counted.requests:,} requests)"
    total = Table(title, ("", "per request"), [(server.name, f"{each:,.1f}")])
    return [total, *tables(counted.costs, "instructions", each, title)]
