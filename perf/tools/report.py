"""From windows to rows to tables. Pure: no clock, no process."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median

from perf.tools.results import Table
from perf.tools.window import Window


@dataclass(frozen=True)
class Row:
    workload: str
    server: str
    cpu_us: float = 0.0
    idle_bytes: float | None = None
    """Resident bytes per idle connection, where that is the row's figure instead of CPU."""
    spread: float = 0.0
    """(largest - smallest) / median of the row's figure over the rounds."""
    ratio: float | None = None
    """The row's figure over that of `reference(workload)` in the same run ..."""
    ratio_ours: float | None = None
    """... and over that of greenhttp (WSGI)."""
    per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    rss_mb: float = 0.0
    rounds: int = 0
    errors: int = 0
    void: str | None = None

    @property
    def main(self) -> float:
        return self.cpu_us if self.idle_bytes is None else self.idle_bytes


def row(workload: str, server: str, windows: list[Window]) -> Row:
    """The medians; one void window voids the row, since a server that fails now and then has no speed to compare."""
    for window in windows:
        if window.void:
            errors = sum(window.errors for window in windows)
            return Row(workload, server, void=window.void, rounds=len(windows), errors=errors)
    main = [window.main for window in windows]
    middle = median(main)
    idle = windows[0].idle_bytes is not None
    return Row(
        workload,
        server,
        cpu_us=median(window.cpu_us for window in windows),
        idle_bytes=middle if idle else None,
        spread=(max(main) - min(main)) / middle if middle else 0.0,
        per_second=median(window.per_second for window in windows),
        p50_ms=median(window.p50_ms for window in windows),
        p99_ms=median(window.p99_ms for window in windows),
        rss_mb=median(window.rss_mb for window in windows),
        rounds=len(windows),
    )


def reference(workload: str) -> str:
    """Whom the rows of a workload are compared with: the least that the work can cost, or the best that there is. By
    name, for a table whose rows are all void has nothing else that tells."""
    return "nginx" if workload.startswith("tls-") else "floor"


def with_ratios(rows: list[Row]) -> list[Row]:
    """To the reference and to greenhttp of the same workload, where they have a figure."""

    good = [row for row in rows if not row.void]
    references = {row.workload: row.main for row in good if row.server == reference(row.workload)}
    ours = {row.workload: row.main for row in good if row.server == "greenhttp"}

    def over(row: Row, by_workload: dict[str, float]) -> float | None:
        against = by_workload.get(row.workload)
        return row.main / against if against and not row.void else None

    return [replace(row, ratio=over(row, references), ratio_ours=over(row, ours)) for row in rows]


HEAD = ("server", "CPU µs/request", "spread", "x {}", "x greenhttp", "requests/s", "p50 ms", "p99 ms", "peak RSS MB",
        "errors")  # fmt: skip
IDLE_HEAD = ("server", "bytes/connection", "spread", "x greenhttp", "RSS MB", "errors")


def _or_dash(value: float | None, digits: int) -> str:
    return f"{value:.{digits}f}" if value else "–"


def cells(row: Row, idle: bool = False) -> tuple[str, ...]:
    if row.void:
        return (row.server, f"void: {row.void}", *[""] * (len(IDLE_HEAD if idle else HEAD) - 3), str(row.errors))
    if row.idle_bytes is not None:
        return (row.server, f"{row.idle_bytes:,.0f}", f"{row.spread:.0%}", _or_dash(row.ratio_ours, 2),
                f"{row.rss_mb:.0f}", "0")  # fmt: skip
    return (
        row.server,
        f"{row.cpu_us:.2f}",
        f"{row.spread:.0%}",
        _or_dash(row.ratio, 2),
        _or_dash(row.ratio_ours, 2),
        f"{row.per_second:,.0f}",
        _or_dash(row.p50_ms, 1),
        _or_dash(row.p99_ms, 1),
        f"{row.rss_mb:.0f}",
        "0",
    )


def tables(rows: list[Row]) -> list[Table]:
    """One for each workload, in the order of the rows."""
    found: dict[str, list[Row]] = {}
    for each in rows:
        found.setdefault(each.workload, []).append(each)
    made = []
    for name, group in found.items():
        idle = "idle" in name  # by name, too
        head = IDLE_HEAD if idle else tuple(cell.format(reference(name)) for cell in HEAD)
        made.append(Table(name, head, [cells(each, idle) for each in group]))
    return made


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


def as_text(rows: list[Row]) -> str:
    return "\n".join(f"{table.title}\n{columns(table.head, table.lines)}\n" for table in tables(rows))
