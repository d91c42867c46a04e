"""A server as a program of its own: started, introduced, stopped by signals.

`run` is the last step of the command and of `serve` and `serve_stream`: it owns the process's signal handlers while the
server runs, and what is said on the terminal.
"""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import gevent
from gevent.event import Event

from greenhttp import __version__
from greenhttp.config import Settings
from greenhttp.server import Server

STOPPED, BROKEN = 0, 1


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


