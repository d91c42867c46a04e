"""What reading a request body costs: whole requests, to be compared with those of http_connection."""

from perf.micro import best_of
from perf.tools.served import requests

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
LENGTH = HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000
LINES = HEAD + b"Content-Length: 1000\r\n\r\n" + b"0123456789abcdefghi\n" * 50
CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n"


def read(environ, start_response):
    environ["wsgi.input"].read()
    start_response("204 No Content", [])
    return []


def lines(environ, start_response):
    for _ in environ["wsgi.input"]:
        pass
    start_response("204 No Content", [])
    return []


def run() -> list[tuple[str, float]]:
    measured = []
    for label, app, request in (
        ("a request with 1,000 bytes, read", read, LENGTH),
        ("a request with a chunk of 100 bytes, read", read, CHUNKS),
        ("a request with 50 lines of 20 bytes, iterated", lines, LINES),
    ):
        with requests(app, request, 16) as operation:
            measured.append((label, best_of(operation, 3_200)))
    return measured
