"""A client process that holds connections. Lines on stdin tell it what to do, a line of JSON on stdout answers each:

    open        open them all, one after the other, each with one request
    sample N    ask N of them again, evenly spread, one at a time

The end of stdin closes them all. `Holder` is its handle in the process that started it.
"""

import contextlib
import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

from perf.tools import clients
from perf.tools.honest import percentile

PER_SOURCE = 5000
"""Connections from one address, of the 28,232 ephemeral ports it has by default: a free one is found at once."""
GIVE_UP = 10
"""Connections that fail before no more are tried: each may take the ten seconds of a time-out."""


def source(number: int, at: int) -> str:
    """The address that connection `at` of holder `number` comes from; no two holders share one."""
    return f"127.0.{number + 1}.{at // PER_SOURCE + 1}"


def _timed(client: socket.socket, began: float) -> float:
    """Milliseconds from `began` to a good answer. OSError for any other."""
    status, _ = clients.ask(client)
    if status != 200:
        raise ConnectionError(f"status {status}")
    return (time.perf_counter() - began) * 1000


def _figures(latencies: list[float], faults: list[str], seconds: float) -> dict:
    """Without answers there are no latencies: the percentiles are missing then."""
    percents = (("p50", 50), ("p99", 99), ("max", 100)) if latencies else ()
    figures = {name: percentile(latencies, percent) for name, percent in percents}
    return {"answered": len(latencies), "faults": faults, "seconds": seconds, **figures}


def open_all(port: int, number: int, connections: int, held: list[socket.socket]) -> dict:
    latencies, faults, started = [], [], time.perf_counter()
    for at in range(connections):
        began = time.perf_counter()
        try:
            client = clients.connect(port, source=source(number, at))
            held.append(client)
            latencies.append(_timed(client, began))
        except OSError as error:
            faults.append(str(error))
            if len(faults) == GIVE_UP:
                break
    return _figures(latencies, faults, time.perf_counter() - started)


def sample(held: list[socket.socket], many: int) -> dict:
    latencies, faults, started = [], [], time.perf_counter()
    for client in held[:: max(1, len(held) // many)][:many]:
        try:
            latencies.append(_timed(client, time.perf_counter()))
        except OSError as error:
            faults.append(str(error))
            if len(faults) == GIVE_UP:
                break
    return _figures(latencies, faults, time.perf_counter() - started)


class Fault(Exception):
    """A holder ended or was silent; says which."""


class Holder:
    """One such process, from entering the `with` block to leaving it."""

    def __init__(self, number: int, port: int, connections: int):
        self._name, self._arguments = f"client process {number + 1}", [str(port), str(number), str(connections)]

    def __enter__(self) -> "Holder":
        command = [sys.executable, "-m", __name__, *self._arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # `answer` tells that it ended
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()

    def close(self) -> None:
        """Let it close its connections; wait until it has ended."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __exit__(self, *exc_info) -> None:
        if exc_info[0]:
            self.process.kill()  # it may be in the middle of opening
        self.close()
        self.process.stdout.close()

    def _read(self) -> dict:
        if not (line := self.process.stdout.readline()):
            raise Fault(f"{self._name} ended with status {self.process.wait(10)}")
        return json.loads(line)


def answers(holders: list[Holder], seconds: float, beside=lambda: None) -> Iterator[dict]:
    """Every holder's answer to what it was told, as they come; `beside()` is called twice a second meanwhile."""
    waiting, until = {holder.process.stdout: holder for holder in holders}, time.monotonic() + seconds
    while waiting:
        ready, _, _ = select.select(list(waiting), [], [], 0.5)
        for stdout in ready:
            yield waiting.pop(stdout)._read()
        if waiting and time.monotonic() > until:
            raise Fault(f"{next(iter(waiting.values()))._name} did not answer within {seconds:.0f} s")
        beside()


def main() -> None:
    port, number, connections = map(int, sys.argv[1:])
    held: list[socket.socket] = []
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        what, *count = line.split()
        figures = open_all(port, number, connections, held) if what == "open" else sample(held, int(count[0]))
        print(json.dumps(figures), flush=True)
    for client in held:
        # With a reset: thousands of sockets in TIME-WAIT would be kernel memory for a minute, of the next run too.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


if __name__ == "__main__":
    main()
