"""A well-behaved client in a process of its own, so that the load a scenario makes does not delay its stopwatch.

Four kept connections in turn, 20 requests a second in all, plain blocking sockets. Prints its figures as JSON at the
end, which is that of its time or SIGTERM (`enough`). Of several ports each connection in turn has the next.
"""

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from perf.tools import clients


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that at least `percent` of all values do not exceed (nearest rank)."""
    if not values:
        return float("inf")
    rank = -(-len(values) * percent // 100)
    return sorted(values)[max(0, int(rank) - 1)]


def measure(
    ports: Sequence[int], seconds: float, rate: float, connections: int, enough: threading.Event, tls: bool = False
) -> dict[str, float]:
    kept = [None] * connections
    latencies, failures, turn = [], 0, 0
    began = time.monotonic()
    while (due := began + turn / rate) < began + seconds and not enough.is_set():
        time.sleep(max(0.0, due - time.monotonic()))
        at, turn = turn % connections, turn + 1
        started = time.perf_counter()
        try:
            # Time to connect counts: an honest client waits for it as well.
            kept[at] = kept[at] or clients.connect(ports[at % len(ports)], tls=tls)
            status, _ = clients.ask(kept[at])
            if status != 200:
                raise ConnectionError(f"status {status}")
            latencies.append((time.perf_counter() - started) * 1000)
        except OSError:
            failures += 1
            if kept[at]:
                kept[at].close()
            kept[at] = None
        if time.monotonic() > began + seconds:
            break  # a server slower than the rate does not draw it out beyond the load that it is measured beside
    figures = {name: percentile(latencies, percent) for name, percent in (("p50", 50), ("p99", 99), ("max", 100))}
    return {"answered": len(latencies), "failures": failures, **figures}


def start(
    port: int | Sequence[int], seconds: float, rate: float = 20, connections: int = 4, tls: bool = False
) -> subprocess.Popen:
    ports = [port] if isinstance(port, int) else port
    command = [sys.executable, "-m", "perf.tools.honest", *map(str, [seconds, rate, connections, *ports])]
    command += ["--tls"] * tls
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def enough(process: subprocess.Popen) -> dict[str, float]:
    """End it before its time. It must have asked something already: only then does it know what SIGTERM means."""
    process.terminate()
    return result(process)


def result(process: subprocess.Popen) -> dict[str, float]:
    output, _ = process.communicate(timeout=60)
    return json.loads(output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("rate", type=float)
    parser.add_argument("connections", type=int)
    parser.add_argument("ports", type=int, nargs="+")
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    figures = measure(options.ports, options.seconds, options.rate, options.connections, told, options.tls)
    print(json.dumps(figures))
