"""`python -m perf profile WORKLOAD`: where a server's microseconds go. Prints tables, writes nothing.

    counters.py      perf stat: CPU time, switches, faults, and what the processor counts, per request
    samples.py       perf record: functions by their own time, and by whose code they are (symbols.py)
    calls.py         strace: system calls per request
    instructions.py  --callgrind: instructions per request, which come out the same again
    lines.py         --lines MODULE: the lines of a compiled module that the samples fall on
    tool.py          `perf` attached to a server, and the load

Each step has a server process of its own, so that no tool is measured by another.
"""

import argparse
import sys
from collections.abc import Callable

from perf.profile import calls, counters, instructions, lines, samples, tool
from perf.reach.figure import Unable
from perf.tools import servers, strace, wrk
from perf.tools.progress import Progress
from perf.tools.report import titled
from perf.tools.results import Table
from perf.tools.workloads import BY_NAME


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m perf profile", description="Where the microseconds go.")
    parser.add_argument("workload", metavar="WORKLOAD", help=", ".join(BY_NAME))
    parser.add_argument("--server", default="greenhttp", help=", ".join(servers.BY_NAME))
    parser.add_argument("--seconds", type=int, default=3, help="of load in each step [3]")
    parser.add_argument("--callgrind", action="store_true", help="only instructions per request, by valgrind")
    parser.add_argument(
        "--lines", metavar="MODULE", help="only the lines of a compiled module, such as greenhttp.wire.head"
    )
    return parser


class Steps:
    """Runs one step after the other and prints its tables; a step that cannot be done is one line."""

    def __init__(self):
        self.failed, self._missing = False, set()

    def do(self, title: str, missing: str | None, step: Callable[[], list[Table]]) -> None:
        if missing:
            if missing not in self._missing:  # two steps need perf
                print(f"{missing}; left out", file=sys.stderr)
            self._missing.add(missing)
            return
        progress = Progress(0)
        progress.say(title)
        try:
            found = step()
        except (Unable, servers.DidNotStart, OSError) as reason:
            progress.clear()
            print(f"{title}: not measured: {reason}", file=sys.stderr)
            self.failed = True
            return
        progress.clear()
        for table in found:
            print(titled(table), flush=True)


def main(arguments: list[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.workload not in BY_NAME:
        parser.error(f"no workload {options.workload}; there are {', '.join(BY_NAME)}")
    if options.server not in servers.BY_NAME:
        parser.error(f"no server {options.server}; there are {', '.join(servers.BY_NAME)}")
    server, workload, seconds = servers.BY_NAME[options.server], BY_NAME[options.workload], options.seconds
    if not server.takes(workload):
        parser.error(f"{server.name} is not asked {workload.name}: it speaks {' and '.join(server.speaks)} here")
    if workload.name in server.cannot:
        parser.error(f"{server.name} is not asked {workload.name}: {server.cannot[workload.name]}")
    if reason := servers.missing_line(server) or (None if wrk.available() else wrk.MISSING):
        print(reason, file=sys.stderr)
        return 2
    no_perf = None if tool.available() else tool.MISSING
    steps = Steps()
    print(f"{server.name}, {workload.name}\n")
    if options.callgrind:
        no_valgrind = None if instructions.available() else instructions.MISSING
        steps.do("callgrind", no_valgrind, lambda: instructions.run(server, workload))
    if options.lines:
        steps.do("lines", no_perf, lambda: [lines.run(server, workload, seconds, options.lines)])
    if not options.callgrind and not options.lines:
        cpu_us: list[float | None] = [None]

        def count() -> list[Table]:
            table, cpu_us[0] = counters.run(server, workload, seconds)
            return [table]

        steps.do("perf stat", no_perf, count)
        steps.do("perf record", no_perf, lambda: samples.run(server, workload, seconds, cpu_us[0]))
        no_strace = None if strace.available() else strace.MISSING
        steps.do("strace", no_strace, lambda: [calls.run(server, workload, seconds)])
    return 1 if steps.failed else 0
