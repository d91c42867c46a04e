"""Slow network clients, a process of their own: each sends its request over 5 s and reads the answer at 10 KB/s.

On loopback nothing is slow by itself: they hold themselves back, and have the receive window of a client behind a thin
line. Prints `begun` when all have connected and sent their first bytes; at the end what became of them, as JSON.
"""

import argparse
import json
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from perf.models.tiny import BIG
from perf.tools import clients

HEAD = b"GET /big HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
PERIOD, SLOTS = 0.25, 25
"""Each has its turn four times a second, in 25 shares 10 ms apart."""
PIECES = 20
"""Turns over which the head is spread after its first byte: 5 s."""
SIP = 2500
"""Bytes read in a turn: 10 KB/s."""
WINDOW = 16384
"""Bytes of the receive buffer that are asked for."""
SEGMENT = 1448
"""Bytes of a TCP segment at most, as on an Ethernet. Of loopback's 64 KB a server's kernel concludes that it may take a
megabyte for a client that has read nothing, and nobody would ever wait for a slow reader."""
LIMIT = 45
"""Seconds after which those that have not got their answer are given up; one that is never held up takes 34."""


class SlowClient:
    def __init__(self, port: int):
        self.began = time.monotonic()
        self.turns = self.sent = self.received = 0
        self.took: float | None = None  # seconds, once the answer is there whole
        self.over = False
        self._status = b""
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        self._socket.settimeout(10)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)

    def turn(self) -> None:
        """The next piece of the request, or the next part of the answer."""
        if self.over:
            return
        try:
            if self.sent < len(HEAD):
                due = max(1, len(HEAD) * self.turns // PIECES)
                self.turns += 1
                self.sent += self._socket.send(HEAD[self.sent : due])
            else:
                self._read()
        except BlockingIOError:
            pass  # nothing there yet
        except OSError:
            self.close()

    def _read(self) -> None:
        data = self._socket.recv(SIP)
        if len(self._status) < 12:
            self._status += data[:12]
        self.received += len(data)
        if not data:  # the end, as asked for
            if self._status.startswith(b"HTTP/1.1 200") and self.received > len(BIG):
                self.took = time.monotonic() - self.began
            self.close()

    def close(self) -> None:
        self.over = True
        self._socket.close()


@dataclass(frozen=True)
class Fate:
    """What became of the crowd."""

    completed: int
    cut_off: int
    """Ended by the server before the answer was whole."""
    waiting: int
    """Given up at the limit."""
    longest: float
    """Seconds of the last to complete."""


def fate(crowd: list[SlowClient]) -> Fate:
    times = [client.took for client in crowd if client.took is not None]
    over = sum(client.over for client in crowd)
    return Fate(len(times), over - len(times), len(crowd) - over, max(times, default=0.0))


def live(port: int, count: int, limit: float) -> Fate:
    crowd = [SlowClient(port) for _ in range(count)]
    for number, share in enumerate(clients.turns(crowd, limit, SLOTS, PERIOD), 1):
        for client in share:
            client.turn()
        if number == SLOTS:
            print("begun", flush=True)
        if all(client.over for client in crowd):
            break
    return fate(crowd)


def start(port: int, count: int, limit: float = LIMIT) -> subprocess.Popen:
    """Returns when the crowd has begun. OSError where it has not."""
    command = [sys.executable, "-m", "perf.tools.crowd", str(port), str(count), str(limit)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if process.stdout.readline() != "begun\n":
        process.kill()
        process.communicate()
        raise OSError("the slow clients could not connect")
    return process


def result(process: subprocess.Popen, limit: float = LIMIT) -> Fate:
    output, _ = process.communicate(timeout=limit + 10)
    return Fate(**json.loads(output))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("limit", type=float)
    options = parser.parse_args()
    print(json.dumps(asdict(live(options.port, options.count, options.limit))))
