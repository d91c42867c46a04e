"""The rows of all loads as a text, as perf/results/models.json and .md, and as three plots."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perf.model_runs import rows
from perf.model_runs.loads import Load
from perf.model_runs.rows import Outcome, Row
from perf.tools import machine, plots, report, results

NAME = "models"
NOTES = (
    "Medians of interleaved rounds; `x greenhttp` is the multiple of greenhttp's median in the same run, `spread` "
    "(largest - smallest) / median of the row's first figure.",
    "A void row is a result: the architecture did not do what was asked, for the reason given.",
)
FAST = {50: "fast-50", 1000: "fast-1000", 10_000: "fast-10000"}
"""Connections -> load: the points of a line."""


def as_text(load: Load, group: Sequence[Row]) -> str:
    lines = [rows.cells(each, load.figures) for each in group]
    return f"{load.name}: {load.about}\n{report.columns(rows.head(load.figures), lines)}\n"


def table(load: Load, group: Sequence[Row]) -> results.Table:
    lines = [rows.cells(each, load.figures) for each in group]
    return results.Table(f"{load.name}: {load.about}", rows.head(load.figures), lines)


def rates(found: Mapping[str, Sequence[Row]]) -> dict[str, list[tuple[float, float]]]:
    """Model -> (connections, requests/s), without the loads in which it was void."""
    series: dict[str, list[tuple[float, float]]] = {}
    for connections, name in FAST.items():
        for each in found.get(name, ()):
            points = series.setdefault(each.model, [])
            if not each.void:
                points.append((connections, each.figures["per_second"]))
    return series


def values(group: Sequence[Row], key: str, unless_void: str) -> dict[str, float | str]:
    return {each.model: unless_void if each.void else each.figures[key] for each in group}


def pictures(found: Mapping[str, Sequence[Row]], facts: dict[str, str], directory: Path) -> list[str]:
    """Draw what there are rows for; the stems of the plots."""
    under, drawn = machine.short(facts), []
    if any(series := rates(found)):
        title = "Requests/s against connections, by architecture"
        drawn += plots.lines("models-rate", title, "connections", "requests/s", series, subtitle=under,
                             better="higher", xlog=True, directory=directory)  # fmt: skip
    if group := found.get("idle-10000"):
        drawn += plots.bars("models-memory", "Memory of an idle connection", "resident bytes of the process",
                            values(group, "bytes", "does not hold them"), subtitle=under,
                            directory=directory)  # fmt: skip
    if group := found.get("slow-500"):
        drawn += plots.bars("models-slow", "p99 of 50 fast clients beside 500 slow ones", "ms",
                            values(group, "p99_ms", "does not serve them all"), subtitle=under,
                            directory=directory)  # fmt: skip
    return [path.stem for path in drawn if path.suffix == ".svg"]


def write(
    found: Mapping[Load, Sequence[Row]],
    outcomes: Mapping[str, Mapping[str, Sequence[Outcome]]],
    how: Mapping[str, Any],
    directory: Path,
) -> list[Path]:
    """Write and draw; the paths of the JSON and the Markdown.

    Arguments:
        found: load -> its rows.
        outcomes: load's name -> model -> rounds.
        how: it was measured; `machine` (the facts) is in it.

    OSError where the directory cannot be written.
    """
    by_name = {load.name: group for load, group in found.items()}
    document = {
        **how,
        "loads": {load.name: load.about for load in found},
        "rows": {name: [asdict(each) for each in group] for name, group in by_name.items()},
        "outcomes": {
            name: {model: [asdict(each) for each in them] for model, them in models.items()}
            for name, models in outcomes.items()
        },
    }
    drawn = pictures(by_name, how["machine"], directory)
    return results.write(NAME, document, [table(*each) for each in found.items()], NOTES, directory, drawn)
