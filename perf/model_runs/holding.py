"""How many idle connections a model holds, and what each of them costs.

Unlike `reach idle`, which fails a server that does not answer all of them, this finds out how far one gets.
"""

import socket
import time
from dataclasses import dataclass

from perf.tools import clients, procfs
from perf.tools.servers import Running

PATIENCE = 2.0
"""Seconds after which a connection counts as not answered."""
GIVE_UP = 3
"""Connections in a row without an answer after which the others are not asked: each may take the whole time-out."""


@dataclass(frozen=True)
class Held:
    before: int
    """Resident bytes without the connections ..."""
    after: int
    """... and with them."""
    opened: int
    """Connections that were answered once."""
    silent: int
    """Of those, the ones that were not answered again."""

    @property
    def each(self) -> float:
        """Resident bytes per connection. ZeroDivisionError where there is none."""
        return (self.after - self.before) / self.opened


def _answered(client: socket.socket) -> bool:
    try:
        return clients.ask(client)[0] == 200
    except OSError:
        return False


def _open(port: int, connections: int, patience: float) -> list[socket.socket]:
    """Connections, each answered once. Fewer, where the server does not answer more of them."""
    opened, failures = [], 0
    for _ in range(connections):
        try:
            client = clients.connect(port)
        except OSError:
            failures += 1
        else:
            client.settimeout(patience)
            if _answered(client):
                opened.append(client)
                failures = 0
            else:
                client.close()
                failures += 1
        if failures == GIVE_UP:
            break
    return opened


def _silent(opened: list[socket.socket]) -> int:
    """Connections that do not answer again; those after GIVE_UP such ones in a row count unasked."""
    silent = failures = 0
    for number, client in enumerate(opened):
        if _answered(client):
            failures = 0
            continue
        silent, failures = silent + 1, failures + 1
        if failures == GIVE_UP:
            return silent + len(opened) - number - 1
    return silent


def _close(opened: list[socket.socket]) -> None:
    for client in opened:
        client.close()


def hold(running: Running, connections: int, patience: float = PATIENCE) -> Held:
    """Open, read the memory, ask once more, close. `patience` in seconds.

    The server has had some connections before the first reading: what it allocates once does not count.
    """
    _close(_open(running.port, 200, patience))
    time.sleep(1)
    before = procfs.rss(running.pids())
    opened = _open(running.port, connections, patience)
    try:
        time.sleep(1)
        after = procfs.rss(running.pids())
        return Held(before, after, len(opened), _silent(opened))
    finally:
        _close(opened)
