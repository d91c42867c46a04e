"""make test-all: the tests with every CPython of this machine, one after the other, on both loops; then a table.

    python3 .ci/versions.py [--list]

Interpreters are looked for on the path, among those of pyenv, and, by root, in whole systems: the directories in
build/pythons, where `make pythons` puts them, and those that PYTHON_SYSTEMS names (a path like PATH). Each has its own
virtual environment, .venv-3.X; the compiled modules of all lie side by side, since their names carry the version. A
system gets a copy of what is under version control, and runs with mounts that end with it. What a run printed is in
build/. With --list, only what was found is said. The exit code is 1 when something fails or there is no interpreter.
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")
COPY = "/greenhttp"  # in a system
LOOPS = {"libev": "libev-cext", "libuv": "libuv-cffi"}  # name, and what GEVENT_LOOP calls it

# Usable is what can make a virtual environment (Debian's own python3 may not).
# "3.13"; nothing for what is no CPython, or one without the global lock, on which greenhttp does not run
ASK = """
import ensurepip, sys
if sys.implementation.name == "cpython" and "t" not in sys.abiflags:
    print("%d.%d" % sys.version_info[:2])
"""


def directories(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where interpreters may be: the path, then pyenv's versions, the newest first."""
    yield from (Path(entry) for entry in environ.get("PATH", "").split(os.pathsep) if entry)
    pyenv = Path(environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    versions = (path for path in (pyenv / "versions").glob("*") if not path.is_symlink())
    yield from (path / "bin" for path in sorted(versions, key=_numbers, reverse=True))


def _numbers(path: Path) -> list[int]:
    return [int(part) if part.isdigit() else -1 for part in path.name.split(".")]


def systems(environ: Mapping[str, str]) -> Iterator[Path]:
    """Directories with a whole system in each; entering one is root's."""
    if os.geteuid():
        return
    places = [*sorted((ROOT / "build" / "pythons").glob("*")), *environ.get("PYTHON_SYSTEMS", "").split(os.pathsep)]
    yield from (Path(place).resolve() for place in places if place and Path(place, "usr", "bin").is_dir())


@dataclass(frozen=True)
class Interpreter:
    path: Path
    system: Path | None = None
    """The directory in which it is at `path`; None: here."""

    def __str__(self) -> str:
        return f"{self.path} in {self.system}" if self.system else str(self.path)

    def command(self, *words: str) -> list[str]:
        """What runs these words where the interpreter is, in the project's top directory."""
        if self.system is None:
            return list(words)
        there = shlex.quote(str(self.system))
        inside = f"cd {COPY} && exec {shlex.join(words)}"
        mounts = f"mount -t proc proc {there}/proc && mount --rbind /dev {there}/dev"
        entering = f"{mounts} && exec chroot {there} /bin/sh -c {shlex.quote(inside)}"
        return ["unshare", "--mount", "--fork", "sh", "-c", entering]

    def version(self) -> str:
        asking = [str(self.path), "-c", ASK]
        if self.system:
            asking = ["chroot", str(self.system), *asking]
        try:
            answer = subprocess.run(asking, capture_output=True, text=True, check=False, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return answer.stdout.strip()  # a shim for a version that is not there says nothing


def interpreters(environ: Mapping[str, str]) -> dict[str, Interpreter]:
    """The first interpreter of each version that runs."""
    found: dict[str, Interpreter] = {}
    candidates = [(directory, None) for directory in directories(environ)]
    for directory, system in [*candidates, *((Path("/usr/bin"), system) for system in systems(environ))]:
        for version in VERSIONS:
            one = Interpreter(directory / f"python{version}", system)
            there = system / one.path.relative_to("/") if system else one.path
            if version not in found and os.access(there, os.X_OK) and one.version() == version:
                found[version] = one
    return {version: found[version] for version in VERSIONS if version in found}


def copy_into(system: Path) -> None:
    """What is under version control, as it is now, to where the system finds it."""
    into = system / COPY.lstrip("/")
    into.mkdir(exist_ok=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    packed = subprocess.Popen(
        ["tar", "--create", "--null", "--files-from=-"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    unpacked = subprocess.Popen(["tar", "--extract", "--no-same-owner"], cwd=into, stdin=packed.stdout)
    assert packed.stdin and packed.stdout
    packed.stdout.close()
    packed.stdin.write(listed)
    packed.stdin.close()
    if packed.wait() or unpacked.wait():
        raise OSError(f"the files could not be copied into {into}")


def run(version: str, python: Interpreter) -> list[tuple[str, str, bool]]:
    """Build and test with one interpreter: (loop, outcome in a few words, passed) for each loop."""
    venv = f".venv-{version}"
    (ROOT / "build").mkdir(exist_ok=True)
    if python.system:
        copy_into(python.system)
    making = python.command("make", "packages", f"PYTHON={python.path}", f"VENV={venv}")
    built, _ = _logged(making, f"{version}-build", {})
    if not built:
        return [("-", f"does not build, see build/test-{version}-build.log", False)]
    results = []
    for loop, named in LOOPS.items():
        log = f"{version}-{loop}"
        testing = python.command("env", f"GEVENT_LOOP={named}", f"{venv}/bin/python", "-m", "pytest", "-q")
        passed, last = _logged(testing, log, {})
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
