"""What it costs to read on after the last answer: 64 KiB sent and dropped, and the same sent and read into memory."""

import socket
from collections.abc import Callable

import gevent

from greenhttp.server import Server
from perf.micro import best_of

PIECE = bytes(65536)


def send(client: socket.socket, times: int, whenever_full: Callable[[], object]) -> None:
    client.setblocking(False)
    for _ in range(times):
        at = 0
        while at < len(PIECE):
            try:
                at += client.send(PIECE[at:] if at else PIECE)
            except BlockingIOError:
                whenever_full()


def run() -> list[tuple[str, float]]:
    hub = gevent.get_hub()
    server = Server(lambda stream: stream.write(b"bye"), interface="stream", bind="127.0.0.1:0", linger_timeout="1h")
    server.start()

    def turn() -> None:
        timer = hub.loop.timer(0, priority=-2)
        hub.wait(timer)
        timer.close()

    def read_on(times: int) -> None:
        with socket.create_connection(server.address) as client:
            turn()
            assert client.recv(3) == b"bye"
            send(client, times, turn)
            turn()

    def read(times: int) -> None:
        memory = bytearray(262144)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            peer, _ = listener.accept()
        with client, peer:
            send(client, times, lambda: (turn(), peer.recv_into(memory)))

    measured = [
        ("(64 KiB sent, and read into memory)", best_of(read, 2_000)),
        ("64 KiB sent, and dropped where they lie", best_of(read_on, 2_000)),
    ]
    server.stop(0)
    return measured
