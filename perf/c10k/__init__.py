"""`python -m perf c10k`: as many connections as the descriptor limit allows, held by many processes on both sides.

greenhttp runs one process; so there are N of them, each with a port of its own, and one client process for each, which
comes from addresses of its own, so that ephemeral ports do not run out.

    run.py     one run: what is opened, held, asked and closed, and the readings before and after
    tables.py  from the readings to figures and tables
    paper.py   from there to 1,000,000, on paper

The client process that holds connections is perf/tools/holder.py.
"""

import argparse
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from perf.c10k import tables
from perf.c10k.run import Run
from perf.tools import machine, plots, procfs, results, servers
from perf.tools.holder import Fault
from perf.tools.progress import Progress
from perf.tools.report import titled

SPARE = 1000
"""Descriptors of each process that are not for its connections."""
MOST = 20_000
"""Descriptors that a process is given although it might have more, unless `--connections` asks for them."""
PAIR_BYTES, PROCESS_BYTES = 20_000, 100_000_000
"""Beforehand, and generously: what a connection with both ends and its client's object, and what a process may take."""


def raise_limit(wanted: int) -> int:
    """Raise this process's descriptor limit, which those that it starts inherit, to `wanted` if it may; what it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return most if soft == resource.RLIM_INFINITY else soft


def too_much(workers: int, connections: int, available: int, files_left: int) -> str | None:
    """Why so many will not do on this machine, or None."""
    pairs = workers * connections
    needed = pairs * PAIR_BYTES + 2 * workers * PROCESS_BYTES
    if needed > available / 2:
        return f"{needed / 1e9:.1f} GB may be needed, more than half of the {available / 1e9:.1f} GB that are available"
    if 2 * pairs + 2 * SPARE > files_left:
        return f"{2 * pairs:,} descriptors are needed, fs.file-max leaves {files_left:,}"
    return None


def files_left() -> int:
    used, _, most = map(int, Path("/proc/sys/fs/file-nr").read_text().split())
    return most - used


def report(run: dict, say: Callable[[str], None], directory: Path | None) -> None:
    """Print the tables; with a directory, leave JSON, Markdown and the plot there."""
    found, notes = tables.all_of(run), tables.notes(run)
    for table in found:
        say(titled(table))
    say("\n".join(notes))
    if directory:
        figures = tables.figures(run)
        document = {"machine": machine.facts(), "figures": figures, "paper": tables.paper(run), "run": run}
        bars = {"server's processes": figures["connection_bytes"], "kernel, half of a pair": figures["pair_bytes"] / 2}
        subtitle = f"{run['held']:,} held connections, {run['workers']} server processes"
        plots.bars("c10k-memory", "Memory per idle connection", "bytes", bars, subtitle=subtitle,
                   emphasised=("server's processes",), directory=directory)  # fmt: skip
        pictures = ["c10k-memory"] if plots.available() else []
        for path in results.write("c10k", document, found, notes, directory, pictures):
            say(str(path))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m perf c10k", description="Connections up to the descriptor limit.")
    parser.add_argument("--workers", type=int, default=3, help="server processes, and as many client processes [3]")
    parser.add_argument("--connections", type=int, help="for each of them; default: the descriptor limit less 1,000")
    parser.add_argument("--seconds", type=float, default=5, help="that honest clients are watched for [5]")
    parser.add_argument("--server", default="greenhttp", help=", ".join(servers.BY_NAME))
    parser.add_argument("--results", type=Path, default=results.RESULTS, metavar="DIRECTORY", help="[perf/results]")
    parser.add_argument("--no-results", action="store_true", help="only print")
    options = parser.parse_args(arguments)
    if options.server not in servers.BY_NAME:
        parser.error(f"no server {options.server}")
    asked = options.connections
    limit = raise_limit(MOST if asked is None else asked + SPARE)
    connections = min(limit, MOST) - SPARE if asked is None else asked
    if options.workers < 1 or not 0 < connections <= limit - SPARE:
        parser.error(f"at least 1 process, and 1 to {limit - SPARE:,} connections each: RLIMIT_NOFILE is {limit:,}")
    server = servers.BY_NAME[options.server]
    reason = servers.missing_line(server) or too_much(
        options.workers, connections, procfs.meminfo()["MemAvailable"], files_left()
    )
    if reason:
        print(reason, file=sys.stderr)
        return 2
    if not options.no_results:
        results.prepare(options.results)
    progress = Progress(0)
    try:
        with Run(server, options.workers, connections, options.seconds, progress.say) as running:
            run = running.measure()
    except (Fault, servers.DidNotStart, procfs.ProcessGone) as fault:
        progress.clear()
        print(f"not measured: {fault}", file=sys.stderr)
        return 1
    progress.clear()
    faults = tables.faults(run)
    report(run, print, None if options.no_results or faults else options.results)
    if faults:
        print("\n".join(f"FAIL  {fault}" for fault in faults), "no results were written", sep="\n", file=sys.stderr)
    return 1 if faults else 0
