"""`python -m perf peers`: greenhttp beside others. Rounds are interleaved (A, B, C, A, B, C ...), so that a machine
that slows down a while slows all of them; medians are reported, and multiples of the floor and of greenhttp in the
same run."""

import argparse
import socket
import sys
from pathlib import Path

from perf.tools import machine, pictures, report, results, servers, wrk
from perf.tools.progress import Progress
from perf.tools.rounds import count, interleaved, pick, taking_part
from perf.tools.servers import Server
from perf.tools.window import Window, measure
from perf.tools.workloads import WORKLOADS, Workload

OVERHEAD = 1.5
"""Seconds to start, check and stop a server: only for the first guess of the time left."""
IDLE = 15
"""Seconds to open 10,000 connections one after the other and to ask on each twice: for that guess, too."""
IDLE_TLS = 30
"""The same over TLS."""
HELLO = "hello-64,hello-1000,hello-10000"
TLS = "tls-64,tls-new,tls-idle"


def answer_size(port: int) -> int:
    """Bytes of a whole hello answer, head and body, on a connection that is kept."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        received = b""
        while not received.endswith(b"hello, world\n"):
            piece = client.recv(4096)
            if not piece:
                break
            received += piece
        return len(received)


def _unfit(workload: Workload) -> str | None:
    """The one line that says why a workload cannot be measured here, or None."""
    if line := workload.missing():
        return line
    if workload.fresh and wrk.resumes(workload.script, workload.fresh):
        return f"{workload.name} is left out: wrk resumes sessions in spite of perf/wrk/fresh.c"
    return None


def _possible(chosen: list[Workload]) -> list[Workload]:
    lines = {workload.name: _unfit(workload) for workload in chosen}
    for line in filter(None, lines.values()):
        print(line, file=sys.stderr)
    return [workload for workload in chosen if not lines[workload.name]]


def guess(workload: Workload, seconds: int) -> float:
    if workload.idle:
        return OVERHEAD + (IDLE_TLS if workload.tls else IDLE)
    return OVERHEAD + seconds * workload.stretch


def run_rounds(
    workload: Workload, chosen: list[Server], rounds: int, seconds: int, progress: Progress
) -> dict[str, list[Window]]:
    """Server -> its windows."""
    expected = guess(workload, seconds)
    return interleaved(
        workload.name, chosen, rounds, expected, lambda server: measure(server, workload, seconds), progress
    )


def _options(command: str, only: str | None, arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m perf {command}", description=__doc__)
    parser.add_argument("--only", metavar="WORKLOAD,...", default=only, help=", ".join(each.name for each in WORKLOADS))
    parser.add_argument("--servers", metavar="NAME,...", help=", ".join(each.name for each in servers.SERVERS))
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--seconds", type=count, default=3, help="length of a window")
    results.add_out(parser, command)
    return parser.parse_args(arguments)


def main(arguments: list[str], command: str = "peers", only: str | None = None) -> int:
    options = _options(command, only, arguments)
    if not wrk.available():
        print(wrk.MISSING, file=sys.stderr)
        return 2
    if options.out != "-":
        results.prepare(Path(options.out))
    workloads = _possible(pick(options.only, WORKLOADS, "workload"))
    present = taking_part(pick(options.servers, servers.SERVERS, "server"))
    facts = machine.facts()  # before the run: the day on which it began, the sources that the servers loaded
    if any(server.name == "greenhttp" for server in present):
        with servers.Running(servers.BY_NAME["greenhttp"]) as running:
            servers.floor_answer = answer_size(running.port)

    asked = {each.name: [server for server in present if server.takes(each)] for each in workloads}
    able = {name: [server for server in each if name not in server.cannot] for name, each in asked.items()}
    notes = [
        f"{name}: {server.name} not asked: {server.cannot[name]}"
        for name, each in asked.items()
        for server in each
        if name in server.cannot
    ]
    steps = {each.name: len(able[each.name]) * options.rounds for each in workloads}
    seconds = sum(steps[each.name] * guess(each, options.seconds) for each in workloads)
    progress = Progress(sum(steps.values()), seconds)
    rows, windows = [], {}
    for workload in (each for each in workloads if able[each.name]):
        found = run_rounds(workload, able[workload.name], options.rounds, options.seconds, progress)
        windows[workload.name] = found
        group = report.with_ratios([report.row(workload.name, name, each) for name, each in found.items()])
        rows += group
        progress.finished(workload.name)
        print(report.as_text(group), flush=True)
    print("\n".join(notes))
    if options.out != "-":
        document = {"machine": facts, "rounds": options.rounds, "seconds": options.seconds}
        document["rows"] = [vars(each) for each in rows]
        document["windows"] = {
            workload: {name: [window.as_dict() for window in each] for name, each in found.items()}
            for workload, found in windows.items()
        }
        directory = Path(options.out)
        drawn = pictures.draw(command, rows, windows, facts, directory)
        results.write(command, document, report.tables(rows), notes, directory, drawn)
    return 0


def tls(arguments: list[str]) -> int:
    """The short form: the workloads over TLS alone."""
    return main(arguments, "tls", TLS)


def hello(arguments: list[str]) -> int:
    """The short form: the hello workloads alone."""
    return main(arguments, "hello", HELLO)
