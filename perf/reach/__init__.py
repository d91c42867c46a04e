"""Scenarios: what a server reaches, each figure with the bound that it must keep. A module per scenario, each with
`run(server, say) -> list[Figure]`; `say(text)` tells what goes on."""

import argparse
import importlib
import sys

from perf.reach.figure import Unable
from perf.tools import servers
from perf.tools.progress import Progress

SCENARIOS = ("idle", "trickle", "heads", "handshakes", "slow_readers", "fairness", "syscalls", "gigabyte")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m perf reach", description="Scenarios with bounds.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=", ".join(name.replace("_", "-") for name in SCENARIOS)
    )
    parser.add_argument("--server", default="greenhttp", help=", ".join(servers.BY_NAME))
    options = parser.parse_args(arguments)
    names = [name.replace("-", "_") for name in options.names] or list(SCENARIOS)
    if unknown := [name for name in names if name not in SCENARIOS]:
        parser.error(f"no scenario {', '.join(unknown)}")
    if options.server not in servers.BY_NAME:
        parser.error(f"no server {options.server}")
    server = servers.BY_NAME[options.server]
    if line := servers.missing_line(server):
        print(line, file=sys.stderr)
        return 2
    failed = 0
    for name in names:
        title = name.replace("_", "-")
        progress = Progress(0)
        try:
            scenario = importlib.import_module(f"{__name__}.{name}")
            figures = scenario.run(
                server, lambda text, title=title, progress=progress: progress.say(f"{title}: {text}")
            )
        except (Unable, servers.DidNotStart) as reason:
            progress.clear()
            print(f"{title} ({server.name})\n  not measured: {reason}\n", flush=True)
            failed = 1
            continue
        progress.clear()
        print(f"{title} ({server.name})")
        for figure in figures:
            print(f"  {figure}")
            failed |= figure.passed is False
        print(flush=True)
    return failed
