"""10,000 open WebSockets in one process: their memory, echoes on 1,000 of them, and one message to all.

- held: each has had one echo when its bytes are counted. Then 1,000 of them send a message a second, for 15 s; latency
  is from the moment a message was due (perf/websocket.c), so that a server which stalls hides nothing.
- broadcast: 1 KiB to all of a group, against as many bare calls of send(2) with the same bytes on the same sockets
  (perf/reach/send.c), in turns. Compared is processor time of the server, from before the call until every client has
  the message: what a loop still writes after the call has returned is in it. greenhttp alone.
"""

from dataclasses import replace
from statistics import median

from perf.reach.figure import Figure, Unable
from perf.tools import clients, idle, procfs, servers, websocket, wrk
from perf.tools.servers import Running, Server

CONNECTIONS, ACTIVE, SIZE, SECONDS = 10_000, 1000, 32, 15
BOUND = 12 * 1024
"""Resident bytes of one whose handler waits in `receive`."""
TIMES = 5


def count() -> int:
    return idle.affordable(CONNECTIONS)


def warm_up(running: Running) -> None:
    if fault := websocket.check(running.port, SIZE, False, 200):
        raise Unable(fault)
    with websocket.Held(running.port, 200):
        pass


def held(server: Server, say, bound: float | None) -> list[Figure]:
    with Running(server, "ws-idle") as running:
        warm_up(running)
        before, many = procfs.rss(running.pids()), count()
        say(f"{server.name}: opening {many:,}")
        with websocket.Held(running.port, many) as crowd:
            crowd.tell(f"pace {many} {SIZE} 1")
            first = wrk.parse(crowd.answer())
            after = procfs.rss(running.pids())
            say(f"{server.name}: {ACTIVE:,} messages a second, for {SECONDS} s")
            used = procfs.cpu(running.pids())
            crowd.tell(f"pace {ACTIVE} {SIZE} {SECONDS}")
            load = wrk.parse(crowd.answer())
            cpu = procfs.cpu_ns(used, procfs.cpu(running.pids()))
        name = server.name
        return [
            Figure(f"{name}: open WebSockets", many),
            Figure(f"{name}: those that were refused or lost", load.connect + load.read + load.write, at_most=0),
            Figure(f"{name}: resident bytes of each", (after - before) / many, "bytes", at_most=bound),
            Figure(f"{name}: wrong or missing echoes", load.status + many - first.requests
                   + ACTIVE * SECONDS - load.requests, at_most=0),
            Figure(f"{name}: p50", load.p50_us / 1000, "ms"),
            Figure(f"{name}: p99", load.p99_us / 1000, "ms", below=50),
            Figure(f"{name}: longest", load.max_us / 1000, "ms"),
            Figure(f"{name}: CPU of a message", cpu / 1000 / max(1, load.requests), "µs"),
        ]  # fmt: skip


def broadcasts(server: Server, say) -> list[Figure]:
    server = replace(server, command=servers.greenhttp_command("perf.tools.echoes:rooms"))
    cost: dict[str, list[float]] = {"bare": [], "broadcast": []}
    many = count()
    with Running(server, "ws-idle") as running:
        say(f"broadcast: opening {many:,}")
        with websocket.Held(running.port, many) as crowd, clients.connect(running.port) as control:
            for turn in range(TIMES + 1):
                for way in cost:
                    say(f"broadcast: {way}, {turn}/{TIMES}")
                    crowd.tell(f"gather {many}")
                    before = procfs.cpu(running.pids())
                    status, body = clients.ask(control, f"/{way}?{control.getsockname()[1]}")
                    if status != 200 or int(body) != many:
                        raise Unable(f"{way}: status {status}, {body[:60]!r}")
                    if f"messages={many} " not in (said := crowd.answer()):
                        raise Unable(f"{way}: {said}")
                    ns = procfs.cpu_ns(before, procfs.cpu(running.pids()))
                    if turn:  # the first fills what is allocated once
                        cost[way].append(ns / 1e6)
    bare, all_at_once = median(cost["bare"]), median(cost["broadcast"])
    return [
        Figure(f"{many:,} bare sends of 1 KiB: CPU", bare, "ms"),
        Figure(f"broadcast of 1 KiB to {many:,}: CPU", all_at_once, "ms"),
        Figure("broadcast over bare sends", all_at_once / bare, at_most=1.5),
    ]


def run(server: Server, say) -> list[Figure]:
    if "ws" not in server.speaks:
        raise Unable(f"{server.name} has no WebSocket")
    if server.name != "greenhttp":
        return held(server, say, None)
    callbacks = servers.BY_NAME["greenhttp-on-message"]
    return [*held(server, say, BOUND), *held(callbacks, say, BOUND), *broadcasts(server, say)]
