"""1 GiB down from a generator and 1 GiB up: how much larger does the process get? And with a peer that comes in bursts:
64 MiB at 8 MiB/s, 1 MiB at a time, with a small receive buffer, so that the server always waits for the peer."""

import http.client
import time

from perf.reach.figure import Figure
from perf.tools import clients, procfs
from perf.tools.servers import Running, Server

MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30
BURSTY = 64 * MEBIBYTE
BURSTS_PER_SECOND = 8
BOUND_MB = 10


class Paced:
    """Waits so that one burst comes every 1/8 s; not at all when fast."""

    def __init__(self, bursty: bool):
        self._bursty, self._due = bursty, time.monotonic()

    def next(self) -> None:
        if self._bursty:
            self._due += 1 / BURSTS_PER_SECOND
            time.sleep(max(0.0, self._due - time.monotonic()))


def download(port: int, size: int, bursty: bool, say) -> int:
    """Body bytes received."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    client.sock = clients.connect(port, receive_buffer=65536 if bursty else None)
    client.request("GET", f"/stream1g?bytes={size}")
    response, buffer, pace = client.getresponse(), bytearray(MEBIBYTE), Paced(bursty)
    received = 0
    while got := response.readinto(buffer):
        received += got
        say(f"{'bursty' if bursty else 'fast'} download, {received >> 20:,} MiB")
        pace.next()
    client.close()
    return received


def upload(port: int, size: int, bursty: bool, say) -> int:
    """Body bytes that the application says it has read; 0 with any status but 200."""
    piece, pace = bytes(MEBIBYTE), Paced(bursty)
    client = clients.connect(port)
    client.settimeout(30)
    client.sendall(f"POST /upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n".encode())
    for sent in range(size // MEBIBYTE):
        client.sendall(piece)
        say(f"{'bursty' if bursty else 'fast'} upload, {sent + 1:,} MiB")
        pace.next()
    answers = clients.Answers()
    while not (found := answers.feed(data := client.recv(65536))) and data:
        pass
    client.close()
    return int(found[0][1]) if found and found[0][0] == 200 else 0


def run(server: Server, say) -> list[Figure]:
    figures = []
    for title, move, size, bursty in (
        ("download, fast", download, GIBIBYTE, False),
        ("upload, fast", upload, GIBIBYTE, False),
        ("download, bursty", download, BURSTY, True),
        ("upload, bursty", upload, BURSTY, True),
    ):
        with Running(server) as running:
            pids = running.pids()
            procfs.reset_peak(pids)
            before, cpu, began = procfs.rss(pids), procfs.cpu(pids), time.monotonic()
            try:
                moved = move(running.port, size, bursty, say)
            except (OSError, http.client.HTTPException):
                moved = 0
            took = time.monotonic() - began
            growth = (procfs.peak_rss(pids) - before) / 1e6
            used = procfs.cpu_ns(cpu, procfs.cpu(pids)) / 1e9
        figures += [
            Figure(f"{title}: bytes that did not come through", size - moved, at_most=0),
            Figure(f"{title}: RSS growth", growth, "MB", below=BOUND_MB),
            Figure(f"{title}: CPU per GiB", used * GIBIBYTE / size, "s"),
            Figure(f"{title}: rate", size / took / 1e6, "MB/s"),
        ]
    return figures
