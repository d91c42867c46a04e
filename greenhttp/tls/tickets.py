"""Keys of session tickets over time: a new one twice a day, and who has a ticket of the day before can still use it.

A ticket carries a session, sealed by the server, which keeps nothing (RFC 5077, RFC 8446 4.6.1). Whoever learns its key
can read the sessions that TLS 1.2 resumes, also later; so keys live in memory alone, and not for long.
"""

import os
from collections.abc import Iterable

SIZE = 80  # bytes: a name, a key for HMAC with SHA-256 and one for AES-256
MOST = 8  # keys
FRESH = 12 * 3600.0  # seconds for which a key seals
KEPT = 24 * 3600.0  # seconds for which it still opens, after that
YOUNG = 3600.0  # seconds for which a reload makes no other: MOST reloads in a row would drop all that clients have


def new_key() -> bytes:
    """A key for session tickets."""
    return os.urandom(SIZE)


class TicketKeys:
    """Keys, the newest of which seals.

    Arguments:
        made: keys with the time at which each was made, the newest first; empty: a first one is made.
        when: the time.
    """

    def __init__(self, when: float, made: Iterable[tuple[bytes, float]] = ()) -> None:
        self.made: list[tuple[bytes, float]] = list(made)
        if not self.made:
            self.add(when)

    def __repr__(self) -> str:
        return f"<{len(self.made)} ticket keys>"

    @property
    def keys(self) -> tuple[bytes, ...]:
        """80 bytes each, the newest first."""
        return tuple(key for key, _ in self.made)

    def add(self, when: float) -> None:
        """Seal with a new key from now on."""
        self.made = [(new_key(), when), *self.made][:MOST]

    def reload(self, when: float) -> None:
        """Seal with a new key, unless the one in use is young."""
        if when - self.made[0][1] >= YOUNG:
            self.add(when)

    def look(self, when: float) -> bool:
        """Whether there are others now: a new one because it is time, or an old one fewer."""
        before = self.keys
        self.made = [(key, min(made, when)) for key, made in self.made]  # of a clock set back: it would stay until then
        if when - self.made[0][1] >= FRESH:
            self.add(when)
        # A key has opened only since the one after it was made
        self.made = [self.made[0], *(
            one for one, after in zip(self.made[1:], self.made, strict=False) if when - after[1] < KEPT
        )]  # fmt: skip
        return self.keys != before
