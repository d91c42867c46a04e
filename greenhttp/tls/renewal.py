"""Certificates while they are served: files that change, time that runs out, ticket keys that grow old.

    renewal = Renewal(settings)         reads; raises ConfigError
    renewal.material                    to serve with
    renewal.look()                      every EVERY seconds: Material to serve with from now on, or None for the same
    renewal.take(sight(settings, ...))  the same, where another thread or process looks at the files

For the process that may read the files: the master, or the only one. What cannot be used is one line in the log, and
what was there stays: a certificate program may have written one of two files so far. It is tried again at each look.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from greenhttp.errors import ConfigError
from greenhttp.settings.values import Settings
from greenhttp.tls.described import DAY, Described
from greenhttp.tls.files import looked_at
from greenhttp.tls.material import Material, adapted, none_missing, read
from greenhttp.tls.pem import Pair
from greenhttp.tls.tickets import TicketKeys

log = logging.getLogger("greenhttp")

EVERY = 60.0  # seconds from look to look


class Sight(NamedTuple):
    """What the files were at one moment.

    Attributes:
        state: what tells whether they have changed since.
        material: None: they could not be used.
        error: why not, or None.
    """

    state: tuple[object, ...] = ()
    material: Material | None = None
    error: ConfigError | None = None


def sight(settings: Settings, before: Sight, used: Sequence[Pair] = (), hooked: bool = False) -> Sight:
    """The files as they are now, or `before` if nothing has changed; what could not be used is tried again.

    Arguments:
        used: pairs that are in use. Those whose files are there without being whole make it an error.
        hooked: as for `material.read`.

    Takes no lock and logs nothing, so that any thread or process may look.
    """
    state = looked_at(settings)  # before they are read: what changes meanwhile is seen by the next look
    if state == before.state and before.error is None:
        return before
    try:
        material = read(settings, hooked=hooked)
        none_missing(settings, material.pairs, used)
        return Sight(state, material)
    except ConfigError as error:
        return Sight(state, None, error)
    except OSError as error:
        return Sight(state, None, _without_means(error))


def _without_means(error: OSError) -> ConfigError:
    """Of files that are to be tried: no descriptor, no memory, no room in a file of memory."""
    return ConfigError(f"certfile: cannot try them ({error.strerror or 'OpenSSL could not open them'})")


class Renewal:
    """Certificates that are kept up to date.

    Arguments:
        keys: of tickets, with the times at which they were made, from a program before this one.
        held: what that program served with, for files that cannot be used any more.
        elsewhere: another process reads the files; begin with what is held.
        now: the clock, in seconds since 1970.
        hooked: as for `material.read`.

    Attributes:
        material: the newest that could be read.
        settings: those that name the files.
        seen: the files, as last looked at.
        tickets: the keys.

    Raises:
        ConfigError: as `material.read`.
    """

    def __init__(
        self,
        settings: Settings,
        keys: Iterable[tuple[bytes, float]] = (),
        held: Material | None = None,
        elsewhere: bool = False,
        now: Callable[[], float] = time.time,
        hooked: bool = False,
    ) -> None:
        self._now, self._hooked = now, hooked
        self._warned: dict[tuple[str, str], float] = {}  # certificate and what was said of it -> when
        self._described: list[tuple[Pair, Described]] = []
        self._fresh: Material | None = None  # could be read, and not taken yet
        self._late = False  # that has been told
        self._again = False  # they could not be read before
        self.tickets = TicketKeys(now(), keys)
        self.settings = settings
        if elsewhere and held is not None:
            self.seen = Sight()
        else:
            self.seen = sight(settings, Sight(), () if held is None else held.pairs, hooked)
        if self.seen.error is not None:
            if held is None:
                raise self.seen.error
            self.refuse(self.seen.error)
        self._use(self.seen.material or held)  # type: ignore[arg-type]  # one of the two

    def _use(self, material: Material) -> None:
        try:
            self._described = material.described(self._described)
        except OSError as error:
            raise _without_means(error) from None
        self.material = self._made_of(material)

    def _made_of(self, material: Material) -> Material:
        """These certificates, and all else as the settings and the time have it."""
        return adapted(replace(material, ticket_keys=self.tickets.keys), self.settings)

    def adopt(self, settings: Settings) -> None:
        """Other settings for the same files; tickets may get another key. Raises ConfigError, and all is as before."""
        material = adapted(self.material, settings)
        self.settings = settings
        self.tickets.reload(self._now())
        self._use(material)

    def follow(self, settings: Settings) -> Material:
        """Read again, by these settings from now on; tickets may get another key. Raises ConfigError, and all is as
        before."""
        seen = sight(settings, Sight(), self.material.pairs, self._hooked)
        if seen.error is not None:
            raise seen.error
        assert seen.material is not None
        self.settings, self.seen = settings, seen
        self.tickets.reload(self._now())
        self._fresh = seen.material
        self._renew(seen.material)
        return self.material

    def look(self) -> Material | None:
        """What to serve with from now on; None: what it was. Logs what is wrong, and what runs out."""
        return self.take(sight(self.settings, self.seen, self.material.pairs, self._hooked))

    def take(self, seen: Sight) -> Material | None:
        """The same, with what somebody else has seen of the files."""
        before = self.material
        if seen is not self.seen:
            last, self.seen = self.seen, seen
            if seen.material is not None:
                self._fresh, self._late, self._again = seen.material, False, last.error is not None
            elif seen.error is not None and str(seen.error) != str(last.error):
                self.refuse(seen.error)
        if self._fresh is not None:
            try:
                self._renew(self._fresh)
            except ConfigError as error:  # next time, then; who has seen the files will not tell again
                if not self._late:
                    self.refuse(error)
                self._late = True
        if self.tickets.look(self._now()):
            self.material = replace(self.material, ticket_keys=self.tickets.keys)
        self.warn()
        return None if self.material == before else self.material

    def _renew(self, fresh: Material) -> None:
        last, before = self.material, self._described
        self._use(fresh)
        self._fresh = None
        if self._again:
            self._again = False
            log.info("the certificates can be read again")
        if (fresh.pairs, fresh.authorities) != (last.pairs, last.authorities):
            there = {pair.certfile for pair in fresh.pairs}
            gone = [described.called() for pair, described in before if pair.certfile not in there]
            if gone:
                log.info("certificates no longer in use: %s", ", ".join(gone))
            told = ", ".join(f"{described.called()} until {described.end()}" for _, described in self._described)
            log.info("new certificates: %s", told)

    def refuse(self, error: ConfigError) -> None:
        """Files that cannot be used: one line."""
        log.error("the certificates cannot be read again, those from before stay in use: %s", error)

    def lines(self) -> list[str]:
        """A line for each certificate, for whoever starts the server."""
        return [described.told(pair.certfile) for pair, described in self._described]

    def warn(self) -> None:
        """Of what has expired or soon will, and of what clients refuse, once a day."""
        now = self._now()
        self._warned = {  # min: of a clock set back; it would be silent until then
            about: min(when, now) for about, when in self._warned.items() if now - when < DAY
        }
        for pair, described in self._described:
            doubt = described.doubt(now)
            about = (pair.certfile, described.end())
            if doubt and about not in self._warned:
                self._warned[about] = now
                name = os.path.basename(pair.certfile)
                if described.runs_out(now):
                    log.warning("the certificate for %s (%s) %s; renew it", described.called(), name, doubt)
                else:
                    log.warning("the certificate for %s (%s) %s", described.called(), name, doubt)
