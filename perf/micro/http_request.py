"""What a native handler pays for asking: whole requests, to be compared with those of http_connection."""

from perf.micro import best_of
from perf.tools.served import requests

GET = b"GET /a/b?c=d&e=f HTTP/1.1\r\nHost: localhost\r\nUser-Agent: micro\r\nAccept: */*\r\n\r\n"


def silent(request):
    return b""


def asking(request):
    request.path, request.query, request.headers.get("user-agent")
    return b""


def run() -> list[tuple[str, float]]:
    measured = []
    for label, handler in (("a request of which nothing is asked", silent), ("path, query and a field", asking)):
        with requests(handler, GET, 16) as operation:
            measured.append((label, best_of(operation, 3_200)))
    return measured
