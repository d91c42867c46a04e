"""`python -m perf offload`: what fast requests wait while heavy ones run, with and without `greenhttp.offload`.

One greenhttp on its core, four heavy clients that ask again as soon as they are answered, and an honest client
(perf/tools/honest.py) with 20 fast requests a second. The heavy work is the same each time; where it is done differs:

    alone       no heavy clients
    inline      in the green thread
    thread      offload(work)
    process     offload(work, process=True)

Two kinds of work: `hash`, scrypt, which lets other threads run; `python`, a loop in Python, which does not. All of it
runs on the server's one core, the processes too: so a process does not get faster here, it only waits beside.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from perf.tools import honest, machine, plots, results
from perf.tools.honest import percentile
from perf.tools.progress import Progress
from perf.tools.results import Table
from perf.tools.rounds import count
from perf.tools.servers import DidNotStart, Running, Server

CLIENTS = 4
WORK = ("hash", "python")
WAYS = ("inline", "thread", "process")
CASES = ("alone", *(f"{work}, {way}" for work in WORK for way in WAYS))
HEAD = ("heavy work, where", "p50 ms", "p99 ms", "max ms", "spread of p99", "failures", "heavy/s")
NOTES = (
    "ms of fast requests, 20 a second on 4 connections; medians of the rounds, which are interleaved",
    "at most 20 in a second of a window, fewer where they are slow: with so few, p99 is close to the longest of all",
    f"heavy/s: heavy requests answered in a second to {CLIENTS} clients; on one core, where processes take turns too",
    "spread: the smallest and the largest p99 of the rounds; other load on this machine is in it",
)
SERVER = Server(
    "greenhttp-offload",
    lambda port, _: [sys.executable, "-m", "greenhttp", "-b", f"127.0.0.1:{port}", "perf.offload.app:handle"],
    lambda: None,
)


def measure(case: str, seconds: float) -> dict[str, float]:
    """One window of a fresh server."""
    with Running(SERVER) as running:
        clients: list[subprocess.Popen] = []
        if case != "alone":
            path = "/" + case.replace(", ", "/")
            command = [sys.executable, "-m", "perf.offload.heavy", str(running.port), path, str(seconds + 1)]
            clients = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(CLIENTS)]
            for client in clients:  # each has been answered once: processes have been started
                assert client.stdout is not None and client.stdout.readline() == "ready\n"
        figures = honest.result(honest.start(running.port, seconds))
        heavy = sum(int(client.communicate(timeout=60)[0]) for client in clients)
    return {**figures, "heavy": heavy / (seconds + 1)}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m perf offload", description="Fast requests while heavy ones run.")
    parser.add_argument("--rounds", type=count, default=3)
    parser.add_argument("--seconds", type=count, default=4, help="length of a window")
    results.add_out(parser, "offload")
    options = parser.parse_args(arguments)
    if options.out != "-":
        results.prepare(Path(options.out))
    facts = machine.facts()
    guess = options.seconds + 3
    progress = Progress(len(CASES) * options.rounds, len(CASES) * options.rounds * guess)
    windows: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    try:
        for number in range(1, options.rounds + 1):
            for case in CASES:
                progress.step(f"{case}, round {number}/{options.rounds}", guess)
                windows[case].append(measure(case, options.seconds))
    except DidNotStart as fault:
        progress.clear()
        print(f"not measured: {fault}", file=sys.stderr)
        return 1
    progress.finished("offload")
    rows = {case: _medians(each) for case, each in windows.items()}
    lines = [_cells(case, rows[case], windows[case]) for case in CASES]
    table = Table("fast requests while heavy ones run", HEAD, lines)
    print(table.markdown(), flush=True)
    if options.out != "-":
        document = {"machine": facts, "rows": rows, "windows": windows}
        drawn = plots.percentiles(
            "offload", "Latency of fast requests while heavy ones run", "ms",
            {case: {"p50": row["p50"], "p99": row["p99"]} for case, row in rows.items()}, log=True,
            subtitle=machine.short(facts), emphasised=[case for case in CASES if case.endswith(("thread", "process"))],
            directory=Path(options.out),
        )  # fmt: skip
        stems = [path.stem for path in drawn if path.suffix == ".svg"]
        for path in results.write("offload", document, [table], NOTES, Path(options.out), stems):
            print(path)
    return 0


def _medians(windows: list[dict[str, float]]) -> dict[str, float]:
    return {name: percentile([window[name] for window in windows], 50) for name in windows[0]}


def _cells(case: str, row: dict[str, float], windows: list[dict[str, float]]) -> tuple[str, ...]:
    p99 = [window["p99"] for window in windows]
    spread = f"{plots.number(min(p99))} - {plots.number(max(p99))}"
    times = (plots.number(row[name]) for name in ("p50", "p99", "max"))
    heavy = plots.number(row["heavy"]) if case != "alone" else ""
    return case, *times, spread, str(int(sum(window["failures"] for window in windows))), heavy
