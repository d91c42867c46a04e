"""Findings as people and as machines read them, and the whole visit: load, look, probe, report.

The visit is made in a process of its own: an application may end it, crash it, or never return while it is imported,
and there must be somebody to say so. That process ends at once when all is said, whatever is left running there.
"""

import contextlib
import json
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from greenhttp.doctor.table import BLOCKED, FAILED, HEALTHY, PATIENCE
from greenhttp.errors import ConfigError
from greenhttp.program import boot
from greenhttp.settings.console import OUT, coloured, paint, say, show
from greenhttp.settings.values import Settings

if TYPE_CHECKING:
    from greenhttp.doctor.look import Finding

LOOK = 0.02  # seconds between two looks at the process
GRACE = 5.0  # seconds that it has to say itself where it stands still


def parse_request(text: str) -> tuple[str, str]:
    """`GET /path` or `/path`. Raises ConfigError."""
    method, _, target = text.strip().rpartition(" ")
    if not target.startswith("/") or " " in method or not (text.isascii() and text.isprintable()):
        raise ConfigError(f"--request: {text!r} is not a request; give 'GET /path', with non-ASCII as %C3%A9")
    return method or "GET", target


class Stage:
    """What the visit is at, in memory that the process and whoever waits for it share."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 4096)

    def __call__(self, text: str) -> None:
        self._memory[:] = text.encode()[:4096].ljust(4096, b"\0")

    def __str__(self) -> str:
        return self._memory[:].rstrip(b"\0").decode(errors="replace")


def run(
    name: str, settings: Settings, file: str, requests: Sequence[str], as_json: bool, accepted: Sequence[str],
    failed: Callable[[Exception], int],
) -> int:  # fmt: skip
    """Examine the application. Returns the exit code. Raises ConfigError.

    Arguments:
        file: a Python file of settings, as for boot.run_file.
        requests: as `parse_request` takes them; without any, GET / below the root path.
        accepted: kinds or subjects of findings that do not count.
        failed: says why an application could not be examined, and gives the exit code.
    """
    asked = [parse_request(text) for text in requests or [f"GET {settings.root_path or ''}/"]]
    stage = Stage()
    stage("before it was loaded")
    pid = os.fork()
    if pid:
        return _wait(pid, stage, name)
    code = FAILED
    try:
        code = _visit(name, settings, file, asked, as_json, accepted, stage)
    except Exception as error:
        code = failed(error)
    except SystemExit as end:
        say(f"{name} called sys.exit({end.code!r}) {stage}", "red")
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # the application's, or nobody reads any more
                stream.flush()
        stage("")
        os._exit(code)


def _wait(pid: int, stage: Stage, name: str) -> int:
    """Until that process has ended. Returns the exit code; says what it could not say itself."""
    since, before, status = time.monotonic(), str(stage), 0
    try:
        while not (done := os.waitpid(pid, os.WNOHANG))[0]:
            time.sleep(LOOK)
            if (now := str(stage)) != before:
                since, before = time.monotonic(), now
            if now and time.monotonic() > since + PATIENCE + GRACE:  # C code that keeps the interpreter
                say(f"{name} does not return {now}, for {PATIENCE:g} s, from a place in C; giving up", "red")
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return BLOCKED
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    status = os.waitstatus_to_exitcode(done[1])
    if not str(stage):
        return status
    how = f"crashed ({signal.Signals(-status).name})" if status < 0 else f"ended the process (exit code {status})"
    say(f"{name} {how} {stage}", "red")
    return FAILED


def _visit(
    name: str, settings: Settings, file: str, asked: list[tuple[str, str]], as_json: bool, accepted: Sequence[str],
    stage: Stage,
) -> int:  # fmt: skip
    boot.configure(settings)
    from greenhttp.doctor.look import look, signals
    from greenhttp.doctor.probe import loading, probe
    from greenhttp.hosting.interface import STREAM

    before = signals()
    stage("while it was loaded")
    with loading(name, min(PATIENCE, settings.boot_timeout or PATIENCE), stage):
        boot.run_file(settings, file)
        server = boot.load(name, settings)
    stage("after it was loaded")
    used: set[str] = set()
    found = look(before, server)
    if server.interface != STREAM:
        answers, used = probe(server, asked, stage=stage)
        found += answers
        found += [finding for finding in look(before, server) if finding not in found]  # imported by requests
    stage("in the end")
    found = [_judged(finding, used, accepted) for finding in found]
    found.sort(key=lambda finding: not finding.blocks)
    blocking = sum(finding.blocks for finding in found)
    vain = [word for word in accepted if not any(word in (each.kind, each.subject) for each in found)]
    if as_json:
        show(json.dumps({"app": name, "requests": [" ".join(each) for each in asked], "blocking": blocking,
                         "findings": [finding.as_dict() for finding in found]}, indent=1) + "\n")  # fmt: skip
    else:
        on = coloured(OUT)
        for finding in found:
            mark = paint("blocks", "bold", "red", on=on) if finding.blocks else paint("note  ", "yellow", on=on)
            show(f"{mark}  {finding.what}\n        {paint(finding.advice, 'dim', on=on)}\n")
        tried = "" if server.interface == STREAM else f" (tried: {', '.join(' '.join(each) for each in asked)})"
        show(f"{name}: blocking: {blocking or 'nothing'}, notes: {len(found) - blocking}{tried}\n")
    if vain:
        say(f"--accept: nothing was found of {', '.join(vain)}", "yellow")
    return BLOCKED if blocking else HEALTHY


def _judged(finding: "Finding", offloaded: set[str], accepted: Sequence[str]) -> "Finding":
    """The same, or as a note: a driver that was called on real threads alone, and what is accepted."""
    if not finding.blocks:
        return finding
    if finding.kind == "package" and finding.subject in offloaded:
        return replace(finding, what=f"{finding.what}; the requests called it offloaded", blocks=False)
    if finding.kind in accepted or finding.subject in accepted:
        return replace(finding, what=f"{finding.what} (accepted)", blocks=False)
    return finding
