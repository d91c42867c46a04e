"""`make fuzz`: build with clang and its sanitizers, then let libFuzzer run over each target for its share of the time.

    python -m tests.fuzz [--minutes 5] [target ...]

Ends by itself, with status 1 if something was found. The inputs it collects stay in build/fuzz/corpus and are where the
next run begins; those that broke a property are in build/fuzz/found.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.instrumented import ASAN_OPTIONS, ROOT


class Target(NamedTuple):
    share: int  # of the time
    longest: int  # bytes of an input
    through_python: bool = False


TARGETS = {
    "head": Target(8, 400),
    "body": Target(4, 512),
    "host": Target(1, 64),
    "names": Target(1, 40),
    "forwarded": Target(1, 256, True),
    "proxy": Target(1, 400, True),
    "response": Target(2, 512, True),
    "connection": Target(4, 1500, True),
    "arrival": Target(2, 1500, True),
}
MISSING = (
    "make: fuzzing needs clang with its sanitizers and libFuzzer; on Debian and Ubuntu: apt-get install clang;"
    " on Fedora: dnf install clang compiler-rt; elsewhere say CLANG=/path/to/clang"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=5, help="over all targets together")
    parser.add_argument("targets", nargs="*", metavar="target", help=f"of {', '.join(TARGETS)}; all if none is named")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if not has_clang():
        print(MISSING, file=sys.stderr)
        return 2
    from tests.fuzz.build import BUILD, LIB, build

    program = build()
    chosen = {name: TARGETS[name] for name in options.targets or TARGETS}
    seconds = options.minutes * 60 / sum(target.share for target in chosen.values())
    print(f"{'target':12} {'executions':>12} {'a second':>9} {'edges':>6} {'memory':>8}")
    good = True
    for name, target in chosen.items():
        log = BUILD / f"{name}.log"
        with log.open("wb") as output:
            done = subprocess.run(
                [program, *arguments(name, target, BUILD, max(1, round(seconds * target.share)))],
                env=environment(name, target, LIB), cwd=ROOT, stdout=output, stderr=output, check=False,
            )  # fmt: skip
        print(row(name, log.read_text(errors="replace")), flush=True)
        if done.returncode:
            good = False
            print(f"{name}: something was found; {log.relative_to(ROOT)} says what, build/fuzz/found/ has the input")
    return 0 if good else 1


def has_clang() -> bool:
    """Whether there is a clang that can build a libFuzzer program."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "a.c")
        source.write_text("int LLVMFuzzerTestOneInput(const char *data, unsigned long size) { return 0; }\n")
        command = [os.environ.get("CLANG", "clang"), "-fsanitize=fuzzer,address,undefined", "-o", f"{folder}/a", source]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False


def arguments(name: str, target: Target, build: Path, seconds: int) -> list[str]:
    grown, found = build / "corpus" / name, build / "found"
    for folder in (grown, found):
        folder.mkdir(parents=True, exist_ok=True)
    return [
        "-reload=0", f"-max_total_time={seconds}", f"-max_len={target.longest}", "-timeout=20", "-print_final_stats=1",
        "-rss_limit_mb=1024",  # what leaks a few bytes per execution is found by this
        f"-dict={ROOT / 'tests/fuzz/http.dict'}", f"-artifact_prefix={found}/{name}-",
        str(grown), str(ROOT / "tests/fuzz/corpus" / name),
    ]  # fmt: skip


def environment(name: str, target: Target, lib: Path) -> dict[str, str]:
    paths = [str(lib), str(ROOT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    asan = [
        *ASAN_OPTIONS,
        "quarantine_size_mb=16",
        "malloc_context_size=6",  # frames kept for each allocation: more are slow
    ]
    return {
        **os.environ,
        "FUZZ_TARGET": name,
        "PYTHONHOME": sys.base_prefix,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
        # Python's own allocator hides an overrun of one object into the next; where the bytes are in the fuzzer's own
        # memory this would be for nothing, and slow.
        "PYTHONMALLOC": "malloc" if target.through_python else "pymalloc",
        "ASAN_OPTIONS": ":".join(asan),
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def row(name: str, log: str) -> str:
    def last(pattern: str) -> int:
        return int((re.findall(pattern, log) or [0])[-1])

    return (
        f"{name:12} {last(r'number_of_executed_units: (.*)'):12,} {last(r'average_exec_per_sec: +(.*)'):9,}"
        f" {last(r'cov: ([0-9]+)'):6,} {last(r'peak_rss_mb: +(.*)'):5} MB"
    )


if __name__ == "__main__":
    sys.exit(main())
