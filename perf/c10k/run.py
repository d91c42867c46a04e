"""One run: servers, those who hold connections, honest clients beside, and what /proc says before and after."""

import contextlib
import time
from collections.abc import Callable

from perf.tools import honest, procfs
from perf.tools.holder import Fault, Holder, answers
from perf.tools.servers import Running, Server

KERNEL = ("Slab", "KernelStack", "PageTables", "Percpu")
"""Kinds of kernel memory in /proc/meminfo that do not overlap. The buffers of idle sockets are empty."""
LONGEST_OPENING = 300
HONEST_CONNECTIONS = 4
"""Per server."""
SAMPLE = 1000
"""Held connections that each client process asks once more."""
STAY = ("--keepalive-timeout", "1h")
"""The default of 75 s would close the first connections while the last ones are opened."""


def _wait(until: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            raise Fault(f"{what} within {seconds:.0f} s")
        time.sleep(0.05)


class Run:
    """`measure()` gives the figures as a dict; everything is closed when the `with` block is left."""

    def __init__(self, server: Server, workers: int, connections: int, seconds: float, say: Callable[[str], None]):
        self._server, self._workers, self._connections = server, workers, connections
        self._seconds, self._say = seconds, say

    def __enter__(self) -> "Run":
        with contextlib.ExitStack() as stack:
            extra = STAY if self._server.name.startswith("greenhttp") else ()
            self._say("starting servers and clients")
            servers = [Running(self._server, "hello-10000", extra) for _ in range(self._workers)]
            self._ports = [stack.enter_context(running).port for running in servers]
            self._pids = [pid for running in servers for pid in running.pids()]
            self._holders = [
                stack.enter_context(Holder(number, port, self._connections)) for number, port in enumerate(self._ports)
            ]
            list(answers(self._holders, 30))  # each says once that it is there
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info) -> None:
        self._stack.__exit__(*exc_info)

    def _warm_up(self) -> int:
        """What a server allocates once must not count as a connection's. Returns the descriptors of servers at rest."""
        rest = procfs.descriptors(self._pids)
        for number, port in enumerate(self._ports):
            with Holder(self._workers + number, port, min(200, self._connections)) as first:
                first.tell("open")
                list(answers([first], 30))
        _wait(lambda: procfs.descriptors(self._pids) <= rest, 10, "servers did not close what their clients had closed")
        return rest

    def _honest(self, seconds: float):
        """Honest clients that are at work, and the number of their connections."""
        connections = HONEST_CONNECTIONS * self._workers
        before = procfs.descriptors(self._pids)
        stopwatch = honest.start(self._ports, seconds, 20 * self._workers, connections)
        self._stack.callback(stopwatch.stdout.close)
        self._stack.callback(stopwatch.wait)
        self._stack.callback(stopwatch.kill)  # which comes first, and does nothing to one that has ended
        _wait(lambda: procfs.descriptors(self._pids) >= before + connections, 20, "honest clients were not accepted")
        return stopwatch, connections

    def _memory(self) -> dict:
        info, sockets = procfs.meminfo(), procfs.tcp()
        return {
            "rss": procfs.rss(self._pids),
            "clients_rss": procfs.rss([holder.process.pid for holder in self._holders]),
            "kernel": {kind: info[kind] for kind in KERNEL if kind in info},
            "available": info["MemAvailable"],
            "buffers": sockets["mem"] * procfs.PAGE,
            "sockets": sockets,
        }

    def _tell(self, line: str, seconds: float, beside=lambda: None) -> dict:
        """Told to all holders, the sum of what they answer; percentiles are those of the worst of them."""
        for holder in self._holders:
            holder.tell(line)
        each = list(answers(self._holders, seconds, beside))
        worst = {name: max(one.get(name, 0.0) for one in each) for name in ("p50", "p99", "max")}
        faults = [fault for one in each for fault in one["faults"]]
        return {"answered": sum(one["answered"] for one in each), "faults": faults, **worst}

    def measure(self) -> dict:
        rest = self._warm_up()
        self._say("honest clients alone")
        stopwatch, _ = self._honest(self._seconds)
        alone = honest.result(stopwatch)
        _wait(lambda: procfs.descriptors(self._pids) <= rest, 10, "servers did not close what their clients had closed")

        stopwatch, _ = self._honest(2 * LONGEST_OPENING)
        before = self._memory()
        sockets = before["sockets"]["inuse"]
        cpu, began = procfs.cpu(self._pids), time.monotonic()
        opened = self._tell(
            "open",
            LONGEST_OPENING,
            lambda: self._say(f"{(procfs.tcp()['inuse'] - sockets) // 2:,} connections open"),
        )
        seconds = time.monotonic() - began
        used = procfs.cpu_ns(cpu, procfs.cpu(self._pids))
        opening = honest.enough(stopwatch)
        wanted = self._workers * self._connections
        _wait(lambda: procfs.descriptors(self._pids) <= rest + wanted, 10, "servers did not close honest connections")
        stopwatch, beside = self._honest(LONGEST_OPENING)
        until = time.monotonic() + self._seconds
        self._say("holding them")
        time.sleep(1)  # what the kernel frees later, it has freed then
        after = self._memory()
        held = procfs.descriptors(self._pids) - rest - beside
        asked = self._tell(f"sample {SAMPLE}", 60)
        time.sleep(max(0.0, until - time.monotonic()))
        holding = honest.enough(stopwatch)

        self._say("closing them")
        for holder in self._holders:
            holder.close()
        with contextlib.suppress(Fault):  # then `left` tells
            _wait(lambda: procfs.descriptors(self._pids) <= rest, 30, "servers did not close")
        return {
            "workers": self._workers,
            "wanted": wanted,
            "opened": opened,
            "held": held,
            "left": procfs.descriptors(self._pids) - rest,
            "seconds": seconds,
            "per_second": opened["answered"] / seconds,
            # The honest clients' requests meanwhile are in it, twenty a second for each server.
            "cpu_us": used / 1000 / max(1, opened["answered"]),
            "before": before,
            "after": after,
            "honest": {"alone": alone, "while opening": opening, "while held": holding},
            "asked": asked,
        }
