"""From outcomes of rounds to rows and cells: medians, and multiples of greenhttp's. Pure: no clock, no process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

REFERENCE = "greenhttp"


@dataclass(frozen=True)
class Figure:
    key: str
    title: str
    digits: int = 0
    compared: bool = False
    """Whether its multiple of greenhttp's is shown too."""


@dataclass(frozen=True)
class Outcome:
    """What one round has brought: figures, or why there are none that could be compared."""

    figures: dict[str, float] = field(default_factory=dict)
    void: str | None = None


@dataclass(frozen=True)
class Row:
    model: str
    figures: dict[str, float] = field(default_factory=dict)
    """Medians over the rounds."""
    ratios: dict[str, float] = field(default_factory=dict)
    """Multiples of greenhttp's medians of the same load."""
    spread: float = 0.0
    """(largest - smallest) / median of the first figure."""
    rounds: int = 0
    void: str | None = None


def row(model: str, outcomes: Sequence[Outcome], figures: Sequence[Figure]) -> Row:
    """One void round voids the row: what an architecture manages now and then it does not manage."""
    for outcome in outcomes:
        if outcome.void:
            return Row(model, rounds=len(outcomes), void=outcome.void)
    series = {each.key: [outcome.figures[each.key] for outcome in outcomes] for each in figures}
    medians = {key: median(values) for key, values in series.items()}
    first = figures[0].key
    spread = (max(series[first]) - min(series[first])) / medians[first] if medians[first] else 0.0
    return Row(model, medians, spread=spread, rounds=len(outcomes))


def with_ratios(rows: Sequence[Row], figures: Sequence[Figure]) -> list[Row]:
    """None has a ratio where greenhttp was not asked, or is void, or has a figure of 0."""
    ours: Mapping[str, float] = next((each.figures for each in rows if each.model == REFERENCE), {})
    keys = [each.key for each in figures if each.compared and ours.get(each.key)]
    return [
        replace(each, ratios={key: each.figures[key] / ours[key] for key in keys if key in each.figures})
        for each in rows
    ]


def head(figures: Sequence[Figure]) -> tuple[str, ...]:
    names = []
    for each in figures:
        names += [each.title, f"x {REFERENCE}"] if each.compared else [each.title]
    return ("model", *names, "spread")


def cells(row: Row, figures: Sequence[Figure]) -> tuple[str, ...]:
    if row.void:
        return (row.model, f"void: {row.void}", *[""] * (len(head(figures)) - 2))
    texts = []
    for each in figures:
        texts.append(f"{row.figures[each.key]:,.{each.digits}f}")
        if each.compared:
            texts.append(f"{row.ratios[each.key]:.2f}" if each.key in row.ratios else "–")
    return (row.model, *texts, f"{row.spread:.0%}")
