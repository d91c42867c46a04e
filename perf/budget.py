"""`python -m perf budget`: whether a request takes more instructions than it may.

perf/results/budget.json keeps steps, each with what callgrind counted at one commit (profile/instructions.py). The
first step is the baseline of all. Each issue that is done adds one, by `--record NAME`. So there are two limits: the
issue at hand may cost ISSUE per cent over the last step, and all issues together TOTAL per cent over the first one, so
that many small additions cannot add up unseen.

Ends with 0 within both limits, with 1 beyond one of them, with 2 where there is no verdict: a tool is missing, the
modules are older than their source, the figures are of another Python or another kind of machine, a server failed.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from perf.profile import instructions
from perf.reach.figure import Unable
from perf.tools import machine, servers, wrk
from perf.tools.progress import Progress
from perf.tools.report import titled
from perf.tools.results import RESULTS, Table
from perf.tools.workloads import BY_NAME

ISSUE = 2.0
"""Per cent more than the last step that one issue may cost. Two runs differ by some tenths at most: perf/README.md."""
TOTAL = 5.0
"""Per cent more than the first step that all issues together may cost."""
WORKLOADS = {"hello-64": 12, "browser-64": 12, "post-64": 12, "new-64": 12, "wait-2000": 28, "pipeline-64": 12}
"""What is counted, and about how many seconds it takes. One connection asks whatever the name says: the number of
connections is for wrk."""
BUDGET = RESULTS / "budget.json"
SAME = ("python", "machine")
"""What must be as it was for figures to be compared. What else differs is told beside them."""

COUNTS = 3
"""So many counts of each workload for a step, and of one that seems beyond a limit; the median counts. One figure that
happens to be low would be a limit for all that follows, one that happens to be high a false alarm."""

Figures = Mapping[str, float]
"""Workload -> instructions per request."""


@dataclass(frozen=True)
class Step:
    name: str
    commit: str
    """The last one that changed greenhttp/."""
    date: str
    environment: dict[str, str]
    instructions: dict[str, float]


# ---- what is kept


def load(path: Path = BUDGET) -> list[Step]:
    """The steps, oldest first; none where the file does not exist yet."""
    return [Step(**each) for each in json.loads(path.read_text())["steps"]] if path.exists() else []


def save(steps: Iterable[Step], path: Path = BUDGET) -> None:
    document = {"unit": "instructions per request (callgrind)", "steps": [asdict(step) for step in steps]}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def environment() -> dict[str, str]:
    """What decides how many instructions the same source takes: the interpreter, the compiler, gevent, the machine."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}",
        "python's compiler": platform.python_compiler(),
        "compiler": machine.said(compiler, "--version").partition("\n")[0],
        "libc": " ".join(platform.libc_ver()),
        **{package: metadata.version(package) for package in ("gevent", "greenlet", "Cython")},
        "valgrind": machine.said("valgrind", "--version"),
        "cpu": machine.facts()["cpu"],
    }


def commit() -> str:
    """The last commit that changed greenhttp/, `with changes` where there are some that are not committed."""
    name = machine.said("git", "log", "-1", "--format=%h", "--", "greenhttp") or "unknown"
    return name + (" with changes" if machine.said("git", "status", "--porcelain", "--", "greenhttp") else "")


# ---- what is compared


def change(base: float, now: float) -> float:
    """In per cent of `base`."""
    return (now - base) / base * 100


def over(steps: Sequence[Step], now: Figures) -> list[str]:
    """One line for each limit that a workload is beyond."""
    lines = []
    for name, figure in now.items():
        for step, limit in ((steps[-1], ISSUE), (steps[0], TOTAL)):
            if (more := change(step.instructions[name], figure)) > limit:
                lines.append(f"{name}: {more:+.2f} % since {step.name!r}, {limit:g} % are allowed")
    return lines


def table(steps: Sequence[Step], now: Figures) -> Table:
    first, last = steps[0], steps[-1]
    lines = []
    for name, figure in now.items():
        cells = [name, f"{last.instructions[name]:,.0f}", f"{figure:,.0f}"]
        for step, limit in ((last, ISSUE), (first, TOTAL)):
            cells += [f"{change(step.instructions[name], figure):+.2f} %", f"+{limit:g} %"]
        lines.append(cells)
    title = (
        f"Instructions per request. Baseline: {last.name} ({last.commit}); in all: since {first.name} ({first.commit})"
    )
    return Table(title, ("workload", "baseline", "now", "change", "allowed", "in all", "allowed"), lines)


def differs(step: Step, here: Mapping[str, str], names: Iterable[str]) -> list[str]:
    return [
        f"{name} was {step.environment.get(name)} at {step.name!r} and is {here[name]}"
        for name in names
        if step.environment.get(name) != here[name]
    ]


def outdated(root: Path) -> list[str]:
    """Compiled modules that are missing or older than their source: their figures would be those of other code."""
    found = []
    for source in sorted(root.rglob("*.pyx")):
        built = source.with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
        of = [path for path in (source, source.with_suffix(".pxd")) if path.exists()]
        if not built.exists() or any(path.stat().st_mtime > built.stat().st_mtime for path in of):
            found.append(str(source.relative_to(root.parent)))
    return found


# ---- the command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m perf budget", description="Compare instructions per request with perf/results/budget.json."
    )
    parser.add_argument("workloads", metavar="WORKLOAD", nargs="*", help=f"only these of {', '.join(WORKLOADS)}")
    parser.add_argument("--record", metavar="NAME", help="add what is counted as a step of this name, if within limits")
    return parser


def missing() -> str | None:
    """The line that says what to install or build, or None."""
    greenhttp = servers.BY_NAME["greenhttp"]
    if reason := servers.missing_line(greenhttp):
        return reason
    if not instructions.available():
        return instructions.MISSING
    if not wrk.available():
        return f"{wrk.MISSING}; it says what is sent"
    if old := outdated(servers.TOP / "greenhttp"):
        return f"not built since the last change: {', '.join(old)}; run make build"
    return None


def measure(names: Sequence[str], times: int) -> dict[str, float]:
    """Instructions per request of greenhttp, the median of so many counts. Raises what instructions.count does."""
    progress = Progress(len(names) * times, sum(WORKLOADS[name] for name in names) * times)
    figures = {}
    for name in names:
        counted = []
        try:
            for _ in range(times):
                progress.step(name, WORKLOADS[name])
                counted.append(instructions.count(servers.BY_NAME["greenhttp"], BY_NAME[name]).per_request)
        finally:
            progress.clear()
        figures[name] = round(statistics.median(counted), 1)
        progress.finished(name)
    return figures


def main(arguments: list[str], path: Path = BUDGET) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    names = options.workloads or list(WORKLOADS)
    if unknown := [name for name in names if name not in WORKLOADS]:
        parser.error(f"no budget for {', '.join(unknown)}; there is one for {', '.join(WORKLOADS)}")
    steps = load(path)
    if options.record and options.workloads:
        parser.error("a step has all workloads: --record NAME alone")
    if options.record in [step.name for step in steps]:
        parser.error(f"there is a step {options.record!r} already")
    if not steps and not options.record:
        return _no_verdict(f"{path} does not exist; --record NAME writes it")
    if reason := missing():
        return _no_verdict(reason)
    here = environment()
    ends = [steps[0], steps[-1]] if len(steps) > 1 else steps
    if other := [line for step in ends for line in differs(step, here, SAME)]:
        return _no_verdict(f"not comparable: {'; '.join(other)}")
    source = commit()
    if options.record and " " in source:
        return _no_verdict("greenhttp/ has changes that are not committed: a step belongs to a commit")
    for line in [line for step in ends for line in differs(step, here, here)]:
        print(f"note: {line}", file=sys.stderr)
    try:
        now = measure(names, COUNTS if options.record else 1)
        if steps and (again := [name for name in names if over(steps, {name: now[name]})]) and not options.record:
            now |= measure(again, COUNTS)
    except (Unable, servers.DidNotStart, OSError, subprocess.SubprocessError) as reason:
        return _no_verdict(f"not measured: {reason}")
    step = Step(options.record or "now", source, machine.today(), here, now)
    print(titled(table(steps or [step], now)), end="")
    if beyond := over(steps or [step], now):
        print("\n".join(["over the budget:", *beyond]), file=sys.stderr)
        return 1
    if options.record:
        save([*steps, step], path)
        print(f"{path}: added {step.name!r}")
    return 0


def _no_verdict(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 2
