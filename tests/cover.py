"""`make coverage`: which lines the tests run, of the compiled modules and of the Python ones.

The compiled modules are built once more, in a copy of the tree under build/coverage, without optimisation and with the
C compiler's counters (--coverage). gcov then tells how often each line of C ran, and Cython's comments tell which line
of which .pyx or .pxd that was. Python is left to coverage.py, which prints both: compiled files enter it by a plugin of
a few lines.

    copy the tree -> build -> pytest under coverage.py -> gcov, `ran` -> report

A line counts as run when the first C statement made from it ran. What follows that in C is error handling, which would
make a line look unrun that merely never failed, and jumps past the statement, which would make one look run that never
began.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import coverage
from coverage.plugin import CoveragePlugin, FileReporter
from coverage.plugin_support import Plugins

from tests.instrumented import ROOT, build, environment

TREE = ROOT / "build" / "coverage"
LEAST = 95  # per cent, of the compiled modules and of the Python ones
FLAGS = ("-O0", "--coverage")
GCOV = os.environ.get("GCOV", "gcov")

Lines = dict[str, dict[int, int]]  # file -> line -> how often

# ---- from counters of C lines to lines of Cython

MARK = re.compile(r'/\* "(greenhttp/[\w/]+\.p(?:yx|xd))":(\d+)$')
ENDS = ("break;", "default: break;")  # of a branch of C's `switch`, which Cython makes of some `elif`
DECLARED = re.compile(r"\s*cdef (?:readonly|public) ")
EXIT = re.compile(r"/\*(?:normal|exception) exit:\*/|^\s*__pyx_L\d+_\w+: ?\{")
VERBATIM = re.compile(r'^cdef extern from [^\n]*:\n    """\n(.*?)^    """$', re.MULTILINE | re.DOTALL)


def ran(c: list[str], counts: dict[int, int]) -> Iterator[tuple[str, int, int]]:
    """(file, line, how often) from a C file of Cython's and gcov's counts of its lines, which are numbered from 1."""
    at: tuple[str, int] | None = None
    in_comment = waiting = in_finally = False
    for number, text in enumerate(c, 1):
        if found := MARK.search(text):
            at, in_comment, waiting, in_finally = (found[1], int(found[2])), True, True, False
        elif in_comment:
            in_comment = "*/" not in text
        elif text.startswith("}"):
            at = None  # the end of a C function, hence of the statement
        elif "/*finally:*/" in text:
            in_finally = True
        elif in_finally and EXIT.search(text):
            waiting = True  # the statement once more, for another way out of the `try`
        elif at and waiting and number in counts and text.strip() not in ENDS:
            waiting = False
            yield *at, counts[number]


def ran_verbatim(source: str, c: list[str], counts: dict[int, int]) -> Iterator[tuple[int, int]]:
    """(line, how often) of the C that stands in a .pyx or .pxd itself and is handed through unchanged."""
    for block in VERBATIM.finditer(source):
        lines = block[1].splitlines()
        first = source.count("\n", 0, block.start(1)) + 1
        for start in range(len(c)):
            if c[start : start + len(lines)] == lines:
                for i in range(len(lines)):
                    if start + i + 1 in counts:
                        yield first + i, counts[start + i + 1]


def counted(notes: Path) -> dict[int, int]:
    """gcov's counts of one module's C file."""
    command = [GCOV, "--json-format", "--stdout", notes.name]
    done = subprocess.run(command, cwd=notes.parent, capture_output=True, text=True, check=True)
    counts: dict[int, int] = {}
    for file in json.loads(done.stdout)["files"]:
        if file["file"].endswith(notes.stem + ".c"):
            for line in file["lines"]:
                counts[line["line_number"]] = max(line["count"], counts.get(line["line_number"], 0))
    return counts


def compiled(tree: Path) -> Lines:
    """Every line of Cython that has code."""
    lines: Lines = {}

    def add(file: str, line: int, count: int) -> None:
        known = lines.setdefault(file, {})
        known[line] = max(count, known.get(line, 0))  # one line, much C: `finally`, and what is inline

    headers = [str(path.relative_to(tree)) for path in sorted(tree.glob("greenhttp/**/*.pxd"))]
    text = {file: (tree / file).read_text() for file in headers}
    for notes in sorted((tree / "build").rglob("*.gcno")):
        parts = notes.with_suffix("").parts
        module = Path(*parts[parts.index("greenhttp") :])
        source = str(module.with_suffix(".pyx"))
        text[source] = (tree / source).read_text()
        c = (tree / module).with_suffix(".c").read_text().splitlines()
        counts = counted(notes)
        for file, line, count in ran(c, counts):
            add(file, line, count)
        for file in (source, *headers):
            for line, count in ran_verbatim(text[file], c, counts):
                add(file, line, count)
    # Attributes are declarations: what reads them from Python is Cython's.
    return {
        file: kept
        for file, counts in lines.items()
        if (kept := {line: n for line, n in counts.items() if not DECLARED.match(text[file].splitlines()[line - 1])})
    }


# ---- the report


class Compiled(FileReporter):
    """What coverage.py asks about a compiled file."""

    def __init__(self, filename: str, lines: Iterable[int]):
        super().__init__(filename)
        self._lines = set(lines)

    def lines(self) -> set[int]:
        return self._lines

    def excluded_lines(self) -> set[int]:
        text = self.source().splitlines()
        return {number for number in self._lines if "# pragma: no cover" in text[number - 1]}


class Reports(CoveragePlugin):
    def __init__(self, lines: dict[str, list[int]]):
        self._lines = lines

    def file_reporter(self, filename: str) -> FileReporter:
        return Compiled(filename, self._lines[filename])


def coverage_init(registry: Plugins, options: dict[str, str]) -> None:
    """How coverage.py loads a plugin. It imports this module anew, so the lines come to it in a file."""
    registry.add_file_tracer(Reports(json.loads(Path(options["lines"]).read_text())))


def table(tree: Path, lines: Lines) -> bool:
    """Print the report, and write it as pages; whether there is enough of both.

    It is about the copy, and so about what was tested, whatever has changed meanwhile.
    """
    os.chdir(tree)  # names are printed from there
    where = {str(tree / file): counts for file, counts in lines.items()}
    kept = tree / "lines.json"
    kept.write_text(json.dumps({file: sorted(counts) for file, counts in where.items()}))
    report = coverage.Coverage()
    report.set_option("run:plugins", ["tests.cover"])
    report.set_option("tests.cover:lines", str(kept))
    report.combine()
    data = report.get_data()
    data.add_lines({file: {line for line, count in counts.items() if count} for file, counts in where.items()})
    data.add_file_tracers(dict.fromkeys(where, "tests.cover.Reports"))
    report.save()
    enough = True
    for kind, pattern in (("compiled", ["*.pyx", "*.pxd"]), ("Python", ["*.py"])):
        print(f"\n{kind} modules")
        share = report.report(include=pattern)
        if share < LEAST:
            print(f"{share:.1f} % of the lines of the {kind} modules were run; at least {LEAST} % are wanted")
            enough = False
    report.html_report(directory="html")
    print(f"\npages: {tree / 'html' / 'index.html'}")
    return enough


def main(arguments: list[str]) -> int:
    if not shutil.which(GCOV):
        print(f"make coverage: {GCOV} is missing; it comes with gcc. Another one: GCOV=gcov-13", file=sys.stderr)
        return 2
    build(TREE, FLAGS)
    for old in [*TREE.rglob("*.gcda"), *TREE.glob(".coverage*")]:
        old.unlink()
    run = [sys.executable, "-m", "coverage", "run", "-m", "pytest", *arguments]
    tests = subprocess.run(run, cwd=TREE, env=environment(TREE))
    enough = table(TREE, compiled(TREE))
    return 0 if enough and tests.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
