"""A pool of threads that accept: each takes a connection from the listening socket and serves it to its end.

The number of threads is bounded, and with it memory and switching. So is the number of connections: a thread belongs to
its client even while that one thinks, types or reads slowly. Once every thread has a client, the next ones wait in the
kernel's backlog for as long as it takes. No lock and no queue is needed: accept(2) wakes one thread per connection.
"""

import socket
import threading
import time

from perf.models import tiny

THREADS = 64
"""A common size for a pool of this kind. More of them push its limit away and come to cost what `threads` costs."""
STACK = 131072


def work(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except ConnectionAbortedError:
            continue  # the client went while it waited in the backlog; a thread of the pool must not end by that
        tiny.converse(connection, time.sleep)


def serve(listener: socket.socket, threads: int = THREADS) -> None:
    workers = [threading.Thread(target=work, args=(listener,), daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def main() -> None:
    threading.stack_size(STACK)
    serve(tiny.listen(tiny.port_from_arguments()))


if __name__ == "__main__":
    main()
