"""What a PROXY header costs a connection, beside the same connection without: connecting and closing included."""

import socket
import tempfile
from pathlib import Path

import gevent

from greenhttp.server import Server
from perf.micro import best_of

TOGETHER = 50
HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"


def greet(stream):
    stream.write(b"hello\n")


def measure(header: bytes, **settings) -> float:
    hub = gevent.get_hub()
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "s")
        server = Server(greet, interface="stream", bind=f"unix:{path}", **settings)
        server.start()

        def turn() -> None:
            timer = hub.loop.timer(0, priority=-2)
            hub.wait(timer)
            timer.close()

        def greeted(times: int) -> None:
            for _ in range(times // TOGETHER):
                clients = [socket.socket(socket.AF_UNIX) for _ in range(TOGETHER)]
                for client in clients:
                    client.connect(path)
                    client.sendall(header)
                turn()
                for client in clients:
                    assert client.recv(64) == b"hello\n"
                    client.close()
                while server.statistics()["connections"]:
                    turn()

        try:
            return best_of(greeted, 2_000)
        finally:
            server.stop(0)


def run() -> list[tuple[str, float]]:
    return [
        ("connect, send a line, be greeted, close", measure(HEADER)),
        ("the same, the line being a PROXY header", measure(HEADER, proxy_protocol="v1", proxy_allow_from="unix")),
    ]
