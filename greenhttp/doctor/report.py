"""Findings as people and as machines read them, and the whole visit: load, look, probe, report."""

import json
import sys
from collections.abc import Sequence

from greenhttp.doctor.table import BLOCKED, HEALTHY
from greenhttp.errors import ConfigError
from greenhttp.program import boot
from greenhttp.settings.console import colourful, paint
from greenhttp.settings.values import Settings


def parse_request(text: str) -> tuple[str, str]:
    """`GET /path` or `/path`. Raises ConfigError."""
    method, _, target = text.strip().rpartition(" ")
    if not target.startswith("/") or " " in method or not (text.isascii() and text.isprintable()):
        raise ConfigError(f"--request: {text!r} is not a request; give 'GET /path', with non-ASCII as %C3%A9")
    return method or "GET", target


def run(name: str, settings: Settings, file: str, requests: Sequence[str], as_json: bool) -> int:
    """Examine the application. Returns the exit code. Raises what boot.load raises, and ConfigError.

    Arguments:
        file: a Python file of settings, as for boot.run_file.
        requests: as `parse_request` takes them; without any, GET /.
    """
    asked = [parse_request(text) for text in requests or ["GET /"]]
    boot.configure(settings)
    from greenhttp.doctor.look import look, signals

    before = signals()
    boot.run_file(settings, file)
    server = boot.load(name, settings)
    from greenhttp.doctor.probe import probe
    from greenhttp.hosting.interface import STREAM

    found = look(before)
    if server.interface != STREAM:
        found += probe(server, asked)
        found += [finding for finding in look(before) if finding not in found]  # what the requests have imported
    found.sort(key=lambda finding: not finding.blocks)
    blocking = sum(finding.blocks for finding in found)
    if as_json:
        print(json.dumps({"app": name, "requests": [" ".join(each) for each in asked], "blocking": blocking,
                          "findings": [finding.as_dict() for finding in found]}, indent=1), flush=True)  # fmt: skip
    else:
        on = colourful(sys.stdout)
        for finding in found:
            mark = paint("blocks", "bold", "red", on=on) if finding.blocks else paint("note  ", "yellow", on=on)
            print(f"{mark}  {finding.what}\n        {paint(finding.advice, 'dim', on=on)}")
        tried = "" if server.interface == STREAM else f" (tried: {', '.join(' '.join(each) for each in asked)})"
        print(f"{name}: blocking: {blocking or 'nothing'}, notes: {len(found) - blocking}{tried}", flush=True)
    return BLOCKED if blocking else HEALTHY
