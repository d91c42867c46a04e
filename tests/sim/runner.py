"""Ordering worlds and getting verdicts."""

import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.sim import native

Verdict = dict[str, Any]
TOP = Path(__file__).parents[2]
NO_RANDOM_ADDRESSES = 0x0040000
STARTING = threading.Lock()  # numbers of descriptors are the process's
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def fixed_addresses() -> None:
    ctypes.CDLL(None).personality(NO_RANDOM_ADDRESSES)


class Zygote:
    """A process that makes worlds, one at a time.

    Arguments:
        python: the interpreter.
        top: the tree with greenhttp and tests.
        loop: "libev" or "libuv": gevent's own, over sockets of the system; "": the simulated ones.
        checked: memory is made by Python's debugging allocator, which sees what is written behind it.
        seconds: of the processor that a world may use.
    """

    def __init__(
        self, python: str = sys.executable, top: Path = TOP, loop: str = "", checked: bool = False, seconds: int = 30
    ) -> None:
        self.seconds = seconds
        world = str(native.library())
        # A sanitizer's runtime must be the first of all libraries: under `python -m tests.asan` it is there.
        preload = " ".join(filter(None, (os.environ.get("LD_PRELOAD"), world)))
        options = {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}
        self.environment = ENVIRONMENT | options | {"LD_PRELOAD": preload, "SIM_WORLD": world}
        if checked:
            self.environment["PYTHONMALLOC"] = "debug"
        if loop:
            self.environment["GEVENT_LOOP"] = {"libev": "libev-cext", "libuv": "libuv-cffi"}[loop]
        with STARTING:
            self._start(python, top)

    def _start(self, python: str, top: Path) -> None:
        orders, self.orders = os.pipe()
        self.verdicts, verdicts = os.pipe()
        self.file, self.output = os.memfd_create("report"), os.memfd_create("output")
        # Numbers 3 to 6 in the child, by way of numbers that are none of those.
        moved = [os.dup(fd) for fd in (orders, verdicts, self.file, self.output)]
        high = [os.dup2(fd, 100 + at) for at, fd in enumerate(moved)]
        for fd in moved:
            os.close(fd)

        def prepare() -> None:
            fixed_addresses()
            for at, fd in enumerate(high):
                os.dup2(fd, 3 + at)

        self.process = subprocess.Popen(
            [python, "-m", "tests.sim.zygote"], cwd=top, preexec_fn=prepare, close_fds=False, stdin=subprocess.DEVNULL,
            env=self.environment,
        )  # fmt: skip
        for fd in (orders, verdicts, *high):
            os.close(fd)

    def run(
        self, seed: int, only: Sequence[str] | None = None, without: Sequence[str] = (), lines: int = 0, spoil: int = -1
    ) -> Verdict:
        """The verdict of one world; the last `lines` of its trace in "trace". `spoil`: that byte of the server's is
        changed on its way."""
        text = json.dumps({"seed": seed, "only": only, "without": without, "spoil": spoil}).encode()
        os.write(self.orders, struct.pack("III", len(text), self.seconds, lines) + text)
        answer = b""
        while len(answer) < 8:
            piece = os.read(self.verdicts, 8 - len(answer))
            if not piece:
                printed = os.pread(self.output, 1 << 16, 0).decode("utf-8", "replace")
                raise RuntimeError(f"the zygote has died: {self.process.wait()}\n{printed}")
            answer += piece
        status, milliseconds = struct.unpack("iI", answer)
        printed = os.pread(self.output, 1 << 16, 0).decode("utf-8", "replace")
        report = os.pread(self.file, os.fstat(self.file).st_size, 0)
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            kind = "a hang" if name in ("SIGPROF", "SIGALRM") else f"a crash: {name}"
            verdict = {"failure": kind, "story": printed[-4000:], "seed": seed, "hits": {}, "connections": 0}
        elif not report:
            verdict = {"failure": "no report", "story": printed[-4000:], "seed": seed, "hits": {}, "connections": 0}
        else:
            verdict = json.loads(report)
            if printed and not verdict["failure"]:
                verdict |= {"failure": "something was printed", "story": printed[-4000:]}
        verdict["milliseconds"] = milliseconds
        return verdict

    def close(self) -> None:
        os.close(self.orders)
        self.process.wait()
        for fd in (self.verdicts, self.file, self.output):
            os.close(fd)

    def __enter__(self) -> "Zygote":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Worlds:
    """Zygotes for all worlds, made when they are needed: one world in so many has its memory checked."""

    CHECKED = 6

    def __init__(self, python: str = sys.executable, top: Path = TOP, loop: str = "") -> None:
        self.options = python, top, loop
        self.zygotes: dict[bool, Zygote] = {}

    def run(self, seed: int, *args: Any, **options: Any) -> Verdict:
        """As Zygote.run."""
        checked = seed % self.CHECKED == 0
        if checked not in self.zygotes:
            self.zygotes[checked] = Zygote(*self.options, checked=checked)
        return self.zygotes[checked].run(seed, *args, **options)

    def __enter__(self) -> "Worlds":
        return self

    def __exit__(self, *_: object) -> None:
        for zygote in self.zygotes.values():
            zygote.close()
