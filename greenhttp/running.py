"""A server as a program of its own: started, introduced, stopped by signals.

`run` is the last step of the command and of `serve` and `serve_stream`: it owns the process's signal handlers while the
server runs, and what is said on the terminal.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gevent
from gevent import monkey
from gevent.event import Event

from greenhttp import __version__
from greenhttp.config import Settings
from greenhttp.hosting.interface import STREAM
from greenhttp.server import Server

if TYPE_CHECKING:
    from greenhttp.green.stream import Stream

STOPPED, BROKEN = 0, 1


def serve(app: Callable[..., Any], *, bind: object = "127.0.0.1:8000", **settings: Any) -> None:
    """Serve a native handler or a WSGI application until a signal ends it.

    Arguments:
        app: called with a Request and returning a Response, str, bytes, an iterator of bytes or a file; or a WSGI
            application (PEP 3333). Which one is told from its signature, unless `interface="native"` or "wsgi" says it.
        bind: "host:port", ":port", "unix:/path", or a list of these.
        settings: any other setting by name, like `header_timeout="5s"`; see config.SETTINGS.

    TERM lets running requests finish, INT (Ctrl-C) and QUIT stop at once. Must be called in the main thread, where
    signals arrive; a program that has other plans for them uses Server.

    Raises:
        ConfigError: a setting that cannot be, or an address that cannot be used.
    """
    _serve(Server(app, bind=bind, **settings))


def serve_stream(handler: Callable[["Stream"], object], *, bind: object, **settings: Any) -> None:
    """Serve any protocol, with one green thread per connection, until a signal ends it.

    Arguments:
        handler: called with the Stream of each connection. When it returns, what it has written is sent and the
            connection is closed; when it raises, the connection is reset and the error logged.
        bind, settings: as for `serve`. `connections` bounds the green threads; `write_timeout` ends a peer that does
            not read. How long to wait for a peer's bytes is the protocol's business: `stream.timeout`.

    Raises:
        ConfigError: a setting that cannot be, or an address that cannot be used.
    """
    _serve(Server(handler, bind=bind, interface=STREAM, **settings))


def _serve(server: Server) -> None:
    if not monkey.is_module_patched("socket"):
        say(
            "the standard library is not patched: a call that blocks (time.sleep, a database) stops every connection;"
            " make `import greenhttp.patch` the first line"
        )
    run(server, getattr(server.app, "__name__", type(server.app).__name__))


def say(line: str) -> None:
    """One line for the person at the terminal, on stderr."""
    print(f"greenhttp: {line}", file=sys.stderr, flush=True)


def run(server: Server, name: str) -> int:
    """Start the server, wait for a signal, stop it. Returns the exit code.

    The handlers are Python's, not the loop's: they also run while the application keeps the loop busy, so that a second
    Ctrl-C always gets through.
    """
    settings = server.settings
    asked: list[int] = []
    stop = Event()
    loop = gevent.get_hub().loop

    def on_signal(number: int, _: object) -> None:
        if number == signal.SIGTERM and signal.SIGTERM in asked:
            return  # sent to the process and to its group, or passed on by a wrapper: one request to stop
        if asked:
            os.write(2, b"greenhttp: stopped by force\n")  # print() may be what was interrupted
            os._exit(BROKEN)
        asked.append(number)
        loop.run_callback_threadsafe(stop.set)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, on_signal)
    # A signal that arrives just before the poll does not interrupt it, and Python's handler would run only when
    # something else wakes the loop. A byte in this pipe does.
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    waker = loop.io(woken, 1, ref=False)
    waker.start(os.read, woken, 512)
    server.start()
    for line in _introduction(server.addresses, name, settings, loop):
        say(line)
    stop.wait()
    if asked[0] == signal.SIGTERM and settings.graceful_timeout:
        say(f"stopping; running requests have {settings.graceful_timeout:g} s to finish")
        server.stop(timeout=settings.graceful_timeout)
    else:
        server.stop(timeout=0)
    return STOPPED


def _introduction(addresses: Sequence[str], name: str, settings: Settings, loop: Any) -> list[str]:
    patched = "standard library patched"
    if not settings.patch:
        patched = "NOT patched: a blocking call in the application stops every other request"
    kind = type(loop).__module__.split(".")[1]  # gevent.libev.corecext, gevent.libuv.loop
    backend = getattr(loop, "backend", "")
    wait = f"{settings.queue} more may wait" if settings.queue else "none waits"
    return [
        f"serving {name} at {', '.join(map(_clickable, addresses))}",
        f"version {__version__}, process {os.getpid()}, loop {kind} ({backend}), {patched}",
        f"up to {settings.concurrency} requests at once, {wait}; up to {settings.connections} connections",
        "Ctrl-C stops at once; TERM lets running requests finish",
    ]


def _clickable(url: str) -> str:
    for wildcard, local, family in (("//0.0.0.0:", "//127.0.0.1:", "IPv4"), ("//[::]:", "//[::1]:", "IPv6")):
        if wildcard in url:
            return f"{url.replace(wildcard, local)} (and every other {family} address of this machine)"
    return url


