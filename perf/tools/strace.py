"""Counting a server's system calls with strace, and telling them apart by what they are for."""

import re
import shutil
import signal
import subprocess
import tempfile
import time

from perf import CLIENT_CORE
from perf.reach.figure import Unable

MISSING = "strace is missing: install the Debian package `strace`"
KINDS = {
    "receive": {"recvfrom", "recvmsg", "read", "readv", "recvmmsg"},
    "send": {"sendto", "sendmsg", "write", "writev", "sendfile", "sendmmsg"},
    "epoll_ctl": {"epoll_ctl"},
    "wait": {"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6"},
}
IGNORED = {"restart_syscall"}  # what attaching strace does to a sleeping call


def parse_counts(text: str) -> dict[str, int]:
    """Calls by name, from the table of `strace -c`. Its column of errors is empty where there are none."""
    row = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)\s*$")
    counts: dict[str, int] = {}
    for match in map(row.match, text.splitlines()):
        if match and match[2] != "total":
            counts[match[2]] = counts.get(match[2], 0) + int(match[1])
    return counts


def by_kind(counts: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """(calls by kind, the names that fell under "other")."""
    kinds, others = dict.fromkeys([*KINDS, "other"], 0), {}
    for name, calls in counts.items():
        kind = next((kind for kind, names in KINDS.items() if name in names), "other")
        if kind == "other" and name in IGNORED:
            continue
        kinds[kind] += calls
        if kind == "other":
            others[name] = calls
    return kinds, others


def available() -> bool:
    return shutil.which("strace") is not None


class Strace:
    """strace attached to the whole server from entering the block to leaving it; `text` is what it wrote."""

    def __init__(self, pids: list[int], *options: str):
        self._pids, self._options, self.text = pids, options, ""

    def __enter__(self) -> "Strace":
        self._file = tempfile.NamedTemporaryFile("r")
        targets = [word for pid in self._pids for word in ("-p", str(pid))]
        command = ["taskset", "-c", str(CLIENT_CORE), "strace", "-f", *self._options, "-o", self._file.name, *targets]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 5
        while not all(self._attached(pid) for pid in self._pids):
            if self._process.poll() is not None:
                raise Unable(f"strace: {self._process.stderr.read().strip().splitlines()[-1]}")
            if time.monotonic() > until:
                self._process.kill()
                raise Unable("strace did not attach within 5 s")
            time.sleep(0.01)
        return self

    @staticmethod
    def _attached(pid: int) -> bool:
        with open(f"/proc/{pid}/status") as file:
            return "TracerPid:\t0\n" not in file.read()

    def __exit__(self, *exc_info) -> None:
        self._process.send_signal(signal.SIGINT)  # detach, then print the table
        self._process.communicate(timeout=10)
        self._file.seek(0)
        self.text = self._file.read()
        self._file.close()
