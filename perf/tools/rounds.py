"""What comparisons have in common: who takes part, and rounds in turns."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from perf.tools.progress import Progress
from perf.tools.servers import Server, missing_line


def count(text: str) -> int:
    """The type of options that say how many, or how long."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def pick(names: str | None, known: list, what: str) -> list:
    """Those of `known` that the comma-separated `names` name, in that order; all without names. Ends the program with
    one line where there is no such `what`."""
    if not names:
        return known
    by_name = {each.name: each for each in known}
    if unknown := [name for name in names.split(",") if name not in by_name]:
        sys.exit(f"no {what} {', '.join(unknown)}; there are {', '.join(by_name)}")
    return [by_name[name] for name in names.split(",")]


def taking_part(chosen: list[Server]) -> list[Server]:
    """Those that can be started; of each other one a line on stderr says what to install."""
    for server in chosen:
        if line := missing_line(server):
            print(line, file=sys.stderr)
    return [server for server in chosen if not server.missing()]


def interleaved(
    name: str, chosen: list[Server], rounds: int, guess: float, measure: Callable[[Server], Any], progress: Progress
) -> dict[str, list]:
    """Server -> what `measure` brought in each round, in turns (A, B, C, A, B, C ...): a machine that slows down for a
    while slows all of them. Who was `void` once is not asked again, for its row is void already. `guess`: seconds each.
    """
    found: dict[str, list] = {server.name: [] for server in chosen}
    for number in range(1, rounds + 1):
        for server in chosen:
            if any(each.void for each in found[server.name]):
                progress.skip(1, guess)
                continue
            progress.step(f"{name}, round {number}/{rounds}, {server.name}", guess)
            found[server.name].append(measure(server))
    return found
