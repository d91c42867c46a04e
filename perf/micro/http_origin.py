"""What it costs to learn from a proxy's field where a request comes from, to cut a path prefix and to compare
the host, beside the same request without any of it."""

from perf.micro import best_of
from perf.micro.hosting_wsgi import app
from perf.tools.served import requests

PLAIN = b"GET /below/x HTTP/1.1\r\nHost: h\r\n\r\n"
PROXIED = b"GET /below/x HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n\r\n"
REMOVED = b"GET /x HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /below\r\n\r\n"


def run() -> list[tuple[str, float]]:
    measured = []
    for label, request, settings in (
        ("no such field", PLAIN, {}),
        ("X-Forwarded-Proto: https", PROXIED, {}),
        ("root_path=/below", PLAIN, {"root_path": "/below"}),
        ("allowed_hosts=h", PLAIN, {"allowed_hosts": "h"}),
        ("X-Forwarded-Prefix: /below", REMOVED, {"root_path_header": "X-Forwarded-Prefix"}),
    ):
        with requests(app, request, 16, **settings) as operation:
            measured.append((label, best_of(operation, 3_200)))
    return measured
