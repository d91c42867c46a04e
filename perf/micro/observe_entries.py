"""What the access log adds to a request: gathering its entry, encoding and writing it, the thread's share included."""

from perf.micro import best_of
from perf.tools.apps import hello
from perf.tools.served import requests

BROWSER = (
    b"GET /some/path?page=2 HTTP/1.1\r\nHost: example.com\r\nReferer: http://example.com/some/\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\r\n"
)


def run() -> list[tuple[str, float]]:
    figures = []
    for label, settings in (
        ("a pipelined request, no access log", {}),
        ("the same, combined", {"access_logfile": "/dev/null"}),
        ("the same, json", {"access_logfile": "/dev/null", "access_log_format": "json"}),
    ):
        with requests(hello, BROWSER, 16, **settings) as operation:
            figures.append((label, best_of(operation, 64_000)))
    return figures
