"""`--lines MODULE`: which lines of a compiled module the samples fall on.

Cython's own tracing is not used: it calls into the interpreter at each line and so measures itself. Instead the module
is built once more in build/profile, with the same optimisation and the C compiler's line numbers (-g), which change no
instruction; everything else is the build that is there. addr2line tells the C line of each sample, and Cython's
comments in the C file which line of the .pyx that was. What the compiler has inlined counts for the line it was made
from; helpers of Cython, for the line that calls them. An optimiser moves code: believe neighbours together.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from perf.profile.samples import Sample, record
from perf.reach.figure import Unable
from perf.tools.results import Table
from perf.tools.servers import TOP, Server
from perf.tools.workloads import Workload

BUILD = TOP / "build" / "profile"
SHOWN = 30
MADE = ("__pycache__", "build", "results")
"""Directories in perf/ and greenhttp/ that a server does not need."""
MARK = re.compile(r'/\* "(greenhttp/[\w/]+\.p(?:yx|xd))":(\d+)$')

Line = tuple[str, int]


def marks(c: str) -> dict[int, Line]:
    """Lines of a C file that Cython wrote, numbered from 1, that come from a line of the source."""
    found, at = {}, None
    for number, text in enumerate(c.splitlines(), 1):
        if mark := MARK.search(text):
            at = (mark[1], int(mark[2]))
        elif text.startswith("}"):
            at = None  # the end of a C function
        if at:
            found[number] = at
    return found


def frames(text: str) -> Iterator[list[int]]:
    """C lines of each address, the innermost of what was inlined first; from `addr2line -a -i`. 0: not known."""
    lines: list[int] | None = None
    for line in text.splitlines():
        if line.startswith("0x"):
            if lines is not None:
                yield lines
            lines = []
        elif lines is not None:
            place = re.search(r"\.c:(\d+)", line)
            lines.append(int(place[1]) if place else 0)
    if lines is not None:
        yield lines


def build(module: str) -> Path:
    """The tree in which this module has line numbers; built when it is not, or its source is newer."""
    tree, path = BUILD / module, Path(*module.split("."))
    if not (TOP / path).with_suffix(".pyx").exists():
        raise Unable(f"no compiled module {module}")

    def left_out(folder: str, names: list[str]) -> set[str]:
        made = {name for name in names if name.endswith((".c", ".html")) or name in MADE}
        if Path(folder) == (TOP / path).parent:  # the one that is built here
            made |= {name for name in names if name.startswith(f"{path.name}.") and name.endswith(".so")}
        return made

    for package in ("greenhttp", "perf"):
        shutil.copytree(TOP / package, tree / package, ignore=left_out, dirs_exist_ok=True)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy2(TOP / name, tree / name)
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=tree,
        env={**os.environ, "GREENHTTP_ONLY": module},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not list((tree / path.parent).glob(f"{path.name}.*.so")):
        raise Unable(f"{module} was not built: {done.stderr.strip()[-300:]}")
    return tree


def addresses(samples: list[Sample], shared_object: Path) -> Counter[int]:
    """Weight by address in this object. Samples whose function `nm` does not know are under -1."""
    named = subprocess.run(["nm", str(shared_object)], capture_output=True, text=True, check=True).stdout
    symbols = {found[2]: int(found[1], 16) for found in re.finditer(r"^([0-9a-f]+) [tTwW] (\S+)$", named, re.MULTILINE)}
    weights: Counter[int] = Counter()
    for sample in samples:
        if sample.object == str(shared_object):
            at = symbols.get(sample.symbol)
            weights[-1 if at is None else at + sample.offset] += sample.weight
    return weights


def weigh(weights: Counter[int], places: dict[int, list[int]], made_from: dict[int, Line]) -> Counter[Line | None]:
    """Weight by line of the source; None: not from a line."""
    lines: Counter[Line | None] = Counter()
    for address, weight in weights.items():
        lines[next((made_from[line] for line in places.get(address, ()) if line in made_from), None)] += weight
    return lines


def table(module: str, lines: Counter[Line | None], total: int, text: dict[str, list[str]]) -> Table:
    own = sum(lines.values())
    rows = []
    for line, weight in lines.most_common(SHOWN):
        source = "(entry, exit, and what has no line)" if line is None else text[line[0]][line[1] - 1].strip()
        place = "" if line is None else f"{line[0].removeprefix('greenhttp/')}:{line[1]}"
        rows.append((source[:80], place, f"{weight / own:.1%}", f"{weight / total:.2%}"))
    title = f"{module} by line: {own / total:.1%} of the samples"
    return Table(title, ("line", "at", "of the module", "of all"), rows)


def run(server: Server, workload: Workload, seconds: int, module: str) -> Table:
    for tool in ("addr2line", "nm"):
        if not shutil.which(tool):
            raise Unable(f"{tool} is missing: install the Debian package `binutils`")
    tree, path = build(module), Path(*module.split("."))
    samples = record(replace(server, directory=tree), workload, seconds)
    (shared_object,) = (tree / path.parent).glob(f"{path.name}.*.so")
    weights = addresses(samples, shared_object)
    known = [address for address in weights if address >= 0]
    if not known:
        raise Unable(f"no sample fell into {module}")
    command = ["addr2line", "-a", "-i", "-e", str(shared_object), *map(hex, known)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = weigh(
        weights,
        dict(zip(known, frames(told), strict=True)),
        marks((tree / path).with_suffix(".c").read_text()),
    )
    text = {line[0]: (tree / line[0]).read_text().splitlines() for line in lines if line}
    return table(module, lines, sum(sample.weight for sample in samples), text)
