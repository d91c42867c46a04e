"""One measurement: a fresh server process, a check, wrk for a few seconds, a check, and what /proc says it took. Or,
for idle connections, what they weigh."""

import time
from dataclasses import asdict, dataclass

from perf.tools import idle, procfs, wrk
from perf.tools.servers import DidNotStart, Running, Server
from perf.tools.workloads import Workload, check

WARM_UP = 200
"""Requests before the window: enough for CPython 3.11+ to have specialised the hot bytecode."""


@dataclass(frozen=True)
class Window:
    """Either the figures, or `void`: the reason why there are none."""

    cpu_us: float = 0.0
    per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    rss_mb: float = 0.0
    idle_bytes: float | None = None
    """Resident bytes per idle connection, where that is what is measured; nothing else is then."""
    requests: int = 0
    errors: int = 0
    void: str | None = None

    as_dict = asdict

    @property
    def main(self) -> float:
        """The figure that is compared: CPU per request, or bytes per idle connection."""
        return self.cpu_us if self.idle_bytes is None else self.idle_bytes


def judge(load: wrk.Load, workload: Workload, cpu_ns: int, peak_bytes: int, missing_connections: int = 0) -> Window:
    """The figures of a run, or the reason why it must not count."""
    fault = load.fault()
    wanted = workload.connections * workload.pipeline
    if fault is None and load.requests < wanted:  # a server that stalls makes no error in wrk's books
        fault = f"{load.requests} answers in all, where one to each request of each connection makes {wanted}"
    if fault is None and missing_connections > 0:
        fault = f"{missing_connections} connections were not accepted before the end"
    if fault:
        return Window(errors=load.errors, requests=load.requests, void=fault)
    return Window(
        cpu_us=cpu_ns / 1000 / load.requests,
        per_second=load.per_second,
        # wrk corrects latencies for requests that it could not send in time, and takes pipelined ones for such.
        p50_ms=load.p50_us / 1000 if workload.pipeline == 1 else 0.0,
        p99_ms=load.p99_us / 1000 if workload.pipeline == 1 else 0.0,
        rss_mb=peak_bytes / 1e6,
        requests=load.requests,
    )


def loaded(server: Running, workload: Workload, seconds: int, alone: bool = True) -> Window:
    """wrk for `seconds`, and what /proc says that it took; whether the answers are right was looked at before.

    `alone`: nobody else's connections come and go meanwhile, so that wrk's can be counted where they are held.
    ProcessGone, OSError, ValueError (wrk without its report) and SubprocessError where there is nothing to judge.
    """
    seconds *= workload.stretch
    pids = server.pids()
    procfs.reset_peak(pids)
    descriptors = procfs.descriptors(pids)
    before = procfs.cpu(pids)
    url = f"{workload.scheme}://127.0.0.1:{server.port}{workload.path}"
    load = wrk.start(url, workload.connections, seconds, workload.script, workload.patience, workload.fresh)
    try:
        time.sleep(seconds * 0.8)
        # wrk waits in silence for connections that the server leaves in its backlog: count them where they are held.
        countable = alone and workload.keep_alive
        held = procfs.descriptors(server.pids()) - descriptors if countable else workload.connections
        output, _ = load.communicate(timeout=seconds + 20)
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()
    pids = server.pids()
    after = procfs.cpu(pids)
    peak = procfs.peak_rss(pids)
    missing = workload.connections - held
    # A few descriptors (a log, an epoll) may have come and gone meanwhile.
    missing = missing if missing > max(2, workload.connections // 100) else 0
    return judge(wrk.parse(output), workload, procfs.cpu_ns(before, after), peak, missing)


def _measure(server: Running, workload: Workload, seconds: int) -> Window:
    warm_up = 1 if workload.path in ("/wait", "/1m") else WARM_UP
    if fault := check(workload, server.port, warm_up):
        return Window(void=f"before the window: {fault}")
    time.sleep(0.05)  # let the server finish with the connection that was just closed
    window = loaded(server, workload, seconds)
    if fault := check(workload, server.port):
        return Window(void=f"after the window: {fault}")
    return window


def _measure_idle(server: Running, workload: Workload) -> Window:
    """10,000 of them take a while; there is nothing whose seconds could be chosen."""
    held = idle.hold(server, idle.affordable(workload.connections), lambda text: None, workload.tls)
    limit = idle.OPENING_TLS if workload.tls else idle.OPENING
    wrong = [f"{held.unanswered} connections without a first answer within {limit} s"] if held.unanswered else []
    wrong += [f"{held.silent} connections without a second answer"] if held.silent else []
    if wrong:
        return Window(errors=held.unanswered + held.silent, void=", ".join(wrong))
    return Window(rss_mb=held.after / 1e6, idle_bytes=held.each, requests=2 * held.connections)


def measure(server: Server, workload: Workload, seconds: int) -> Window:
    """A window on a process of its own: memory is this workload's alone, and no row inherits another's heap."""
    try:
        with Running(server, workload.name) as running:
            try:
                if workload.idle:
                    return _measure_idle(running, workload)
                return _measure(running, workload, seconds)
            except (procfs.ProcessGone, OSError, ValueError) as error:
                tail = running.log().splitlines()[-1:]
                return Window(void=" / ".join([str(error), *tail]))
    except DidNotStart as error:
        return Window(void=str(error))
