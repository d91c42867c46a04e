"""What sending content costs: whole requests, to be compared with those of http_connection."""

import tempfile

from perf.micro import best_of
from perf.tools.served import requests

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def listed(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x" * 20_000]


def iterated(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return iter([b"piece"] * 4)


def run() -> list[tuple[str, float]]:
    measured = []
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 20_000)
        file.flush()

        def sent(environ, start_response):
            file.seek(0)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return environ["wsgi.file_wrapper"](Kept(file))

        for label, app in (("20,000 bytes in a list", listed), ("4 chunks, iterated", iterated), ("a file", sent)):
            with requests(app, GET) as operation:
                measured.append((label, best_of(operation, 2_000)))
    return measured


class Kept:
    """The same file again and again: its close() is the caller's."""

    def __init__(self, file):
        self.read, self.tell, self.fileno = file.read, file.tell, file.fileno
