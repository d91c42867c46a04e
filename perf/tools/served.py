"""A server and its client in one process, taking turns: what a whole request costs, without a scheduler in between."""

import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent

from greenhttp.server import Server


@contextmanager
def requests(app, request: bytes, together: int = 1, **settings) -> Iterator[Callable[[int], None]]:
    """A function that has `times` requests answered over a UNIX socket, `together` of them pipelined at a time.

    All answers must be of one size, which the first one shows. `settings` are the server's.
    """
    hub = gevent.get_hub()
    into = bytearray(1 << 20)

    def turn() -> None:
        timer = hub.loop.timer(0, priority=-2)  # after what the descriptors have brought
        try:
            hub.wait(timer)
        finally:
            timer.close()

    def receive() -> int:
        try:
            return client.recv_into(into)
        except BlockingIOError:
            return 0

    def operation(times: int) -> None:
        for _ in range(times // together):
            client.sendall(batch)
            left = answer * together
            while left:
                if received := receive():
                    left -= received
                else:
                    turn()

    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as client:
        path = str(Path(directory) / "s")
        server = Server(app, bind=f"unix:{path}", **settings)
        server.start()
        try:
            client.connect(path)
            client.setblocking(False)
            client.sendall(request)
            answer = silent = 0
            while silent < 10 or not answer:
                turn()
                received = receive()
                answer += received
                silent = 0 if received else silent + 1
            batch = request * together
            yield operation
        finally:
            server.stop(0)
