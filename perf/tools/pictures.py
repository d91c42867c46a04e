"""The plots of `python -m perf peers`: which rows go into which. Each is drawn when its workloads were run."""

from pathlib import Path

from perf.tools import machine, plots
from perf.tools.report import Row
from perf.tools.window import Window
from perf.tools.workloads import BY_NAME

LONGEST = 95
"""Characters of a reason that fit beside a label."""


def _reason(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _of(rows: list[Row], workload: str) -> list[Row]:
    """Of one workload: the best first, void ones last."""
    return sorted((row for row in rows if row.workload == workload), key=lambda row: (bool(row.void), row.main))


def _bars(rows: list[Row]) -> dict[str, float | str]:
    return {row.server: _reason(f"void: {row.void}") if row.void else row.main for row in rows}


def _spans(workload: str, windows: dict[str, dict[str, list[Window]]]) -> dict[str, tuple[float, float]]:
    return {
        server: (min(window.main for window in each), max(window.main for window in each))
        for server, each in windows[workload].items()
        if each
    }


def draw(
    name: str, rows: list[Row], windows: dict[str, dict[str, list[Window]]], facts: dict[str, str], directory: Path
) -> list[str]:
    """Draw what there are rows for, as NAME-WHAT.png and .svg; the stems. `windows`: workload -> server -> rounds."""
    subtitle = machine.short(facts)
    same = {"subtitle": subtitle, "directory": directory}
    drawn = []
    if cpu := _of(rows, "hello-64"):
        title = "CPU per request: hello, 64 connections"
        drawn += plots.bars(f"{name}-cpu", title, "µs of CPU per request; thin lines: the range of the rounds",
                            _bars(cpu), spans=_spans("hello-64", windows), **same)  # fmt: skip
    hellos = [row for row in rows if row.workload.startswith("hello-") and not row.void]
    if len({row.workload for row in hellos}) > 1:
        series: dict[str, list[tuple[float, float]]] = {}
        for row in hellos:
            series.setdefault(row.server, []).append((BY_NAME[row.workload].connections, row.cpu_us))
        drawn += plots.lines(f"{name}-connections", "CPU per request against connections: hello", "connections",
                             "µs of CPU per request", series, xlog=True, ylog=True, **same)  # fmt: skip
    if waits := _of(rows, "wait-2000"):
        waits.sort(key=lambda row: (bool(row.void), row.p99_ms))
        values = {
            row.server: _reason(f"void: {row.void}") if row.void else {"p50": row.p50_ms, "p99": row.p99_ms}
            for row in waits
        }
        drawn += plots.percentiles(f"{name}-latency", "Latency: 2,000 connections, handlers that wait 50 ms", "ms",
                                   values, log=True, **same)  # fmt: skip
    if idle := _of(rows, "idle-10000"):
        drawn += plots.bars(f"{name}-memory", "Memory per idle connection, of 10,000", "resident bytes of the process",
                            _bars(idle), spans=_spans("idle-10000", windows), **same)  # fmt: skip
    return [path.stem for path in drawn if path.suffix == ".svg"]
