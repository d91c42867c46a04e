"""What a connection costs that has nothing to do: 10,000 kept connections, as perf/tools/idle.py measures them."""

from perf.reach.figure import Figure
from perf.tools import idle
from perf.tools.servers import Running, Server

CONNECTIONS = 10_000
BOUND = 700


def run(server: Server, say) -> list[Figure]:
    with Running(server, "idle-10000") as running:
        held = idle.hold(running, CONNECTIONS, say)
    return [
        Figure("RSS before", held.before / 1e6, "MB"),
        Figure(f"RSS with {CONNECTIONS:,} idle connections", held.after / 1e6, "MB"),
        Figure("resident bytes per idle connection", held.each, "bytes", at_most=BOUND),
        Figure("connections without a first answer", held.unanswered, at_most=0),
        Figure("connections without a second answer", held.silent, at_most=0),
    ]
