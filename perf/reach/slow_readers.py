"""1,000 readers that take 1 MiB at 1 KB/s, on a server that runs 8 requests at a time: do others still get their turn?

Concurrency is bounded on greenhttp only (`--concurrency 8`); other servers run with their own defaults.

The unread megabytes lie in the kernel's send buffers, 1 GB and more. Past the kernel's pressure mark (the middle figure
of tcp_mem) it drops segments of every connection, and others wait for retransmissions of a second and more: the share
of that mark is shown, since a long wait near or beyond it is the machine's and not the server's.
"""

import time

from perf.reach.figure import Figure
from perf.tools import clients, honest, procfs
from perf.tools.servers import Running, Server

READERS = 1000
SECONDS = 15
KILOBYTE = 1000


def tcp_memory_share() -> float:
    """TCP's memory over the mark where the kernel begins to save; both in pages."""
    with open("/proc/sys/net/ipv4/tcp_mem") as marks:
        return procfs.tcp()["mem"] / int(marks.read().split()[1])


def run(server: Server, say) -> list[Figure]:
    extra = ("--concurrency", "8") if server.name == "greenhttp" else ()
    with Running(server, "wait", extra=extra) as running:
        say("honest clients alone")
        alone = honest.result(honest.start(running.port, 5))
        before = procfs.rss(running.pids())
        readers = []
        try:
            for number in range(READERS):
                if number % 100 == 0:
                    say(f"{number} slow readers")
                readers.append(clients.connect(running.port, receive_buffer=4096))
                readers[-1].sendall(clients.get("/1m"))
                readers[-1].setblocking(False)
            time.sleep(1)
            stopwatch = honest.start(running.port, SECONDS - 1)
            received, began = {reader: 0 for reader in readers}, time.monotonic()
            lost = set()
            for share in clients.turns(readers, SECONDS):
                for reader in share:
                    try:
                        piece = reader.recv(KILOBYTE)
                        received[reader] += len(piece)
                        if not piece:
                            lost.add(reader)
                    except BlockingIOError:
                        pass
                    except OSError:
                        lost.add(reader)
                say(f"{READERS} slow readers, {SECONDS - (time.monotonic() - began):.0f} s left")
            meanwhile = honest.result(stopwatch)
            memory = tcp_memory_share()
            after = procfs.rss(running.pids())
        finally:
            for reader in readers:
                reader.close()
        return [
            Figure("p99 without slow readers", alone["p99"], "ms"),
            Figure("p99 beside slow readers", meanwhile["p99"], "ms", below=50),
            Figure("longest beside slow readers", meanwhile["max"], "ms"),
            Figure("requests that failed beside slow readers", meanwhile["failures"], at_most=0),
            Figure("slow readers without a byte", sum(not size for size in received.values()), at_most=0),
            Figure("slow readers cut off", len(lost), at_most=0),
            Figure("TCP memory over the kernel's pressure mark", memory),
            Figure("RSS growth per slow reader", (after - before) / READERS / 1000, "KB"),
        ]
