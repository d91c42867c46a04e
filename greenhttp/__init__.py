"""greenhttp: a green-thread HTTP server. Write ordinary blocking code; thousands of requests wait side by side.

    import greenhttp.patch      first: makes the standard library's sockets, sleeps and locks cooperative

    serve(app)                  serve a handler or a WSGI application until a signal ends it
    Server(app)                 the same inside a program of yours: start, stop
    Request                     what a handler gets. Its values: Headers, Values, Form, Upload, Trace
    Response(body, status)      what a handler returns, or just its content; Response.json(value)
    HTTPError(404, "text")      raised in a handler, it is the answer
    offload(fn), offloaded      make a call that blocks or computes on a thread or in a process
    serve_stream(handler)       any protocol, one green thread for each connection
    Stream, connect             the connection that a stream handler gets; one that a program opens
    GreenError                  the root of all exceptions; greenhttp.errors shows the tree

greenhttp.testing has a client for tests, without sockets. `greenhttp APP` is the command; `greenhttp --help` lists the
settings, which serve and Server take by name. The guide is in docs/ of the source: begin with docs/first-steps.md; how
the package is built is in ARCHITECTURE.md. Importing greenhttp loads nothing else: names are fetched when first used.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if "t" in getattr(sys, "abiflags", ""):  # the compiled modules count references, which only the global lock keeps true
    raise ImportError(
        f"greenhttp does not run on the free-threaded build of Python (this is {sys.executable}, version "
        f"{sys.version.split()[0]}t); use the ordinary build"
    )

__all__ = [
    "BodyError",
    "BodyTimeout",
    "ConfigError",
    "Form",
    "GreenError",
    "HTTPError",
    "Headers",
    "LineTooLong",
    "OffloadError",
    "OffloadTimeout",
    "Request",
    "RequestTimeout",
    "Response",
    "ResponseError",
    "Server",
    "Stream",
    "StreamClosed",
    "StreamTimeout",
    "StreamTruncated",
    "TLSError",
    "Trace",
    "Upload",
    "Values",
    "__version__",
    "connect",
    "offload",
    "offloaded",
    "serve",
    "serve_stream",
]

if TYPE_CHECKING:
    from greenhttp.errors import (
        BodyError,
        BodyTimeout,
        ConfigError,
        GreenError,
        HTTPError,
        LineTooLong,
        OffloadError,
        OffloadTimeout,
        RequestTimeout,
        ResponseError,
        StreamClosed,
        StreamTimeout,
        StreamTruncated,
        TLSError,
    )
    from greenhttp.green.stream import Stream
    from greenhttp.green.transport import connect
    from greenhttp.hosting.handler import Response
    from greenhttp.http.form import Form, Upload
    from greenhttp.http.request import Headers, Request
    from greenhttp.http.trace import Trace
    from greenhttp.http.values import Values
    from greenhttp.offloading.offload import offload, offloaded
    from greenhttp.program.running import serve, serve_stream
    from greenhttp.server import Server

_ELSEWHERE = {  # all others: errors
    "Form": "greenhttp.http.form",
    "Headers": "greenhttp.http.request",
    "Request": "greenhttp.http.request",
    "Response": "greenhttp.hosting.handler",
    "Server": "greenhttp.server",
    "Stream": "greenhttp.green.stream",
    "Trace": "greenhttp.http.trace",
    "Upload": "greenhttp.http.form",
    "Values": "greenhttp.http.values",
    "connect": "greenhttp.green.transport",
    "offload": "greenhttp.offloading.offload",
    "offloaded": "greenhttp.offloading.offload",
    "serve": "greenhttp.program.running",
    "serve_stream": "greenhttp.program.running",
}


if not TYPE_CHECKING:  # which would allow every name

    def __getattr__(name: str) -> Any:  # PEP 562
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_ELSEWHERE.get(name, "greenhttp.errors")), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
