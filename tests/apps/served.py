"""An application as a process behind greenhttp or another server, and clients that ask it together."""

import contextlib
import signal
import threading
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from tests.system.process import Process

HERE = Path(__file__).parent
OURS = ("-m", "greenhttp", "-b", "127.0.0.1:0")
TIMEOUT = 60  # seconds; only a hang takes as long


class Served(Process):
    """`with Served("module:app", ...) as url:`; what it logs is read all the while, and no pipe fills.

    At the end it is asked to stop, which must be a clean end of greenhttp's.
    """

    def __init__(self, *arguments, server=OURS, **environ):
        super().__init__(HERE, *server, *arguments, **environ)
        self.clean = 0 if server is OURS else -signal.SIGTERM
        self.said = []

    def __enter__(self):
        super().__enter__()
        try:
            url = self.url()
        except BaseException:
            super().__exit__(None, None, None)
            raise
        self.reader = threading.Thread(target=self.said.extend, args=(self.stderr,))
        self.reader.start()
        return url

    def __exit__(self, kind, *more):
        try:
            self.terminate()
            self.wait(TIMEOUT)
            self.reader.join()
            assert kind is not None or self.returncode == self.clean, "".join(self.said)
        finally:
            super().__exit__(kind, *more)


class Crowd:
    """So many clients, each with a connection of its own, which it keeps."""

    def __init__(self, url, count):
        place = urlsplit(url)
        self.clients = [HTTPConnection(place.hostname, place.port, timeout=TIMEOUT) for _ in range(count)]

    def send(self, target="/", content=None):
        """All send the same, none waits for an answer; POST if there is content."""
        for client in self.clients:
            client.request("GET" if content is None else "POST", target, content)

    def answers(self):
        """(status, content) of each."""
        answers = [client.getresponse() for client in self.clients]
        return [(answer.status, answer.read()) for answer in answers]

    def ask(self, target="/", content=None):
        self.send(target, content)
        return self.answers()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.ExitStack() as stack:
            for client in self.clients:
                stack.callback(client.close)
