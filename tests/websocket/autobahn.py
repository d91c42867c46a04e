"""Autobahn's fuzzing client against an echo server: `make autobahn` runs all of it and writes the table of README.md.

    python -m tests.websocket.autobahn [--compression off|shared|takeover] [--cases 1.*,5.20]
    python -m tests.websocket.autobahn --server 'python their_echo.py {port}' --cases 1.*

Without options cases 1 to 10 are asked without compression, and 12 and 13 with takeover; only then is the table
written. With --server some other echo server is asked; {port} is where it must listen on 127.0.0.1. Ends with 1 where a
case is neither OK nor non-strict or informational, which are named, or was not run.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
WSTEST = ROOT / "build" / "autobahn" / "bin" / "wstest"
README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- autobahn: written by make autobahn -->\n", "<!-- autobahn: end -->\n"
AGENT = "it"
SECTIONS = {
    "1": "Framing",
    "2": "Pings and pongs",
    "3": "Reserved bits",
    "4": "Opcodes",
    "5": "Fragmentation",
    "6": "UTF-8",
    "7": "Closing",
    "9": "Limits and large messages",
    "10": "Automatic fragmentation",
    "12": "Compression, parameters left to the server",
    "13": "Compression, parameters asked for",
}
"""There are no sections 8 and 11."""
PLAIN = [f"{section}.*" for section in SECTIONS if int(section) <= 10]
COMPRESSED = ["12.*", "13.*"]
GOOD, TOLERATED = "OK", {"NON-STRICT": "non-strict", "INFORMATIONAL": "informational"}
PATIENCE = 30
"""Seconds for the server to listen."""


@dataclass(frozen=True)
class Case:
    """One case: how the server behaved, and how the connection was closed, in Autobahn's words."""

    number: str
    compression: str
    behaviour: str
    closing: str

    @property
    def section(self) -> str:
        return self.number.split(".")[0]

    @property
    def tolerated(self) -> str | None:
        """`non-strict` or `informational`; None where it is plainly OK, or failed."""
        return None if self.failed else TOLERATED.get(self.behaviour)

    @property
    def failed(self) -> bool:
        return self.behaviour not in (GOOD, *TOLERATED) or self.closing not in (GOOD, "INFORMATIONAL")


def cases_of(output: str) -> list[str]:
    """The numbers of the cases that the client is about to run, from the line where it says so."""
    for line in output.splitlines():
        if line.startswith("Cases = "):
            return list(ast.literal_eval(line.removeprefix("Cases = ")))
    raise ValueError(f"wstest did not say which cases it runs: {output.strip()[-500:] or 'no output'}")


def read(asked: Iterable[str], index: dict[str, dict[str, str]], compression: str) -> list[Case]:
    """Its verdicts; a case that was asked and is not in the index was not run."""
    missing = {"behavior": "NOT RUN", "behaviorClose": "NOT RUN"}
    found = {number: index.get(number, missing) for number in asked}
    return [Case(number, compression, it["behavior"], it["behaviorClose"]) for number, it in found.items()]


def _named(cases: list[Case], words: bool = False) -> str:
    text = ", ".join(f"{case.number} ({case.behaviour} / {case.closing})" if words else case.number for case in cases)
    return f"{len(cases)}: {text}" if cases else "0"


def table(cases: list[Case]) -> str:
    lines = ["| section | compression | cases | OK | non-strict | informational | failed |"]
    lines.append("|---|---|--:|--:|---|---|---|")
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.section, case.compression), []).append(case)
    for (section, compression), group in groups.items():
        kinds = {kind: [case for case in group if case.tolerated == kind] for kind in TOLERATED.values()}
        failed = [case for case in group if case.failed]
        right = len(group) - len(failed) - sum(map(len, kinds.values()))
        cells = [f"{section} {SECTIONS.get(section, '')}".strip(), compression, str(len(group)), str(right)]
        cells += [*map(_named, kinds.values()), _named(failed, words=True)]
        lines.append(f"| {' | '.join(cells)} |")
    failures, tolerated = sum(case.failed for case in cases), sum(case.tolerated is not None for case in cases)
    right = len(cases) - failures - tolerated
    non_strict = sum(case.tolerated == "non-strict" for case in cases)
    lines.append(f"| all | | {len(cases)} | {right} | {non_strict} | {tolerated - non_strict} | {failures} |")
    return "\n".join(lines) + "\n"


def put(document: str, text: str) -> str:
    """The document with `text` between its two marks."""
    before, _, rest = document.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"no place for the table: {BEGIN.strip()} and {END.strip()} are missing")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def own_server(compression: str, style: str) -> str:
    # A message of 16 MiB in one frame is among the cases; the limit of frames is 1 MiB by default.
    options = f"--bind 127.0.0.1:{{port}} --websocket-compression {compression} --websocket-max-frame 16MiB"
    return f"{shlex.quote(sys.executable)} -m greenhttp tests.websocket.echo:{style} {options} --log-level error"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(command: str) -> Iterator[int]:
    """The server's port, once it listens. OSError where it does not."""
    port = _free_port()
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(shlex.split(command.format(port=port)), cwd=ROOT, env=environ, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield port
        if process.poll() is not None:
            raise OSError(f"the server ended with status {process.returncode}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ask(port: int, numbers: list[str], compression: str, progress: bool) -> list[Case]:
    """Run the fuzzing client. ValueError where it says nothing of its cases. Which one runs is told on stderr: on a
    terminal each, else the first of a group."""
    with tempfile.TemporaryDirectory() as where:
        spec = {
            "outdir": f"{where}/reports",
            "servers": [{"agent": AGENT, "url": f"ws://127.0.0.1:{port}"}],
            "cases": numbers,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        Path(where, "spec.json").write_text(json.dumps(spec))
        lines = []
        with subprocess.Popen(
            [WSTEST, "--mode", "fuzzingclient", "--spec", f"{where}/spec.json"], cwd=where, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as client, contextlib.ExitStack() as stack:  # fmt: skip
            assert client.stdout is not None
            stack.callback(client.kill)
            for line in client.stdout:
                lines.append(line)
                if not line.startswith("Running test case ID "):
                    continue
                number = line.split()[4]
                if progress:
                    print(f"\rcase {number:8}", end="", file=sys.stderr, flush=True)
                elif number.endswith(".1"):
                    print(f"{time.strftime('%H:%M:%S')} case {number}", file=sys.stderr, flush=True)
        if progress:
            print("\r" + " " * 16 + "\r", end="", file=sys.stderr)
        asked = cases_of("".join(lines))
        index = Path(where, "reports", "index.json")
        verdicts = json.loads(index.read_text()).get(AGENT, {}) if index.exists() else {}
        return read(asked, verdicts, compression)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.websocket.autobahn", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--compression", choices=["off", "shared", "takeover"])
    parser.add_argument("--cases", metavar="CASE,...", help="1.*, 5.20 ...")
    parser.add_argument("--style", choices=["handler", "on_message"], default="handler", help="of the echo server")
    parser.add_argument("--server", metavar="COMMAND", help="of another echo server")
    options = parser.parse_args(arguments)
    if not WSTEST.exists():
        print(f"{WSTEST.relative_to(ROOT)} is missing: run .ci/autobahn", file=sys.stderr)
        return 2
    whole = not (options.compression or options.cases or options.server)
    runs = {"off": PLAIN, "takeover": COMPRESSED}
    if not whole:
        compression = options.compression or "off"
        usual = PLAIN if compression == "off" and not options.server else PLAIN + COMPRESSED
        runs = {compression: options.cases.split(",") if options.cases else usual}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that server and client are stopped
    began, cases = time.monotonic(), []
    for compression, numbers in runs.items():
        with serving(options.server or own_server(compression, options.style)) as port:
            cases += ask(port, numbers, compression, sys.stderr.isatty())
    text = table(cases)
    print(f"{text}\n{len(cases)} cases in {time.monotonic() - began:.0f} s")
    failed = [case for case in cases if case.failed]
    for case in failed:
        print(f"failed: {case.number}, compression {case.compression}: {case.behaviour}, closing {case.closing}")
    if whole and options.style == "handler":
        README.write_text(put(README.read_text(), text))
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
