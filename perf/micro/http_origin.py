"""What it costs to learn from a proxy's field that a request came by https, beside the same request without it."""

from perf.micro import best_of
from perf.micro.hosting_wsgi import app
from perf.tools.served import requests

PLAIN = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
PROXIED = b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n"


def run() -> list[tuple[str, float]]:
    measured = []
    for label, request in (("no such field", PLAIN), ("X-Forwarded-Proto: https", PROXIED)):
        with requests(app, request, 16) as operation:
            measured.append((label, best_of(operation, 3_200)))
    return measured
