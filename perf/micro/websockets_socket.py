"""A message there and back, over memory: codec, inbox, switch and frame, without a system call."""

import gevent

import greenhttp
from greenhttp.green.transport import MemoryStream
from greenhttp.http.connection import connect_memory
from greenhttp.testing import service_of
from greenhttp.wire.websocket import frame
from perf.micro import best_of

ASK = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MANY = 100  # messages that come together


@greenhttp.websocket
def echo(ws):
    for message in ws:
        ws.send(message)


def run() -> list[tuple[str, float]]:
    figures = []
    with service_of(echo, [], {"connections": 1000}) as service:
        for size in (32, 4096):
            stream = MemoryStream([ASK], keep_open=True)
            connection = connect_memory(service, stream)
            message = frame(2, b"x" * size, mask=b"mask")
            back = len(message) - 4

            def messages(times: int, stream=stream, message=message, back=back) -> None:
                for _ in range(times):
                    del stream.outgoing[:]
                    stream.send(message * MANY)
                    while len(stream.outgoing) < back * MANY:
                        gevent.idle()

            gevent.idle()
            figures.append((f"{size} bytes there and back, {MANY} at once", best_of(messages, 20) / MANY))
            connection.cut()
    return figures
