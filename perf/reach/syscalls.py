"""System calls per keep-alive request, counted by strace: 1 to receive, 1 to send, 0 to register, at most 1 to wait.

Connections are opened and used once before strace is attached: accepting is not part of a keep-alive request. The
counts hold what the server does beside (a sweep timer), hence the two hundredths of tolerance.
"""

import re
import select

from perf.reach.figure import Figure, Unable
from perf.tools import clients, strace
from perf.tools.servers import Running, Server
from perf.tools.strace import Strace, by_kind, parse_counts

BOUNDS = {"receive": 1.02, "send": 1.02, "epoll_ctl": 0.02, "wait": 1.02, "other": 0.02}


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
    if not strace.available():
        raise Unable(strace.MISSING)
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
