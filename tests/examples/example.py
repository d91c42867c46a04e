"""An example as a process, and its clients."""

import re
import signal
import socket
import subprocess
from http.client import HTTPConnection
from pathlib import Path

from tests.system.process import Process

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
TIMEOUT = 60  # seconds; only a hang takes as long


class Example(Process):
    """`with Example("NAME.py") as example:`, or `Example("-m", "greenhttp", ...)`; listens on a free port.

    The end of the block asks it to stop, by TERM unless `stop` has done so before, and checks that it ends with 0 and
    that nothing went wrong in it meanwhile.

    Attributes:
        address: (host, port).
    """

    def __init__(self, *arguments, **environ):
        # libuv's timers count milliseconds, and gevent warns whoever waits for less: here, for what is left of a wait.
        filters = "-W", "error", "-W", "ignore:libuv only supports millisecond timer resolution"
        super().__init__(EXAMPLES, *filters, *arguments, no_proxy="*", **environ)
        self.address = None

    def __enter__(self):
        super().__enter__()
        try:
            serving = next(line for line in self.until("serving").splitlines() if "serving" in line)
            host, port = re.search(r"(127\.0\.0\.1):([0-9]+)", serving).groups()
            self.address = host, int(port)
        except BaseException:
            super().__exit__()
            raise
        return self

    def __exit__(self, kind, *exc):
        try:
            if kind is None and self.returncode is None:
                self.stop(signal.SIGTERM)
        finally:
            super().__exit__(kind, *exc)

    def stop(self, number):
        """Ask it to stop by that signal. Returns what it has printed."""
        self.send_signal(number)
        return self.ended()

    def ended(self):
        """Wait for its end, which must be a clean one. Returns what it has printed."""
        code, out, err = self.rest()
        assert (code, "Traceback" in err) == (0, False), err
        return out

    @property
    def url(self):
        return "http://{}:{}".format(*self.address)

    def connect(self):
        return Peer(socket.create_connection(self.address, TIMEOUT))

    def fetch(self, target, method="GET", **more):
        """(status, content) by http.client."""
        connection = HTTPConnection(*self.address, timeout=TIMEOUT)
        try:
            connection.request(method, target, **more)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def curl(self, *arguments, target="/", **more):
        """What curl prints; it must end with 0."""
        return run("curl", "-sS", "--noproxy", "*", "--max-time", str(TIMEOUT), *arguments, self.url + target, **more)


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Peer:
    """A connection, by lines."""

    def __init__(self, sock):
        self.socket = sock
        self.file = sock.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        return self.file.readline().decode().rstrip("\r\n")

    def until(self, wanted):
        """The lines before the wanted one."""
        lines = []
        while (line := self.line()) != wanted:
            assert line, f"the connection ended before {wanted!r}: {lines}"
            lines.append(line)
        return lines

    def end_sending(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Go without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.__exit__()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()
