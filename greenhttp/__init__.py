"""greenhttp: plain blocking-style handlers, one green thread per running request, one event loop per process.

A byte's way in and back out; each arrow is one call, and imports go the same way down, never up:

    cli, __main__       the command: parses, and hands over
    gunicorn, pywsgi    other people's names for what is in doors
    doors/              the same server as gunicorn's worker, and as gevent.pywsgi's WSGIServer
    doctor/             `greenhttp doctor`: what would bite in an application
    testing             one connection of the server in memory, for tests
    supervisor/         many processes: forks workers, replaces them, loses no request
    program/            a server as a program: boot, loading the application, signals, logs, gunicorn's hooks
    server              one process: listeners, limits, start, drain, stop
    hosting/            what a request is handed to: native handlers, WSGI
    observe/            is told of each answer, never decides: the access log
    http/               one connection's life: wire and green joined. Begin reading at http/connection.pyx
    patch               `import greenhttp.patch` first in a script: the standard library becomes cooperative
    wire/               bytes <-> values of HTTP/1; no sockets, no clock
    green/              green threads over sockets: Stream, Pool, listeners, stream handlers; knows nothing of HTTP
    offloading/         calls that block or compute, on real threads or in other processes
    process/            what a process has beside its green threads: clocks, board, watchdog, accounts
    settings/           a setting's whole way: given -> settled -> checked as text -> Settings
    errors              every exception once

Importing this package does nothing: the names below are fetched when first used, so that a program can patch before
anything of gevent is loaded.
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
    "GreenError",
    "HTTPError",
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
    )
    from greenhttp.green.stream import Stream
    from greenhttp.green.transport import connect
    from greenhttp.hosting.handler import Response
    from greenhttp.http.request import Request
    from greenhttp.offloading.offload import offload, offloaded
    from greenhttp.program.running import serve, serve_stream
    from greenhttp.server import Server

_ELSEWHERE = {  # all others: errors
    "Request": "greenhttp.http.request",
    "Response": "greenhttp.hosting.handler",
    "Server": "greenhttp.server",
    "Stream": "greenhttp.green.stream",
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
