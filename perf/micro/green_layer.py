"""What a stream pays for it that a layer may lie below: a plain one beside one with TLS; see green_transport too."""

import socket

from greenhttp.green.transport import SocketStream
from perf.micro import best_of
from perf.micro.green_tls import DATA, contexts, pair


def _plain(times: int) -> None:
    ours, theirs = socket.socketpair()
    stream = SocketStream(ours)
    for _ in range(times):
        stream.write(DATA)
        stream.flush()
        theirs.recv(100)
    stream.close()
    theirs.close()


def run() -> list[tuple[str, float]]:
    server, context = contexts()

    def encrypted(times: int) -> None:
        with pair(server, context) as (stream, client):
            for _ in range(times):
                stream.write(DATA)
                stream.flush()
                client.sock.recv(1000)

    return [("100 bytes sent, plain", best_of(_plain, 5_000)), ("the same through TLS", best_of(encrypted, 5_000))]
