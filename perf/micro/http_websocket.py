"""What opening a WebSocket costs: request, handshake, 101, and the close that follows."""

import gevent

import greenhttp
from greenhttp.green.transport import MemoryStream
from greenhttp.http.connection import State, connect_memory
from greenhttp.testing import service_of
from greenhttp.wire.websocket import frame
from perf.micro import best_of
from perf.micro.websockets_socket import ASK


def run() -> list[tuple[str, float]]:
    with service_of(greenhttp.websocket(list), [], {"connections": 1000}) as service:

        def openings(times: int) -> None:
            for _ in range(times):
                connection = connect_memory(service, MemoryStream([ASK + frame(8, b"", mask=b"mask")]))
                while connection.state != State.CLOSED:
                    gevent.idle()

        return [("a WebSocket that is opened and closed", best_of(openings, 300))]
