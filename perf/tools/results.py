"""Where results are kept: NAME.json for programs, NAME.md for people, both with the machine, versions and command."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from perf.tools import machine

RESULTS = Path(__file__).parent.parent / "results"


@dataclass(frozen=True)
class Table:
    """A table as people read it: every cell is a text. The first column stands to the left, the others to the right."""

    title: str
    head: Sequence[str]
    lines: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Padded, so that it reads as a table without being rendered too. A cell that is longer than all figures of
        its column, such as the reason of a void row, runs on and widens nothing."""
        table = [[_escaped(cell) for cell in line] for line in (self.head, *self.lines)]
        widths = [_width(line[i] for line in table) for i in range(len(self.head))]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [_row(line, widths) for line in (table[0], rule, *table[1:])]
        return "\n".join([f"## {self.title}", "", *lines]) if self.title else "\n".join(lines)


LONG = 24
"""Characters from which on a cell is prose and not counted in its column's width."""


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def _width(cells: Iterable[str]) -> int:
    return max([3, *(len(cell) for cell in cells if len(cell) < LONG)])


def _row(line: Sequence[str], widths: list[int]) -> str:
    first = line[0].ljust(widths[0])
    return f"| {' | '.join([first, *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))])} |"


def command_line() -> str:
    return shlex.join(["python", "-m", "perf", *sys.argv[1:]])


def add_out(parser: argparse.ArgumentParser, name: str) -> None:
    """The option that says where results go; `name` is that of their files, without an ending."""
    parser.add_argument(
        "--out", metavar="DIR", default=str(RESULTS),
        help=f"where {name}.json, {name}.md and plots go, perf/results by default; - writes nothing",
    )  # fmt: skip


def prepare(directory: Path) -> None:
    """Make it, before something runs for an hour. Ends the program with one line where results cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"{directory}: {error.strerror}; results cannot be written there")
    if not os.access(directory, os.W_OK):
        sys.exit(f"{directory}: results cannot be written there")


def write(
    name: str,
    document: dict,
    tables: Sequence[Table],
    notes: Sequence[str],
    directory: Path = RESULTS,
    pictures: Sequence[str] = (),
) -> list[Path]:
    """Write NAME.json and NAME.md into `directory`, which is made if need be; the two paths.

    The JSON is `document` with `command`, `machine` and `notes` added (a `machine` in it is kept: it was looked up when
    the figures were made). `pictures` are stems of plots beside it (`perf/tools/plots.py`), which the Markdown shows.
    OSError where the directory cannot be written.
    """
    facts = document.get("machine") or machine.facts()
    whole = {"command": command_line(), "machine": facts, **document, "notes": list(notes)}
    directory.mkdir(parents=True, exist_ok=True)
    as_json, as_text = directory / f"{name}.json", directory / f"{name}.md"
    as_json.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    parts = [f"# {name}", f"    {whole['command']}", ", ".join(f"{key} {value}" for key, value in facts.items())]
    parts += [table.markdown() for table in tables]
    parts += ["\n".join(f"* {note}" for note in notes)] if notes else []
    parts += [f"![{stem}]({stem}.svg)" for stem in pictures]
    as_text.write_text("\n\n".join(parts) + "\n")
    return [as_json, as_text]
