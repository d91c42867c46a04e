"""What the models are asked to do. Each load takes a fresh server process, has an end, and gives an Outcome.

That an architecture cannot do a load is a result: the outcome is void then and says why.
"""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from perf.model_runs import holding
from perf.model_runs.rows import Figure, Outcome
from perf.models import tiny
from perf.tools import crowd, honest, procfs, window
from perf.tools.servers import DidNotStart, Running, Server
from perf.tools.workloads import Workload, check

RATE = Figure("per_second", "requests/s", compared=True)
P99 = Figure("p99_ms", "p99 ms", digits=1, compared=True)
UNDER_LOAD = (RATE, P99, Figure("cpu_us", "CPU µs/request", digits=1), Figure("rss_mb", "peak RSS MB"))

SLOW_CLIENTS = 500
BESIDE_SLOW = 10
"""Seconds for which the fast ones are watched once the slow ones have begun. Those send for half of it, then read."""
IDLE = 10_000
FEWEST = 1000
"""Connections below which memory per connection would be noise."""


@dataclass(frozen=True)
class Load:
    name: str
    about: str
    figures: tuple[Figure, ...]
    """The first one is that of the spread."""
    measure: Callable[[Server, int], Outcome]
    """(model, seconds of a window) -> what came of it"""
    guess: Callable[[int], float]
    """seconds of a window -> those that a round of one model takes, for the first guess of the time left"""


def _outcome(seen: window.Window, **more: float) -> Outcome:
    if seen.void:
        return Outcome(void=seen.void)
    return Outcome({each.key: getattr(seen, each.key) for each in UNDER_LOAD} | more)


def _asked(workload: Workload, about: str) -> Load:
    def measure(server: Server, seconds: int) -> Outcome:
        return _outcome(window.measure(server, workload, seconds))

    return Load(workload.name, about, UNDER_LOAD, measure, lambda seconds: seconds * workload.stretch + 1.5)


@contextlib.contextmanager
def _stopped(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    """Whatever happens, the process of the other clients does not outlive its server."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _guarded(measure: Callable[[Running, int], Outcome], server: Server, seconds: int) -> Outcome:
    try:
        with Running(server) as running:
            try:
                return measure(running, seconds)
            except (procfs.ProcessGone, OSError, ValueError, subprocess.SubprocessError) as error:
                return Outcome(void=" / ".join([str(error), *running.log().splitlines()[-1:]]))
    except DidNotStart as error:
        return Outcome(void=str(error))


# ---- fast clients beside slow ones

FAST = Workload("fast", "/", 50)


def _beside_slow(server: Running, seconds: int) -> Outcome:
    if fault := check(FAST, server.port, window.WARM_UP):
        return Outcome(void=f"before the window: {fault}")
    with _stopped(crowd.start(server.port, SLOW_CLIENTS)) as slow:
        fast = window.loaded(server, FAST, BESIDE_SLOW, alone=False)
        fate = crowd.result(slow)
    return beside_slow(fast, fate)


def beside_slow(fast: window.Window, fate: crowd.Fate) -> Outcome:
    """Void where the fast clients were not served, or the slow ones not to their end."""
    ended = f"{fate.completed} of {fate.completed + fate.cut_off + fate.waiting} slow clients got their answer"
    if fast.void:
        return Outcome(void=f"beside slow clients: {fast.void}; {ended}")
    if fate.cut_off or fate.waiting:
        return Outcome(void=f"{ended} within {crowd.LIMIT} s ({fate.cut_off} were cut off)")
    return _outcome(fast, longest_s=fate.longest)


# ---- computing handlers, and what others notice of them

COMPUTING = Workload("cpu-16", "/cpu", 16, stretch=3)
HEAD_START = 0.7
"""Seconds by which the clients of the hello, whose process takes longer to start than wrk, ask for a shorter time."""


def _computing(server: Running, seconds: int) -> Outcome:
    if fault := check(COMPUTING, server.port):
        return Outcome(void=f"before the window: {fault}")
    # They end before the load: late as they are by then, they would ask many times of a server that has nothing to do.
    with _stopped(honest.start(server.port, seconds * COMPUTING.stretch - HEAD_START)) as stopwatch:
        busy = window.loaded(server, COMPUTING, seconds, alone=False)
        others = honest.result(stopwatch)
    return computing(busy, others)


def computing(busy: window.Window, others: dict[str, float]) -> Outcome:
    """Void where the clients of a plain hello were not all answered."""
    if not busy.void and (others["failures"] or not others["answered"]):
        return Outcome(void=f"{others['failures']} of the others' requests failed, {others['answered']} did not")
    return _outcome(busy, hello_p50_ms=others["p50"], hello_p99_ms=others["p99"])


# ---- connections that have nothing to do


def _idle(server: Running, seconds: int) -> Outcome:
    return memory(holding.hold(server, IDLE))


def memory(held: holding.Held) -> Outcome:
    """Void where too few were held. Those that answered once and not again were not held."""
    kept = held.opened - held.silent
    if kept < FEWEST or held.silent:
        return Outcome(void=f"held {kept:,} of {IDLE:,} connections")
    return Outcome({"bytes": held.each, "held": kept, "rss_mb": held.after / 1e6})


LOADS = [
    _asked(Workload("fast-50", "/", 50), "50 fast clients on kept connections"),
    _asked(Workload("fast-1000", "/", 1000, stretch=2, patience=5), "1,000 fast clients on kept connections"),
    _asked(Workload("fast-10000", "/", 10_000, stretch=3, patience=5), "10,000 fast clients on kept connections"),
    Load(
        "slow-500",
        f"50 fast clients beside {SLOW_CLIENTS} that send for 5 s and read {len(tiny.BIG) // 1024} KiB at 10 KB/s",
        (RATE, P99, Figure("longest_s", "slowest of the slow ones s", digits=1)),
        lambda server, seconds: _guarded(_beside_slow, server, seconds),
        lambda seconds: 37,
    ),
    _asked(Workload("wait-200", "/wait", 200, patience=5), "handlers that wait 50 ms, 200 clients"),
    _asked(Workload("wait-2000", "/wait", 2000, stretch=2, patience=5), "handlers that wait 50 ms, 2,000 clients"),
    Load(
        "idle-10000",
        "10,000 connections that have nothing to do",
        (Figure("bytes", "bytes/connection", compared=True), Figure("held", "held"), Figure("rss_mb", "RSS MB")),
        lambda server, seconds: _guarded(_idle, server, seconds),
        lambda seconds: 10,
    ),
    Load(
        "cpu-16",
        "handlers that compute for some 5 ms, 16 clients; beside them a hello 20 times a second",
        (
            RATE,
            Figure("hello_p50_ms", "hello p50 ms", digits=1, compared=True),
            Figure("hello_p99_ms", "hello p99 ms", digits=1, compared=True),
        ),
        lambda server, seconds: _guarded(_computing, server, seconds),
        lambda seconds: 3 * seconds + 1.5,
    ),
]
