"""A broadcast, for each WebSocket that gets it; over memory."""

import gevent

from greenhttp.green.transport import MemoryStream
from greenhttp.http.connection import connect_memory
from greenhttp.testing import service_of
from greenhttp.websockets.groups import broadcast
from perf.micro import best_of
from perf.micro.websockets_socket import ASK

MEMBERS = 500


def run() -> list[tuple[str, float]]:
    with service_of(
        lambda request: request.websocket(on_message=lambda *_: None).join("all"), [], {"connections": 1000}
    ) as service:
        streams = [MemoryStream([ASK], keep_open=True) for _ in range(MEMBERS)]
        connections = [connect_memory(service, stream) for stream in streams]
        while broadcast("all", "") < MEMBERS:
            gevent.idle()

        def messages(times: int) -> None:
            for _ in range(times):
                broadcast("all", "x" * 1024)
                for stream in streams:
                    del stream.outgoing[:]

        figures = [("broadcast of 1 KiB", best_of(messages, 20) / MEMBERS)]
        for connection in connections:
            connection.cut()
    return figures
