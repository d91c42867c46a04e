"""What a green thread per connection costs: connecting and closing of the client included."""

import socket
import tempfile
from pathlib import Path
from typing import Any

import gevent

from greenhttp.server import Server
from perf.micro import best_of

TOGETHER = 50


def greet(stream):
    stream.write(b"hello\n")


def measure(sent: bytes = b"", **settings: Any) -> float:
    """ns for a connection that is greeted and closed. `sent`: what its client says first."""
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
                    if sent:
                        client.sendall(sent)
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
    return [("connect, be greeted, close", measure())]
