"""`perf stat`: what the kernel and the processor count, per request."""

import tempfile

from perf.profile.tool import Perf, drive
from perf.tools.results import Table
from perf.tools.servers import Running, Server
from perf.tools.workloads import Workload

EVENTS = ("task-clock", "context-switches", "cpu-migrations", "page-faults", "cycles", "instructions", "branches",
          "branch-misses", "cache-misses")  # fmt: skip
UNITS = {"task-clock": 1000}
"""What a count is multiplied with: task-clock comes in ms and is shown in µs."""


def parse(text: str) -> dict[str, float | None]:
    """Event -> count, from `perf stat -x,`; None where the machine does not support it, as many virtual ones."""
    counts: dict[str, float | None] = {}
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and not line.startswith("#"):
            event = fields[2].partition(":")[0]
            counts[event] = None if fields[0].startswith("<") else float(fields[0])
    return counts


def table(counts: dict[str, float | None], requests: int) -> Table:
    lines = []
    for event, count in counts.items():
        title = f"{event}, µs" if event in UNITS else event
        if count is None:
            lines.append((title, "not supported", ""))
            continue
        count *= UNITS.get(event, 1)
        lines.append((title, f"{count / requests:,.3f}", f"{count:,.0f}"))
    if (cycles := counts.get("cycles")) and (instructions := counts.get("instructions")):
        lines.append(("instructions per cycle", f"{instructions / cycles:.2f}", ""))
    return Table("Counters (perf stat)", ("event", "per request", "in all"), lines)


def run(server: Server, workload: Workload, seconds: int) -> tuple[Table, float | None]:
    """The table, and CPU time per request in µs."""
    with Running(server, workload.name) as running, tempfile.NamedTemporaryFile("r") as output:
        with Perf("stat", running.pids(), "-x,", "-o", output.name, "-e", ",".join(EVENTS)):
            load = drive(running, workload, seconds)
        counts = parse(output.read())
    clock = counts.get("task-clock")
    return table(counts, load.requests), clock * 1000 / load.requests if clock else None
