"""`make asan`: the tests of the compiled parts under AddressSanitizer and UndefinedBehaviorSanitizer.

    python -m tests.asan                          build, then everything in COMMANDS
    python -m tests.asan -m pytest tests/green    build, then Python with these arguments, in the copy of the tree
    python -m tests.asan /tmp/fault.py 32

The compiled modules are built once more in build/asan (tests/instrumented.py). The Python that runs them is the
ordinary one with gcc's runtime loaded first (LD_PRELOAD), and so are its child processes. Python, gevent and greenlet
are not instrumented: their accesses are checked only where they go through libc (memcpy, strlen, free).

Each process writes what is found into build/asan/reports and ends there. So the reports decide, whatever a test made of
the death of a child. Ends with 0 when all commands ended with 0 and there is no report, with 1 if not, with 2 when
something is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from perf.profile.lines import marks
from tests.instrumented import ASAN_OPTIONS, ROOT, SANITIZE, build, environment

TREE = ROOT / "build" / "asan"
REPORTS = TREE / "reports"
FLAGS = (
    "-O1",
    "-g",
    *SANITIZE,
    # greenlet moves slices of the stack with memcpy, out of which guards around variables would make false reports.
    "--param=asan-stack=0",
    # Both runtimes export the function that sets the file of reports. If libubsan were shared, its call would set
    # libasan's file, and its own reports would go to stderr.
    "-static-libubsan",
    "-Wl,--exclude-libs,libubsan.a",
)
UNWIND = ("fast_unwind_on_fatal=1",)
"""By frame pointers, within the stack. The other way follows a green thread's stack behind its first frame, where the
bytes are another one's, and crashes in the middle of the report."""
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
TESTS = ("wire", "rfc", "contract", "fuzz", "process", "green", "offloading", "http", "hosting", "observe", "hostile")
MEMORY = "bounds the process's memory: freed memory is kept for a while here, so that its use is seen"
LEFT_OUT = {
    "tests/hostile/test_crowd.py::test_ten_thousand_half_heads_stay_within_limit_buffers": MEMORY,
    "tests/hostile/test_process.py::test_a_gigabyte_is_offered_and_memory_stays": MEMORY,
    "tests/hostile/test_process.py::test_a_million_chunks_of_one_byte_cost_no_memory": MEMORY,
    "tests/hostile/test_process.py::test_a_pipelining_flood_that_never_reads_is_no_longer_read": MEMORY,
    "tests/offloading/test_offload.py::test_a_process_that_dies_is_an_error_and_the_next_call_has_a_new_one"
    "[<lambda>-SIGSEGV|died]": "a process sends itself SIGSEGV, which is reported",
    "tests/green/test_spawn.py::test_what_a_write_in_vain_has_left_is_sent_while_the_handler_does_something_else[tcp]":
        "18 MB in pieces of 4 KB, a tick of TCP's timers for each: more than its 30 s where the machine is busy",
}  # fmt: skip
"""Test, or the beginning of its name -> why it does not run here."""
COMMANDS: list[Sequence[str]] = [
    [*PYTEST, *(f"tests/{name}" for name in TESTS), *(f"--deselect={name}" for name in LEFT_OUT)],
    ["-m", "tests.sim", "--minutes", "2"],
]
"""What Python is given, one process after the other. A command that preloads a library of its own puts it behind those
that are there: the sanitizer's comes first."""
SECONDS = 900
"""After which a command is ended; it is then a failure."""
FAULTS = """
#include <stdlib.h>
int behind_the_end(int n) { int *volatile a = malloc(n * sizeof *a); int x = a[n]; free(a); return x; }
int overflow(int n) { return n + 2147483647; }
"""
KNOWN = {"behind_the_end": "heap-buffer-overflow", "overflow": "signed integer overflow"}
"""Function in FAULTS -> what must be reported of it. If it is not, silence means nothing."""
SHOWN = 40
"""Lines of each report that are printed."""


def compiler() -> str:
    return (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]


def library(name: str) -> str | None:
    """The path of a runtime library of the compiler, or None where it is not installed."""
    try:
        said = subprocess.run([compiler(), f"-print-file-name={name}"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    path = Path(said.stdout.strip())
    if not path.is_absolute() or not path.exists():
        return None
    # On some systems a .so is no library (\\x7fELF) and no archive (!<arch>) but a text for the linker that names one.
    found = re.match(rb"[^\x7f!].*?(/\S+\.so\S*)", path.read_bytes()[:4096], re.DOTALL)
    return found[1].decode() if found else str(path.resolve())


def missing() -> str | None:
    """The line that says what to install, or None."""
    if not sys.platform.startswith("linux"):
        return "make asan: needs Linux and gcc; make fuzz has clang's sanitizers"
    if not shutil.which(compiler()):
        return f"make asan: {compiler()} is missing; on Debian and Ubuntu: apt-get install gcc"
    for name in ("libasan.so", "libubsan.a"):
        if not library(name):
            return (
                f"make asan: {compiler()} has no {name}; on Debian and Ubuntu: apt-get install gcc (it is in"
                " libgcc-12-dev for gcc-12); on Fedora: dnf install libasan libubsan-static. Another compiler: CC=gcc"
            )
    return None


def sanitized(tree: Path, reports: Path) -> dict[str, str]:
    """The environment in which a process finds the copy, loads the runtime first and reports into files."""
    asan = (
        *ASAN_OPTIONS,
        f"log_path={reports}/asan",  # each process its own file: a child's stderr may be read by a test, or by nobody
        "handle_segv=2",  # tests and pytest set handlers for crashes; this one stays
        "handle_sigbus=2",
        "handle_sigfpe=2",
        "allocator_may_return_null=1",  # tests ask for more than there is and expect MemoryError
        "quarantine_size_mb=64",  # of each process; some tests have many
        "malloc_context_size=10",
        "print_legend=0",
        *UNWIND,
    )
    return {
        **environment(tree),
        # libstdc++ is loaded early too: the runtime looks up what throws C++ exceptions at its start only. greenlet
        # throws them and is loaded later.
        "LD_PRELOAD": " ".join(filter(None, map(library, ("libasan.so", "libstdc++.so.6")))),
        "ASAN_OPTIONS": ":".join(asan),
        "UBSAN_OPTIONS": ":".join(["print_stacktrace=1", f"log_path={reports}/ubsan", *UNWIND]),
        "PYTHONMALLOC": "malloc",  # Python's own allocator hides an overrun of one object into the next
    }


def plain(tree: Path) -> list[str]:
    """Compiled modules in the tree that do not call the sanitizers."""
    calls = (b"__asan_report", b"__ubsan_handle")
    found = {path: path.read_bytes() for path in sorted((tree / "greenhttp").rglob("*.so"))}
    return [str(path.relative_to(tree)) for path, code in found.items() if not all(call in code for call in calls)]


def readable(report: str, tree: Path) -> list[str]:
    """The first lines of a report, with the line of the .pyx or .pxd behind each line of Cython's C."""
    made_from: dict[str, dict[int, tuple[str, int]]] = {}

    def place(found: re.Match[str]) -> str:
        if found[1] not in made_from:
            made_from[found[1]] = marks((tree / found[1]).read_text())
        source = made_from[found[1]].get(int(found[2]))
        return f"{found[0]} = {source[0]}:{source[1]}" if source else found[0]

    return [re.sub(r"\b(greenhttp/\S+\.c):(\d+)", place, line) for line in report.splitlines()[:SHOWN]]


def run(command: Sequence[str], tree: Path, reports: Path) -> tuple[int | str, list[Path]]:
    """Python's exit status, or why there is none, and the reports of all its processes."""
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    try:
        done = subprocess.run([sys.executable, *command], cwd=tree, env=sanitized(tree, reports), timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"not done after {SECONDS} s", sorted(reports.iterdir())
    return done.returncode, sorted(reports.iterdir())


def blind(tree: Path, reports: Path) -> str | None:
    """Which fault in FAULTS is not found, or None."""
    library = tree / "build" / "faults.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    build = [compiler(), "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", str(library), *FLAGS]
    subprocess.run(build, input=FAULTS.encode(), check=True)
    for name, kind in KNOWN.items():
        call = f"import ctypes, sys; ctypes.CDLL(sys.argv[1]).{name}(1)"
        # In a child process too, as the tests have some: its parent ends well, the report is there.
        for forked in ("", "import os; os.fork() and sys.exit(os.wait() and 0); "):
            status, found = run(["-c", f"import sys; {forked}{call}", str(library)], tree, reports)
            if len(found) != 1 or kind not in found[0].read_text() or bool(status) == bool(forked):
                return f"{kind}{' in a child process' if forked else ''}: status {status}, {len(found)} reports"
    return None


def main(arguments: list[str]) -> int:
    if reason := missing():
        print(reason, file=sys.stderr)
        return 2
    print("asan: the modules are compiled in build/asan, some three minutes; then the tests, some six", flush=True)
    try:
        build(TREE, FLAGS)
    except subprocess.CalledProcessError:
        print("make asan: the modules could not be compiled", file=sys.stderr)
        return 2
    if modules := plain(TREE):
        print(f"make asan: compiled without the sanitizers: {', '.join(modules)}", file=sys.stderr)
        return 2
    if reason := blind(TREE, REPORTS):
        print(f"make asan: a fault made for this is not found: {reason}", file=sys.stderr)
        return 2
    bad: list[str] = []
    for number, command in enumerate([arguments] if arguments else COMMANDS):
        reports = REPORTS / str(number)
        print("asan: python", *command, flush=True)
        status, found = run(command, TREE, reports)
        for report in found:
            print(f"\n{report.relative_to(ROOT)}", *readable(report.read_text(errors='replace'), TREE), sep="\n")
        if status or found:
            ended = f"status {status}" if isinstance(status, int) else status
            bad.append(f"FAILED: {ended}, {len(found)} reports: python {' '.join(command[:4])} ...")
    for line in bad or ["clean: every command ended with status 0, and nothing was reported"]:
        print(f"asan: {line}")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("make asan: interrupted", file=sys.stderr)
        sys.exit(130)
