"""Certificates while they are served: files that change, time that runs out, ticket keys that grow old.

    renewal = Renewal(settings)         reads; raises ConfigError
    renewal.material                    to serve with
    renewal.look()                      every EVERY seconds: Material to serve with from now on, or None for the same

For the process that may read the files: the master, or the only one. What cannot be used is one line in the log, and
what was there stays: a certificate program may have written one of two files so far. It is tried again at each look.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from greenhttp.errors import ConfigError
from greenhttp.settings.values import Settings
from greenhttp.tls.described import DAY
from greenhttp.tls.files import looked_at
from greenhttp.tls.material import Material, new_ticket_key, read

log = logging.getLogger("greenhttp")

EVERY = 60.0  # seconds from look to look
KEYS = 2  # keys of tickets: the one of today seals, that of yesterday still opens


class Renewal:
    """Certificates that are kept up to date.

    Arguments:
        ticket_keys: those in use, from a program before this one.
        now: the clock, in seconds since 1970.

    Attributes:
        material: the newest that could be read.

    Raises:
        ConfigError: as `material.read`.
    """

    def __init__(
        self, settings: Settings, ticket_keys: Sequence[bytes] = (), now: Callable[[], float] = time.time
    ) -> None:
        self._now = now
        self._refused = ""  # what was wrong at the last look
        self._warned: dict[tuple[str, str], float] = {}  # certificate and what was said of it -> when
        self._sealed = now()  # since when the newest ticket key is in use
        self._follow(settings, ticket_keys)

    def _follow(self, settings: Settings, ticket_keys: Sequence[bytes]) -> None:
        seen = looked_at(settings)  # before they are read: what changes meanwhile is seen by the next look
        self._use(read(settings, ticket_keys))
        self._settings, self._seen, self._refused = settings, seen, ""

    def _use(self, material: Material) -> None:
        self._described = material.described()
        self.material = material

    def follow(self, settings: Settings) -> Material:
        """Read again, by these settings from now on; ticket keys stay. Raises ConfigError, and all is as before."""
        self._follow(settings, self.material.ticket_keys)
        return self.material

    def look(self) -> Material | None:
        """What to serve with from now on; None: what it was. Logs what is wrong, and what runs out."""
        before = self.material
        seen = looked_at(self._settings)
        if seen != self._seen or self._refused:
            self._seen = seen
            self._read()
        if self._now() - self._sealed >= DAY:
            self._sealed = self._now()
            keys = (new_ticket_key(), *self.material.ticket_keys)[:KEYS]
            self.material = replace(self.material, ticket_keys=keys)
        self._warn()
        return None if self.material == before else self.material

    def _read(self) -> None:
        try:
            fresh = read(self._settings, self.material.ticket_keys)
        except ConfigError as error:
            if str(error) != self._refused:
                log.error("the certificates cannot be read again, those from before stay in use: %s", error)
            self._refused = str(error)
            return
        self._refused = ""
        if fresh != self.material:
            self._use(fresh)
            told = ", ".join(f"{described.called()} until {described.end()}" for _, described in self._described)
            log.info("new certificates: %s", told)

    def _warn(self) -> None:
        """Of what has expired or soon will, once a day."""
        now = self._now()
        self._warned = {about: when for about, when in self._warned.items() if now - when < DAY}
        for pair, described in self._described:
            doubt = described.doubt(now)
            about = (pair.certfile, described.end())
            if doubt and about not in self._warned:
                self._warned[about] = now
                name = os.path.basename(pair.certfile)
                log.warning("the certificate for %s (%s) %s; renew it", described.called(), name, doubt)
