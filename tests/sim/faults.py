"""Faults put back: does the simulation find them?

A fault is a name and texts that are replaced in named functions of the compiled core. Each is built in a copy of the
tree, only what has changed and what uses it, and worlds run there until one fails.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.sim.report import in_jobs
from tests.sim.runner import TOP

MOST = 3000  # worlds, for each fault


@dataclass(frozen=True)
class Change:
    """In `function` of `path`, below greenhttp/, `old` becomes `new`. A function is named `Class.name`, or `name`."""

    path: str
    function: str
    old: str
    new: str


@dataclass(frozen=True)
class Fault:
    """Attributes:
    number: that of the issue.
    name: what goes wrong.
    collector: only a collector that runs inside allocations can show it: CPython up to 3.11.
    """

    number: str
    name: str
    changes: tuple[Change, ...]
    collector: bool = False


POOL, NAP = "green/pool.pyx", "green/nap.pyx"
WAITING, STREAM = "green/waiting.pyx", "green/stream.pyx"
CONNECTION, BODY, WSGI = "http/connection.pyx", "http/body.pyx", "hosting/wsgi.pyx"
LINGERING, ARRIVAL = "green/lingering.pyx", "green/arrival.pyx"
TRANSPORT, TLS, SSLOBJECT = "green/transport.pyx", "green/tls.pyx", "green/sslobject.pyx"

FAULTS = (
    Fault(
        "1a",
        "a wake-up between two jobs is dropped",
        (
            Change(POOL, "Worker.switch", "if self.resting or", "if self.job is None or"),
            Change(POOL, "Worker.throw", "if self.resting or", "if self.job is None or"),
        ),
    ),
    Fault(
        "1b",
        "a new green thread is taken to rest",
        (Change(POOL, "Pool.begun", "if not self.idle or self.idle[len(self.idle) - 1] is not worker:", "if False:"),),
        collector=True,
    ),
    Fault(
        "2",
        "output that was given up does not end its connection",
        (
            Change(CONNECTION, "Connection.answer_requests", "if self.stream.lost:", "if False:"),
            Change(CONNECTION, "Connection.settle", "if self.stream.lost or self.stream.closed:", "if False:"),
            Change(STREAM, "Stream.flush_now", "if self.lost:", "if False:"),
        ),
    ),
    Fault(
        "3",
        "write() after the end of the answer goes out",
        (Change(WSGI, "WSGIDelivery.writable", " or self.ended:", ":"),),
    ),
    Fault(
        "4a",
        "who comes back from its turn does not look whose stream it is",
        (Change(WAITING, "Waiting.expel", "        self.tenure += 1\n        self.sealed = True\n", ""),),
    ),
    Fault(
        "4b",
        "a leftover has its output pushed after the request, and the connection hears of no readiness",
        (Change(WAITING, "Waiting.wait_write",
                "if self.wait is wait and not (self.closed or self.lost or self.sealed):",
                "if not self.closed:"),
         Change(STREAM, "Stream._push", " or self.sealed or ", " or ")),
    ),
    Fault(
        "5",
        "a sleep looks at its table before it arms the timer",
        (
            Change(NAP, "Naps.sleep", "        if self.count == self.room:\n            self.grow()\n", ""),
            Change(NAP, "Naps.sleep", "        while due < self.armed:\n",
                   "        if self.count == self.room:\n            self.grow()\n        while due < self.armed:\n"),
        ),
        collector=True,
    ),
    Fault(
        "6",
        "something is allocated between the system's taking bytes and striking them off",
        (Change(STREAM, "Stream.flush_now", "            self.sent(n)\n",
                "            gap = [[]]\n            self.sent(n)\n"),),
        collector=True,
    ),
    Fault(
        "7",
        "readline loses what it has taken when it is interrupted",
        (Change(BODY, "Body.readline", "                    self.put_back(pieces)\n", ""),),
    ),
    Fault(
        "11",
        "a flushing connection whose next head has been read is not told that it can write",
        (Change(CONNECTION, "Connection.ready", "self.state == State.HEAD and self.head is", "self.head is"),),
    ),
    Fault(
        "8",
        "a context that the application has assigned stays",
        (Change(POOL, "Worker.clean", "current_context() == <PyObject*>self.context and ", ""),),
    ),
    Fault(
        "17",
        "a client that goes on sending has no more time than a silent one",
        (Change(LINGERING, "Lingering.renew", "one.enter(self)", "pass"),),
    ),
    Fault(
        "18a",
        "what comes with a PROXY header is not looked at until more comes",
        (Change(ARRIVAL, "Arrival.hand_over", "arrivals.pool.submit(heir)", "self.stream.watch_read()"),),
    ),
    Fault(
        "18b",
        "a connection keeps the place that it had while it arrived",
        (Change(ARRIVAL, "Arrival.hand_over", "arrivals.count(-1)", "pass"),),
    ),
    Fault(
        "18c",
        "a PROXY header that has come too late is not looked at",
        (Change(ARRIVAL, "Arrival.expired", "self.proceed(True)", "self.close(False)"),),
    ),
    Fault(
        "18d",
        "an answer that cannot leave waits for a client that first sends everything",
        (Change(CONNECTION, "Connection.hears", "return self.rest is not None and", "return False and"),),
    ),
    Fault(
        "19a",
        "who waits for input is not told of what TLS has decrypted, or holds undecrypted, already",
        (Change(TRANSPORT, "SocketStream.watch_read", "self.layer is not None and self.layer.unfinished", "False"),),
    ),
    Fault(
        "19b",
        "what is encrypted and has not left does not count as output",
        (Change(TRANSPORT, "SocketStream.pending",
                "return size if self.layer is None else size + self.layer.held_back()", "return size"),
         Change(TRANSPORT, "SocketStream.settle",
                "return self.layer is None or self.layer.settle(self, self.finishing)",
                "return self.layer is None or self.layer.settle(self, self.finishing) or True")),
    ),
    Fault(
        "19c",
        "the goodbye of TLS is not said",
        (Change(TRANSPORT, "SocketStream.parting", "self.layer is not None and not self.layer.said", "False"),
         Change(TRANSPORT, "SocketStream.release", "                layer.part(self)\n", "                pass\n"),
         Change(TRANSPORT, "SocketStream.hang_up", "            self.layer.part(self)\n", "            pass\n")),
    ),
    Fault(
        "19d",
        "a layer is kept when its connection has ended",
        (Change(SSLOBJECT, "SimpleLayer.go_on_shaking", "                self.certificates = None\n",
                "                self.certificates = None\n                kept.append(self)\n"),
         Change(SSLOBJECT, "simple", "    made.held = made", "    global kept\n    kept = []\n    made.held = made")),
    ),
    Fault(
        "19e",
        "the end of a connection without a goodbye is taken for nothing",
        (Change(TLS, "DirectLayer.ended", "            if operation.ended:\n                self.over = CUT\n",
                "            pass\n"),
         Change(SSLOBJECT, "SimpleLayer.go_on_reading",
                "            if n == 0:\n                self.over = CUT\n                return 0\n",
                "            if n == 0:\n                return -1\n")),
    ),
    Fault(
        "19f",
        "a handshake whose bytes the system does not take at once does not go on",
        (Change(ARRIVAL, "Arrival.is_stuck", "and (<SocketStream>stream).layer.stuck", "and False"),),
    ),
    Fault(
        "19g",
        "a connection is closed with the client's goodbye unread",
        (Change(TRANSPORT, "SocketStream.release", "greenhttp_clear(self.fd) ", "pass "),),
    ),
    Fault(
        "19h",
        "the goodbye of TLS is said behind the last answer only if that takes no wait",
        (Change(CONNECTION, "Connection.settle", "parting = self.closing and self.stream.parting()",
                "parting = False"),),
    ),
)  # fmt: skip


def function_text(source: str, function: str) -> tuple[int, int]:
    """Where in a Cython source a function or method begins and ends. Raises ValueError unless there is exactly one."""
    owner, _, name = function.rpartition(".")
    start, end = 0, len(source)
    if owner:
        start, end = _block(source, rf"^(?:cdef )?class {owner}\b.*$", start, end)
    return _block(source, rf"^ *(?:cdef|def|cpdef)\b[^\n=(]*\b{name}\(.*$", start, end)


def _block(source: str, pattern: str, start: int, end: int) -> tuple[int, int]:
    found = [match for match in re.finditer(pattern, source, re.MULTILINE) if start <= match.start() < end]
    if len(found) != 1:
        raise ValueError(f"{pattern} is there {len(found)} times")
    head = found[0]
    indent = len(head.group()) - len(head.group().lstrip())
    after = re.compile(rf"^ {{0,{indent}}}[^ \n#)]", re.MULTILINE).search(source, head.end())
    return head.start(), min(after.start() if after else end, end)


def applied(source: str, change: Change) -> str:
    """The source with the change. Raises ValueError unless the old text is in the function exactly once."""
    start, end = function_text(source, change.function)
    body = source[start:end]
    if body.count(change.old) != 1:
        raise ValueError(f"{change.path}, {change.function}: {change.old!r} is there {body.count(change.old)} times")
    return source[:start] + body.replace(change.old, change.new) + source[end:]


def put_back(fault: Fault, top: Path) -> None:
    """Change the sources below `top`."""
    for change in fault.changes:
        path = top / "greenhttp" / change.path
        path.write_text(applied(path.read_text(), change))


def copied(into: Path, python: str) -> None:
    """A tree with greenhttp, built for this interpreter, and the tests."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "*.html")
    for name in ("greenhttp", "tests"):
        shutil.copytree(TOP / name, into / name, ignore=ignored)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TOP / name, into / name)
    build(into, python)


def build(top: Path, python: str) -> None:
    command = [python, "setup.py", "--quiet", "build_ext", "--inplace"]
    subprocess.run(command, cwd=top, check=True, stdout=subprocess.DEVNULL)


def prove(python: str, jobs: int, names: Iterable[str] = ()) -> int:
    """Build each fault, run worlds until one fails, and print a table. 1 if one was not found, 2 if it is not known."""
    wanted = set(names)
    if unknown := wanted - {fault.number for fault in FAULTS}:
        print(f"no fault {', '.join(sorted(unknown))}; there are {', '.join(fault.number for fault in FAULTS)}")
        return 2
    faults = [fault for fault in FAULTS if not wanted or fault.number in wanted]
    version = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
    old = tuple(map(int, version.stdout.split())) < (3, 12)
    base = TOP / "build" / "sim" / "proof"
    copied(base / "whole", python)
    missed = 0
    print(f"{'fault':6} {'worlds':>7} {'connections':>12}  found as")
    for fault in faults:
        top = base / f"fault-{fault.number}"
        shutil.rmtree(top, ignore_errors=True)
        shutil.copytree(base / "whole", top)
        put_back(fault, top)
        build(top, python)
        worlds = connections = 0
        found = "not found" if old or not fault.collector else "not found: only a collector inside allocations shows it"
        for verdict in in_jobs(jobs, 1, MOST, None, [], python, top):
            worlds += 1
            connections += verdict["connections"]
            if verdict["failure"]:
                found = f"{verdict['failure']} (seed {verdict['seed']})"
                break
        missed += found == "not found"
        print(f"{fault.number:6} {worlds:7} {connections:12}  {fault.name}: {found}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(prove(sys.executable, 1, sys.argv[1:]))
