"""The one WSGI application that every Python server in the comparison runs. Plain PEP 3333, nothing of any server.

`native` is what of it greenhttp is asked as a native handler too. perf/tools/flask_app.py shows ITEMS under TITLE.
"""

import mmap
import os
import time
from itertools import count

HELLO = b"hello, world\n"
HELLO_TEXT = HELLO.decode()
PIECE = bytes(65536)
MEBIBYTE = b"x" * 1048576
GIBIBYTE = 1 << 30
ITEMS = [(f"nuts & bolts, size {size}", size * 0.25) for size in range(1, 21)]
TITLE = "Price list <today>"
PLAIN = "text/plain; charset=utf-8"


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", PLAIN), ("Content-Length", "13")])
    return [HELLO]


def echo(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
    return [body]


def mebibyte(environ, start_response):
    start_response("200 OK", [("Content-Type", PLAIN), ("Content-Length", str(len(MEBIBYTE)))])
    return [MEBIBYTE]


def wait(environ, start_response):
    time.sleep(0.05)  # cooperative where the server has patched `time`, a blocked thread elsewhere
    return hello(environ, start_response)


def stream(environ, start_response):
    """1 GiB in 64 KiB pieces, or as much as `?bytes=` says; no Content-Length, as with a report made on the fly."""
    query = environ.get("QUERY_STRING", "")
    size = int(query.partition("bytes=")[2] or GIBIBYTE)
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return (PIECE for _ in range(size // len(PIECE)))


def upload(environ, start_response):
    """Read the body in 64 KiB pieces, keep none, answer with the number of bytes."""
    source, size = environ["wsgi.input"], 0
    left = int(environ.get("CONTENT_LENGTH") or 0)
    # Never asks for more than Content-Length: PEP 3333 lets a server's input block beyond it.
    while left > 0 and (piece := source.read(min(65536, left))):
        size += len(piece)
        left -= len(piece)
    answer = str(size).encode()
    start_response("200 OK", [("Content-Type", PLAIN), ("Content-Length", str(len(answer)))])
    return [answer]


class Counter:
    """Numbers the requests of this process. With PERF_COUNTER set, the last number also stands in that file (8 bytes,
    mapped), so that the fairness scenario can read it while the process is stopped."""

    def __init__(self):
        self._numbers = count(1)
        self._shared = None
        if path := os.environ.get("PERF_COUNTER"):
            with open(path, "r+b") as file:
                self._shared = mmap.mmap(file.fileno(), 8)

    def __call__(self, environ, start_response):
        number = next(self._numbers)
        if self._shared is not None:
            self._shared[:8] = number.to_bytes(8, "little")
        body = b"%012d\n" % number  # 13 bytes at any count, so that answers can be told apart by position
        start_response("200 OK", [("Content-Type", PLAIN), ("Content-Length", "13")])
        return [body]


ROUTES = {
    "/": hello,
    "/echo": echo,
    "/1m": mebibyte,
    "/wait": wait,
    "/stream1g": stream,
    "/upload": upload,
    "/count": Counter(),
}


def app(environ, start_response):
    route = ROUTES.get(environ["PATH_INFO"])
    if route is None:
        start_response("404 Not Found", [("Content-Type", PLAIN), ("Content-Length", "0")])
        return [b""]
    return route(environ, start_response)


ASGI_FIELDS = [(b"content-type", PLAIN.encode()), (b"content-length", b"13")]
ASGI_HELLO = [
    {"type": "http.response.start", "status": 200, "headers": ASGI_FIELDS},
    {"type": "http.response.body", "body": HELLO},
]


async def asgi(scope, receive, send):
    """The hello alone."""
    if scope["type"] == "http":
        for message in ASGI_HELLO:
            await send(message)


def native(request):
    if request.target == "/wait":
        time.sleep(0.05)
    elif request.target == "/echo":
        return request.body.read()
    return HELLO_TEXT
