"""What a connection costs that has nothing to do: many kept connections, each after one request, resident bytes each.

The server has had a few hundred connections before the first reading, so that what it allocates once does not count.
Kernel memory (socket buffers) is not the process's and not counted.
"""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from perf.tools import clients, procfs
from perf.tools.servers import Running

SPARE = 500
"""Descriptors of each process that are not for connections."""
GIVE_UP = 10
"""Connections without an answer after which no more are tried: each may cost ten seconds of patience."""


OPENING = 60
"""Seconds for all of them to be opened and asked, which a loop that looks at every connection in every turn exceeds."""

OPENING_TLS = 180
"""The same with a handshake each, for both ends of which one machine computes."""


@dataclass(frozen=True)
class Held:
    connections: int
    before: int
    """Resident bytes of the server's processes ..."""
    after: int
    """... and with the connections."""
    unanswered: int
    """Connections that were refused, or whose first request was, up to GIVE_UP of them; and those that were not even
    tried within OPENING."""
    silent: int
    """Connections that answered once and not again after the pause; GIVE_UP at most."""

    @property
    def each(self) -> float:
        """Resident bytes per idle connection."""
        return (self.after - self.before) / self.connections


def affordable(connections: int) -> int:
    """As many as that, or as a process here may have descriptors for: the server has one for each, and so has this."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connections if limit == resource.RLIM_INFINITY else min(connections, limit - SPARE)


def _answers(client) -> bool:
    try:
        return clients.ask(client)[0] == 200
    except OSError:
        return False


def hold(running: Running, connections: int, say: Callable[[str], None], tls: bool = False) -> Held:
    """Open them one after the other, ask on each, read the memory a second later, ask on each again."""
    say("warming up")
    first = [clients.connect(running.port, tls=tls) for _ in range(200)]
    for client in first:
        clients.ask(client)
    for client in first:
        client.close()
    time.sleep(1)  # a server may free what was closed some time later
    before = procfs.rss(running.pids())
    opened = []
    try:
        unanswered = silent = 0
        deadline = time.monotonic() + (OPENING_TLS if tls else OPENING)
        for number in range(connections):
            if time.monotonic() > deadline:
                unanswered += connections - number
                break
            if number % 500 == 0:
                say(f"{number:,} connections open")
            try:
                opened.append(clients.connect(running.port, tls=tls))
                unanswered += not _answers(opened[-1])
            except OSError:
                unanswered += 1
            if unanswered >= GIVE_UP:
                break
        time.sleep(1)
        after = procfs.rss(running.pids())
        say("asking every connection again")
        for client in opened if unanswered < GIVE_UP else ():
            silent += not _answers(client)
            if silent == GIVE_UP:
                break
    finally:
        for client in opened:
            client.close()
    return Held(connections, before, after, unanswered, silent)
