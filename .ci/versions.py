"""make test-all: the tests with every CPython of this machine, one after the other, on both loops; then a table.

    python3 .ci/versions.py [--list]

Interpreters are looked for on the path and among those of pyenv. Each has its own virtual environment, .venv-3.X; the
compiled modules of all lie side by side, since their names carry the version. What a run printed stands in build/.
With --list, only what was found is said. The exit code is 1 when something fails or there is no interpreter at all.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
LOOPS = {"libev": "libev-cext", "libuv": "libuv-cffi"}  # name, and what GEVENT_LOOP calls it

# Usable is what can make a virtual environment (Debian's own python3 may not).
# "3.13", or "3.13t" without the global lock; nothing for what is no CPython
ASK = """
import ensurepip, sys, sysconfig
if sys.implementation.name == "cpython":
    print("%d.%d" % sys.version_info[:2] + "t" * bool(sysconfig.get_config_var("Py_GIL_DISABLED")))
"""


def directories(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where interpreters may be: the path, then pyenv's versions, the newest first."""
    yield from (Path(entry) for entry in environ.get("PATH", "").split(os.pathsep) if entry)
    pyenv = Path(environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    versions = (path for path in (pyenv / "versions").glob("*") if not path.is_symlink())
    yield from (path / "bin" for path in sorted(versions, key=_numbers, reverse=True))


def _numbers(path: Path) -> list[int]:
    return [int(part) if part.isdigit() else -1 for part in path.name.split(".")]


def interpreters(environ: Mapping[str, str]) -> dict[str, Path]:
    """The first interpreter of each version that runs; of those without the lock too, where there are any."""
    found: dict[str, Path] = {}
    names = [version + suffix for version in VERSIONS for suffix in ("", "t")]
    for directory in directories(environ):
        for name in names:
            path = directory / f"python{name}"
            if name not in found and os.access(path, os.X_OK) and _version(path) == name:
                found[name] = path
    return {name: found[name] for name in names if name in found}


def _version(path: Path) -> str:
    try:
        answer = subprocess.run([path, "-c", ASK], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()  # a shim for a version that is not there says nothing


def run(version: str, python: Path) -> list[tuple[str, str, bool]]:
    """Build and test with one interpreter: (loop, outcome in a few words, passed) for each loop."""
    venv = f".venv-{version}"
    (ROOT / "build").mkdir(exist_ok=True)
    built, _ = _logged(["make", "build", f"PYTHON={python}", f"VENV={venv}"], f"{version}-build", {})
    if not built:
        return [("-", f"does not build, see build/test-{version}-build.log", False)]
    results = []
    for loop, named in LOOPS.items():
        log = f"{version}-{loop}"
        passed, last = _logged([f"{venv}/bin/python", "-m", "pytest", "-q"], log, {"GEVENT_LOOP": named})
        results.append((loop, last if passed else f"{last}, see build/test-{log}.log", passed))
    return results


def _logged(command: list[str], name: str, environ: Mapping[str, str]) -> tuple[bool, str]:
    """Whether it succeeded, and the last line it printed; all of it goes to a file."""
    log = ROOT / "build" / f"test-{name}.log"
    with open(log, "w") as output:
        status = subprocess.call(
            command, cwd=ROOT, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    lines = log.read_text(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return status == 0, last.strip("= ") or f"exit code {status}"


def main() -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored under nohup, which the tests would inherit
    found = interpreters(os.environ)
    missing = [version for version in VERSIONS if version not in found]
    results = []
    for version, python in found.items():
        if "--list" in sys.argv[1:]:
            print(f"{version:6} {python}")
            continue
        print(f"{version}: {python}", flush=True)
        results += [(version, *result) for result in run(version, python)]
    for version, loop, outcome, _ in results:
        print(f"{version:6} {loop:6} {outcome}")
    if missing:
        print(f"not found: {', '.join(missing)}")
    return 0 if found and all(passed for *_, passed in results) else 1


if __name__ == "__main__":
    sys.exit(main())
