"""What accepting costs: connecting and closing of the client included, as a figure beside it shows."""

import socket
import tempfile
from pathlib import Path

import gevent

from greenhttp.green.acceptor import StreamAcceptor
from perf.micro import best_of

TOGETHER = 50


def _accept(sock: socket.socket, accept):
    def loop(times: int) -> None:
        for _ in range(times // TOGETHER):
            clients = [socket.socket(socket.AF_UNIX) for _ in range(TOGETHER)]
            for client in clients:
                client.connect(sock.getsockname())
            accept()
            for client in clients:
                client.close()

    return loop


def run() -> list[tuple[str, float]]:
    hub, streams = gevent.get_hub(), []
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(Path(directory) / "s"))
        sock.listen(TOGETHER)
        sock.setblocking(False)

        def plain() -> None:
            for _ in range(TOGETHER):
                sock.accept()[0].close()

        def in_turns() -> None:
            while len(streams) < TOGETHER:
                timer = hub.loop.timer(0, priority=-2)
                hub.wait(timer)
                timer.close()
            for stream in streams:
                stream.close()
            streams.clear()

        measured = [("(connect, accept and close, plain sockets)", best_of(_accept(sock, plain), 2_000))]
        acceptor = StreamAcceptor(hub.loop, sock, print, streams.append)
        acceptor.start()
        measured.append(("connect, accept as a stream and close", best_of(_accept(sock, in_turns), 2_000)))
        acceptor.stop()
        return measured
