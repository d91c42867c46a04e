"""What the WSGI environ costs: a browser's request, to be compared with the small one of http_connection."""

from perf.micro import best_of
from perf.micro.wire_head import BROWSER, UNKNOWN
from perf.tools.served import requests


def app(environ, start_response):
    start_response("204 No Content", [])
    return []


def run() -> list[tuple[str, float]]:
    measured = []
    for label, request in (
        ("small request, 204", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("a browser's request, 204", BROWSER),
        ("20 unknown fields, 204", UNKNOWN),
    ):
        with requests(app, request, 16) as operation:
            measured.append((label, best_of(operation, 3_200)))
    return measured
