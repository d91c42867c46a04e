"""A thread per connection.

The plainest code there is: the kernel keeps the structure per connection, and a thread waits in each receive. Its price
is what a thread costs, in memory, in switches and, with CPython, in handing over the interpreter's lock; and a
connection that is idle costs as much as one that is not.
"""

import _thread
import socket
import threading
import time

from perf.models import tiny

STACK = 131072
"""Bytes of address space for each thread's stack, of which those it touches become memory. The system's default of
8 MiB would be address space only, too, but 10,000 times that is more than some machines let a process have."""


def serve(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        try:
            # Thread.start() would wait until the new thread has had the lock once: a turn behind all that are running.
            _thread.start_new_thread(tiny.converse, (connection, time.sleep))
        except RuntimeError:  # the system gives no more threads: this connection cannot be served, the others can
            connection.close()


def main() -> None:
    threading.stack_size(STACK)
    serve(tiny.listen(tiny.port_from_arguments()))


if __name__ == "__main__":
    main()
