"""What it costs to leave HTTP: a request that is answered with 101, and the end of what follows."""

import gevent

from greenhttp.green.transport import MemoryStream
from greenhttp.http.connection import State, connect_memory
from greenhttp.testing import service_of
from perf.micro import best_of

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


def run() -> list[tuple[str, float]]:
    with service_of(lambda request: request.upgrade("echo"), [], {"connections": 1000}) as service:

        def upgrades(times: int) -> None:
            for _ in range(times):
                connection = connect_memory(service, MemoryStream([HEAD]))
                while connection.state != State.CLOSED:
                    gevent.idle()

        return [("a connection that is upgraded and ends", best_of(upgrades, 500))]
