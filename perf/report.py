"""From windows to rows to tables. Pure: no clock, no process."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median

from perf.results import Table
from perf.window import Window


@dataclass(frozen=True)
class Row:
    workload: str
    server: str
    cpu_us: float = 0.0
    spread: float = 0.0
    """(largest - smallest) / median of cpu_us over the rounds."""
    ratio: float | None = None
    """cpu_us over the floor's of the same workload and run."""
    per_second: float = 0.0
    p99_ms: float = 0.0
    rss_mb: float = 0.0
    rounds: int = 0
    errors: int = 0
    void: str | None = None


def row(workload: str, server: str, windows: list[Window]) -> Row:
    """The medians; one void window voids the row, since a server that fails now and then has no speed to compare."""
    for window in windows:
        if window.void:
            errors = sum(window.errors for window in windows)
            return Row(workload, server, void=window.void, rounds=len(windows), errors=errors)
    cpu = [window.cpu_us for window in windows]
    middle = median(cpu)
    return Row(
        workload,
        server,
        cpu_us=middle,
        spread=(max(cpu) - min(cpu)) / middle if middle else 0.0,
        per_second=median(window.per_second for window in windows),
        p99_ms=median(window.p99_ms for window in windows),
        rss_mb=median(window.rss_mb for window in windows),
        rounds=len(windows),
    )


def with_ratios(rows: list[Row]) -> list[Row]:
    floors = {row.workload: row.cpu_us for row in rows if row.server == "floor" and not row.void}
    return [
        row if row.void or not floors.get(row.workload) else replace(row, ratio=row.cpu_us / floors[row.workload])
        for row in rows
    ]


HEAD = ("server", "CPU µs/request", "spread", "x floor", "requests/s", "p99 ms", "peak RSS MB", "errors")


def cells(row: Row) -> tuple[str, ...]:
    if row.void:
        return (row.server, f"void: {row.void}", "", "", "", "", "", str(row.errors))
    return (
        row.server,
        f"{row.cpu_us:.2f}",
        f"{row.spread:.0%}",
        f"{row.ratio:.2f}" if row.ratio else "–",
        f"{row.per_second:,.0f}",
        f"{row.p99_ms:.1f}" if row.p99_ms else "–",
        f"{row.rss_mb:.0f}",
        "0",
    )


def columns(head: Iterable[str], lines: Iterable[tuple[str, ...]]) -> str:
    """Text columns: the first to the left, figures to the right. A void row's reason runs on over its empty cells."""
    table = [tuple(head), *lines]
    widths = [max(len(line[i]) for line in table if not _is_void(line) or i == 0) for i in range(len(table[0]))]
    text = []
    for line in table:
        if _is_void(line):
            text.append(f"{line[0].ljust(widths[0])}  {line[1]}")
        else:
            figures = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
            text.append("  ".join([line[0].ljust(widths[0]), *figures]))
    return "\n".join(text)


def titled(table: Table) -> str:
    return f"{table.title}\n{columns(table.head, map(tuple, table.lines))}\n"


def _is_void(line: tuple[str, ...]) -> bool:
    return len(line) > 1 and line[1].startswith("void")


def _by_workload(rows: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for each in rows:
        found.setdefault(each.workload, []).append(each)
    return found


def as_text(rows: list[Row], notes: list[str]) -> str:
    parts = [f"{name}\n{columns(HEAD, map(cells, group))}\n" for name, group in _by_workload(rows).items()]
    return "\n".join([*parts, *notes])


def as_markdown(rows: list[Row], notes: list[str], machine: dict[str, str]) -> str:
    lines = [f"Measured on: {', '.join(f'{name} {value}' for name, value in machine.items())}", ""]
    for name, group in _by_workload(rows).items():
        lines += [f"### {name}", "", f"| {' | '.join(HEAD)} |", "|---" + "|---:" * (len(HEAD) - 1) + "|"]
        lines += [f"| {' | '.join(cells(each))} |" for each in group]
        lines.append("")
    lines += [f"* {note}" for note in notes]
    return "\n".join(lines).rstrip() + "\n"
