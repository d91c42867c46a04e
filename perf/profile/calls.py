"""System calls per request, by strace. The connections are opened meanwhile: with few requests on many connections the
share of that is seen (accept4, epoll_ctl). strace slows the server, so no time is told."""

from perf.profile.tool import drive
from perf.tools.results import Table
from perf.tools.servers import Running, Server
from perf.tools.strace import Strace, by_kind, parse_counts
from perf.tools.workloads import Workload

PATIENCE = 30
"""Seconds that wrk waits for an answer of a server under strace."""


def table(counts: dict[str, int], requests: int) -> Table:
    kinds, _ = by_kind(counts)
    lines = [(kind, f"{calls / requests:.3f}", f"{calls:,}") for kind, calls in kinds.items()]
    lines += [
        (f"  {name}", f"{calls / requests:.3f}", f"{calls:,}")
        for name, calls in sorted(counts.items(), key=lambda each: -each[1])
    ]
    return Table("System calls (strace), by kind and by name", ("call", "per request", "in all"), lines)


def run(server: Server, workload: Workload, seconds: int) -> Table:
    with Running(server, workload.name) as running:
        with Strace(running.pids(), "-c") as counted:
            load = drive(running, workload, seconds, PATIENCE)
        return table(parse_counts(counted.text), load.requests)
