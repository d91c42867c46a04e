"""Plots, as PNG and SVG side by side. Readable in grey and by the colour-blind: what differs in colour differs in
lightness, hatch, marker or line too, and labels stand at what they name. The same figures give the same bytes.

matplotlib is optional: without it each function writes nothing, and one line says once what to install.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import cycle
from pathlib import Path

from perf.tools.results import RESULTS

MISSING = "no plots: pip install matplotlib"
INK, GREY, PALE = "#222222", "#6b6b6b", "#c4c8cc"
BLUE = "#0072B2"
OTHERS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""With the blue, which is greenhttp's, from Masataka Okabe's and Kei Ito's "Color Universal Design"; its yellow is too
pale for lines on white."""
MARKERS = "osD^vPXhd<>p"
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
SETTINGS = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so text is as wide everywhere
    "font.size": 9,
    "svg.hashsalt": "greenhttp",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.6,
}
OURS = ("greenhttp", "greenhttp-native")
WIDTH = 7.6
"""Inches: a page's width, and that of a README."""
HEADER = 0.56
"""Inches for the title and the line under it."""


@cache
def available() -> bool:
    """Whether there is matplotlib; the first time that there is none, says so on stderr."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print(MISSING, file=sys.stderr)
        return False
    return True


def _draw(stem: str, directory: Path, size: tuple[float, float], texts: tuple[str, str], fill: Callable) -> list[Path]:
    """A figure with its title and subtitle, whose axes `fill(axes)` draws; the paths written."""
    if not available():
        return []
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=size, dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        figure.get_layout_engine().set(rect=(0, 0, 1, 1 - HEADER / size[1]), w_pad=0.12, h_pad=0.08)
        title, subtitle = texts
        edge = 0.12 / size[0]
        figure.text(edge, 1 - 0.12 / size[1], title, size=11.5, weight="bold", color=INK, va="top")
        figure.text(edge, 1 - 0.38 / size[1], subtitle, size=8, color=GREY, va="top")
        fill(figure.add_subplot())
        directory.mkdir(parents=True, exist_ok=True)
        paths = [directory / f"{stem}.png", directory / f"{stem}.svg"]
        figure.savefig(paths[0], metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None, "Creator": None})
    return paths


def _header(title: str, better: str | None, subtitle: str) -> tuple[str, str]:
    return f"{title} ({better} is better)" if better else title, subtitle


def number(value: float) -> str:
    """Three figures that count: 0.41, 9.31, 27.5, 169, 35,010."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _plain_ticks(axis, ticks: Sequence[float] | None = None) -> None:
    """1,000 and not 10^3."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    if ticks:
        axis.set_ticks(ticks)
        axis.set_minor_locator(NullLocator())
    elif axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def _rows(axes, labels: Sequence[str], emphasised: Iterable[str]) -> None:
    """The categories of a horizontal plot, the first one at the top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for label in axes.get_yticklabels():
        label.set_weight("bold" if label.get_text() in emphasised else "normal")


def bars(
    stem: str,
    title: str,
    unit: str,
    values: Mapping[str, float | str],
    *,
    subtitle: str = "",
    better: str | None = "lower",
    spans: Mapping[str, tuple[float, float]] | None = None,
    emphasised: Sequence[str] = OURS,
    reference: Sequence[str] = ("floor",),
    log: bool = False,
    directory: Path = RESULTS,
) -> list[Path]:
    """Horizontal bars in the order given, each with its figure at the end. A text instead of a figure, such as
    "void", is shown where the bar would be. `spans`: the smallest and the largest of the rounds, as a thin line.
    `reference` is hatched: no rival but a measure. `log`: a logarithmic axis, which the axis then says."""
    labels, spans = list(values), spans or {}

    def fill(axes) -> None:
        for place, (label, value) in enumerate(values.items()):
            if isinstance(value, str):
                axes.annotate(value, (0, place), (4, 0), ("axes fraction", "data"), "offset points",
                              va="center", size=8, style="italic", color=GREY)  # fmt: skip
                continue
            measure, ours = label in reference, label in emphasised
            axes.barh(place, value, 0.68, color="white" if measure else BLUE if ours else PALE, linewidth=0.8,
                      hatch="//////" if measure else None, edgecolor=GREY if measure else "none")  # fmt: skip
            low, high = spans.get(label, (value, value))
            if low < high:
                axes.plot((low, high), (place, place), color="#f0b060" if ours else INK, linewidth=1.1,
                          solid_capstyle="butt")  # fmt: skip
            axes.annotate(number(value), (max(high, value), place), (4, 0), textcoords="offset points", va="center",
                          size=8.5, weight="bold" if ours else "normal", color=INK)  # fmt: skip
        _rows(axes, labels, emphasised)
        if log:
            axes.set_xscale("log")
        _plain_ticks(axes.xaxis)
        axes.margins(x=0.1)
        axes.set_xlabel(f"{unit}, logarithmic" if log else unit)

    return _draw(stem, directory, (WIDTH, HEADER + 0.6 + 0.27 * len(labels)), _header(title, better, subtitle), fill)


def _apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Places for labels, near those `wanted` and in their order, at least `gap` from each other."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    groups: list[tuple[float, list[int]]] = []  # (centre, members); what would overlap is merged and spread evenly
    for i in order:
        centre, members = wanted[i], [i]
        while groups and centre - groups[-1][0] < gap * (len(members) + len(groups[-1][1])) / 2:
            members = groups.pop()[1] + members
            centre = sum(wanted[j] for j in members) / len(members)
        groups.append((centre, members))
    places = [0.0] * len(wanted)
    for centre, members in groups:
        for rank, i in enumerate(members):
            places[i] = centre + (rank - (len(members) - 1) / 2) * gap
    return places


def _colours(labels: Iterable[str], emphasised: Sequence[str], reference: Sequence[str]) -> dict[str, str]:
    """Blue for what is emphasised, black for the measure, the rest of the palette in turn for the others."""
    others = cycle(OTHERS)
    return {label: BLUE if label in emphasised else INK if label in reference else next(others) for label in labels}


def lines(
    stem: str,
    title: str,
    xlabel: str,
    ylabel: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    subtitle: str = "",
    better: str | None = "lower",
    emphasised: Sequence[str] = OURS,
    reference: Sequence[str] = ("floor",),
    xlog: bool = False,
    ylog: bool = False,
    height: float = 4.6,
    directory: Path = RESULTS,
) -> list[Path]:
    """One line for each series, named at its right end instead of in a legend. The ticks of x are the x measured.
    A series without points is left out. `height` in inches."""
    drawn = {label: sorted(points) for label, points in series.items() if points}
    colours = _colours(drawn, emphasised, reference)

    def fill(axes) -> None:
        for rank, (label, points) in enumerate(drawn.items()):
            ours = label in emphasised
            axes.plot(*zip(*points, strict=True), color=colours[label], linestyle=DASHES[rank % len(DASHES)],
                      marker=MARKERS[rank % len(MARKERS)], markersize=6, markeredgecolor="white", markeredgewidth=0.5,
                      linewidth=2.4 if ours else 1.3, zorder=3 if ours else 2)  # fmt: skip
        axes.set(xlabel=f"{xlabel}, logarithmic" if xlog else xlabel, xscale="log" if xlog else "linear",
                 ylabel=f"{ylabel}, logarithmic" if ylog else ylabel, yscale="log" if ylog else "linear")  # fmt: skip
        if not ylog:
            axes.set_ylim(bottom=0)
        axes.autoscale_view()
        axes.grid(axis="y", color="#e4e4e4", linewidth=0.7)
        axes.set_axisbelow(True)
        _plain_ticks(axes.xaxis, sorted({x for points in drawn.values() for x, _ in points}))
        _plain_ticks(axes.yaxis)
        # Where the lines end, as a share of the axes' height: the layout, which comes later, does not move it.
        ends = [axes.transLimits.transform(axes.transScale.transform(points[-1])) for points in drawn.values()]
        places = _apart([end[1] for end in ends], gap=0.165 / (height - HEADER - 0.6))
        for label, end, place in zip(drawn, ends, places, strict=True):
            axes.annotate(label, end, (1.03, place), "axes fraction", "axes fraction", va="center", size=8.5,
                          weight="bold" if label in emphasised else "normal", color=INK,
                          arrowprops={"arrowstyle": "-", "color": PALE, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 4},
                          annotation_clip=False)  # fmt: skip

    return _draw(stem, directory, (WIDTH, height), _header(title, better, subtitle), fill)


def percentiles(
    stem: str,
    title: str,
    unit: str,
    values: Mapping[str, Mapping[str, float] | str],
    *,
    subtitle: str = "",
    better: str | None = "lower",
    emphasised: Sequence[str] = OURS,
    log: bool = False,
    directory: Path = RESULTS,
) -> list[Path]:
    """A row for each label, a mark for each of its percentiles ("p50", "p99"; the same ones in all rows), filled for
    the first and hollow for the others. A text instead of percentiles is shown as it is."""
    labels = list(values)
    names = list(dict.fromkeys(name for found in values.values() if not isinstance(found, str) for name in found))

    def fill(axes) -> None:
        for place, (label, found) in enumerate(values.items()):
            if isinstance(found, str):
                axes.annotate(found, (0, place), (4, 0), ("axes fraction", "data"), "offset points", va="center",
                              size=8, style="italic", color=GREY)  # fmt: skip
                continue
            ours = label in emphasised
            color = BLUE if ours else INK
            axes.plot((min(found.values()), max(found.values())), (place, place), color=color, zorder=2,
                      linewidth=2.2 if ours else 1.0)  # fmt: skip
            for rank, name in enumerate(names):
                axes.plot(found[name], place, MARKERS[rank], color=color, zorder=3, markersize=6,
                          markerfacecolor=color if rank == 0 else "white")  # fmt: skip
            axes.annotate(" – ".join(number(found[name]) for name in names), (max(found.values()), place), (7, 0),
                          textcoords="offset points", va="center", size=8.5, color=INK,
                          weight="bold" if ours else "normal")  # fmt: skip
        _rows(axes, labels, emphasised)
        axes.set_xscale("log" if log else "linear")
        if not log:
            axes.set_xlim(left=0)
        _plain_ticks(axes.xaxis)
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.7)
        marks = ", ".join(f"{'filled' if rank == 0 else 'hollow'}: {name}" for rank, name in enumerate(names))
        axes.set_xlabel(f"{unit}{', logarithmic' if log else ''} ({marks})")

    return _draw(stem, directory, (WIDTH, HEADER + 0.6 + 0.27 * len(labels)), _header(title, better, subtitle), fill)
