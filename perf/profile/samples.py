"""`perf record`: where the server was when the clock looked. Symbols by their own time, not with what they call."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from perf.profile.symbols import Symbol, tables
from perf.profile.tool import Perf, drive
from perf.reach.figure import Unable
from perf.tools.results import Table
from perf.tools.servers import Running, Server
from perf.tools.workloads import Workload

FREQUENCY = 4999
"""Samples a second. A prime: not in step with timers of 1 or 10 ms."""
SAMPLE = re.compile(r"^\s*(\d+)\s+(\S+?):\s+[0-9a-f]+ (.+?)(?:\+0x([0-9a-f]+))? \((.+)\)$")


@dataclass(frozen=True)
class Sample:
    weight: int
    """Events since the last one: ns with a clock, cycles with a processor's counter."""
    event: str
    object: str
    symbol: str
    offset: int
    """From the symbol's beginning."""


def parse(text: str) -> Iterator[Sample]:
    """The lines of `perf script -F period,event,ip,sym,symoff,dso`."""
    for found in map(SAMPLE.match, text.splitlines()):
        if found:
            weight, event, symbol, offset, path = found.groups()
            yield Sample(int(weight), event.partition(":")[0], path, symbol, int(offset or "0", 16))


def record(server: Server, workload: Workload, seconds: int) -> list[Sample]:
    with Running(server, workload.name) as running, tempfile.NamedTemporaryFile() as data:
        with Perf("record", running.pids(), "-q", "-F", str(FREQUENCY), "-o", data.name):
            drive(running, workload, seconds)
        # Before the server ends: perf reads symbols from the files that are mapped there.
        command = ["perf", "script", "-i", data.name, "-F", "period,event,ip,sym,symoff,dso"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = list(parse(done.stdout))
    if not found:
        raise Unable(f"perf script: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no samples'}")
    return found


def by_symbol(samples: list[Sample]) -> dict[Symbol, int]:
    costs: dict[Symbol, int] = {}
    for sample in samples:
        key = (sample.object, sample.symbol)
        costs[key] = costs.get(key, 0) + sample.weight
    return costs


def run(server: Server, workload: Workload, seconds: int, cpu_us: float | None) -> list[Table]:
    """`cpu_us`: CPU time per request, when a run of its own has told it."""
    samples = record(server, workload, seconds)
    title = f"Samples (perf record, {len(samples):,} of {samples[0].event})"
    return tables(by_symbol(samples), "µs", cpu_us, title)
