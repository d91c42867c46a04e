"""System calls per keep-alive request, counted by strace: 1 to receive, 1 to send, 0 to register, at most 1 to wait.

Connections are opened and used once before strace is attached: accepting is not part of a keep-alive request. The
counts hold what the server does beside (a sweep timer), hence the two hundredths of tolerance.
"""

import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

from perf import CLIENT_CORE, clients
from perf.reach.figure import Figure, Unable
from perf.servers import Running, Server

KINDS = {
    "receive": {"recvfrom", "recvmsg", "read", "readv", "recvmmsg"},
    "send": {"sendto", "sendmsg", "write", "writev", "sendfile", "sendmmsg"},
    "epoll_ctl": {"epoll_ctl"},
    "wait": {"epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6"},
}
BOUNDS = {"receive": 1.02, "send": 1.02, "epoll_ctl": 0.02, "wait": 1.02, "other": 0.02}
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


def _sequential(connections: list, requests: int) -> None:
    for _ in range(requests):
        clients.ask(connections[0])


def _together(connections: list, requests: int) -> None:
    """Every connection has a request under way until `requests` are answered."""
    poller = select.epoll()
    by_descriptor = {client.fileno(): (client, clients.Answers()) for client in connections}
    for descriptor, (client, _) in by_descriptor.items():
        poller.register(descriptor, select.EPOLLIN)
        client.sendall(clients.get())
    left, under_way = requests - len(connections), len(connections)
    while under_way:
        for descriptor, _ in poller.poll(5) or [(None, None)]:
            if descriptor is None:
                raise Unable("no answer within 5 s")
            client, answers = by_descriptor[descriptor]
            if answers.feed(client.recv(65536)):
                under_way -= 1
                if left > 0:
                    left, under_way = left - 1, under_way + 1
                    client.sendall(clients.get())
    poller.close()


def run(server: Server, say, requests: int = 1000) -> list[Figure]:
    if not shutil.which("strace"):
        raise Unable("strace is missing: install the Debian package `strace`")
    figures, beside = [], []
    for title, count, drive in (("1 connection", 1, _sequential), ("64 connections", 64, _together)):
        with Running(server) as running:
            say(title)
            connections = [clients.connect(running.port) for _ in range(count)]
            for client in connections:
                clients.ask(client)
            pids = running.pids()
            with Strace(pids, "-c") as counted:
                drive(connections, requests)
            if count == 1:
                with Strace(pids) as traced:
                    _sequential(connections, 2)
                beside = [re.sub(r"^\d+\s+", "", line)[:110] for line in traced.text.splitlines()]
            for client in connections:
                client.close()
        kinds, others = by_kind(parse_counts(counted.text))
        for kind, calls in kinds.items():
            figures.append(Figure(f"{title}: {kind} per request", calls / requests, at_most=BOUNDS[kind]))
        figures += [Figure(f"{title}: other: {name}", calls, "calls in all") for name, calls in others.items()]
    print("two requests, as strace shows them:", *beside[:16], sep="\n  ")
    return figures
