"""Certificates of a process that serves alone, renewed while it does. With workers the supervisor does that."""

import logging
import os
from typing import TYPE_CHECKING

from gevent import get_hub, spawn
from gevent.event import Event

from greenhttp.tls import renewal
from greenhttp.tls.material import Material

if TYPE_CHECKING:
    from gevent import Greenlet

    from greenhttp.server import Server

log = logging.getLogger("greenhttp")


class Renewing:
    """See the module. For a server whose settings name certificates; one that has got them otherwise is left alone.

    Arguments:
        server: not started yet.

    Raises:
        ConfigError: the files cannot be used.
        HookError: ssl_context has failed.
    """

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._renewal: renewal.Renewal | None = None
        self._unused: Material | None = None  # could not be used yet
        self._now = Event()
        self._thread: Greenlet | None = None
        if server.settings.certfile and server.certificates is None:
            self._renewal = renewal.Renewal(server.settings)
            self._use(self._renewal.material)

    @property
    def any(self) -> bool:
        """Whether there are files to look at."""
        return self._renewal is not None

    def lines(self) -> list[str]:
        """A line for each certificate, for whoever starts the server."""
        return [] if self._renewal is None else self._renewal.lines()

    def start(self) -> None:
        """Look at the files once a minute from now on."""
        if self._renewal is not None:
            self._renewal.warn()
            self._thread = spawn(self._run, self._renewal)

    def look(self) -> None:
        """Look at once. For any callback of the loop."""
        self._now.set()

    def stop(self) -> None:
        """Look no more."""
        if self._thread is not None:
            self._thread.kill(block=False)

    def _run(self, kept: renewal.Renewal) -> None:
        while True:
            self._now.wait(renewal.EVERY)
            self._now.clear()
            # In a real thread, for a file system may be slow
            seen = get_hub().threadpool.apply(renewal.sight, (kept.settings, kept.seen, kept.material.pairs))
            material = kept.take(seen) or self._unused
            if material is not None:
                self._renew(material)

    def _renew(self, material: Material) -> None:
        self._unused = None
        try:
            self._use(material)
        except OSError as error:  # no descriptor to be had, say
            self._unused = material
            log.error("the new certificates cannot be used yet: %s", error)
        except Exception as error:  # of the hook ssl_context, say
            log.error("the new certificates cannot be used, the old ones stay: %s", error, exc_info=error.__cause__)

    def _use(self, material: Material) -> None:
        self._server.renew(self._server.certificates_of(material))


class Terminal:
    """Whether this process still has the terminal that it had at the start."""

    def __init__(self) -> None:
        self._had = _has_terminal()

    @property
    def gone(self) -> bool:
        """Somebody has closed it, which is a reason to end; to those who run without one HUP means something else."""
        return self._had and not _has_terminal()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


__all__ = ["Renewing", "Terminal"]
