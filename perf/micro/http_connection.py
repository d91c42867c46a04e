"""What a whole request costs, the client's calls included: head, environ, application, answer."""

from perf.micro import best_of
from perf.tools.served import requests

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello\n"]


def run() -> list[tuple[str, float]]:
    measured = []
    for together, label in ((1, "one request"), (16, "one of 16 pipelined requests")):
        with requests(app, GET, together) as operation:
            measured.append((label, best_of(operation, 4_800)))
    return measured
