"""`python -m perf hello`: the table. Rounds are interleaved (A, B, C, A, B, C ...), so that a machine that slows down
for a while slows all of them; medians are reported, and each server's multiple of the same run's floor."""

import argparse
import json
import socket
import sys
from pathlib import Path

from perf import machine, report, servers, wrk
from perf.progress import Progress
from perf.servers import Server
from perf.window import Window, measure
from perf.workloads import WORKLOADS, Workload

OVERHEAD = 1.5
"""Seconds to start, check and stop a server: only for the first guess of the time left."""


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


def _pick(names: str | None, known: list, what: str) -> list:
    if not names:
        return known
    by_name = {each.name: each for each in known}
    if unknown := [name for name in names.split(",") if name not in by_name]:
        sys.exit(f"no {what} {', '.join(unknown)}; there are {', '.join(by_name)}")
    return [by_name[name] for name in names.split(",")]


def _present(chosen: list[Server]) -> list[Server]:
    for server in chosen:
        if line := servers.missing_line(server):
            print(line, file=sys.stderr)
    return [server for server in chosen if not server.missing()]


def run_rounds(workload: Workload, chosen: list[Server], rounds: int, seconds: int, progress: Progress):
    """Server -> its windows. A server whose window was void is not asked again: its row is void already."""
    windows: dict[str, list[Window]] = {server.name: [] for server in chosen}
    for number in range(1, rounds + 1):
        for server in chosen:
            if any(window.void for window in windows[server.name]):
                progress.skip(1)
                continue
            what = f"{workload.name}, round {number}/{rounds}, {server.name}"
            progress.step(what, seconds * workload.stretch + OVERHEAD)
            windows[server.name].append(measure(server, workload, seconds))
    return windows


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m perf hello", description=__doc__)
    parser.add_argument("--only", metavar="WORKLOAD,...", help=", ".join(each.name for each in WORKLOADS))
    parser.add_argument("--servers", metavar="NAME,...", help=", ".join(each.name for each in servers.SERVERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="length of a window")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every window and every row")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if not wrk.available():
        print(wrk.MISSING, file=sys.stderr)
        return 2
    workloads = _pick(options.only, WORKLOADS, "workload")
    present = _present(_pick(options.servers, servers.SERVERS, "server"))
    if any(server.name == "greenhttp" for server in present):
        with servers.Running(servers.BY_NAME["greenhttp"]) as running:
            servers.floor_answer = answer_size(running.port)

    notes, rows, raw = [], [], {}
    rows_asked = sum(each.name not in server.cannot for each in workloads for server in present)
    progress = Progress(rows_asked * options.rounds)
    for workload in workloads:
        able = [server for server in present if workload.name not in server.cannot]
        notes += [
            f"{workload.name}: {server.name} not asked: {server.cannot[workload.name]}"
            for server in present
            if server not in able
        ]
        windows = run_rounds(workload, able, options.rounds, options.seconds, progress)
        raw[workload.name] = {name: [window.as_dict() for window in each] for name, each in windows.items()}
        group = report.with_ratios([report.row(workload.name, name, each) for name, each in windows.items()])
        rows += group
        progress.clear()
        print(report.as_text(group, []), flush=True)
    print("\n".join(notes))
    if options.json:
        facts = {"machine": machine.facts(), "rounds": options.rounds, "seconds": options.seconds, "notes": notes}
        facts |= {"rows": [vars(each) for each in rows], "windows": raw}
        options.json.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    if options.markdown:
        options.markdown.write_text(report.as_markdown(rows, notes, machine.facts()))
    return 0
