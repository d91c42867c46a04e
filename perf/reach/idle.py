"""What a connection costs that has nothing to do: 10,000 kept connections, each after one request, resident bytes each.

The server has had a few hundred connections before the first reading, so that what it allocates once does not count.
Kernel memory (socket buffers) is not the process's and not counted.
"""

import time

from perf import clients, procfs
from perf.reach.figure import Figure
from perf.servers import Running, Server

CONNECTIONS = 10_000
BOUND = 700


def run(server: Server, say) -> list[Figure]:
    with Running(server, "hello-10000") as running:
        say("warming up")
        first = [clients.connect(running.port) for _ in range(200)]
        for client in first:
            clients.ask(client)
        for client in first:
            client.close()
        time.sleep(1)
        before = procfs.rss(running.pids())
        opened = []
        try:
            refused = 0
            for number in range(CONNECTIONS):
                if number % 500 == 0:
                    say(f"{number:,} connections open")
                try:
                    opened.append(clients.connect(running.port))
                    refused += clients.ask(opened[-1])[0] != 200
                except OSError:
                    refused += 1
            time.sleep(1)
            after = procfs.rss(running.pids())
            say("asking every connection again")
            silent = 0
            for client in opened:
                try:
                    silent += clients.ask(client)[0] != 200
                except OSError:
                    silent += 1
        finally:
            for client in opened:
                client.close()
        return [
            Figure("RSS before", before / 1e6, "MB"),
            Figure(f"RSS with {CONNECTIONS:,} idle connections", after / 1e6, "MB"),
            Figure("resident bytes per idle connection", (after - before) / CONNECTIONS, "bytes", at_most=BOUND),
            Figure("connections without a first answer", refused, at_most=0),
            Figure("connections without a second answer", silent, at_most=0),
        ]
