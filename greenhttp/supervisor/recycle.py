"""When a worker has done enough: after so many requests, so much memory, so much time. Pure: facts in, a reason out."""

import random
from dataclasses import dataclass

from greenhttp.settings.values import Settings

SOON = 30.0  # seconds


@dataclass(frozen=True)
class Bounds:
    """Of one worker; 0 is: none.

    Attributes:
        requests: answered.
        rss: bytes of resident memory.
        age: seconds since it was ready.
    """

    requests: int = 0
    rss: int = 0
    age: float = 0.0

    @property
    def any(self) -> bool:
        """Whether there is one at all."""
        return bool(self.requests or self.rss or self.age)

    def reason(self, requests: int, rss: int, age: float) -> str:
        """Why it has done enough, or ""."""
        if self.requests and requests >= self.requests:
            return f"{requests} requests of {self.requests} (max_requests)"
        if self.rss and rss >= self.rss:
            return f"{rss >> 20} MiB of {self.rss >> 20} MiB (max_rss)"
        if self.age and age >= self.age:
            return f"{age:.0f} s of {self.age:.0f} s (max_age)"
        return ""

    def why_in_vain(self, bare: int, rss: int, age: float) -> str:
        """Why it is in vain to replace a worker that has too much memory: the next one will have it as soon. Or "".

        Arguments:
            bare: what it had when it had only loaded the application.
            rss: what it has.
        """
        if not self.rss or rss < self.rss or age > SOON or bare < 0.9 * self.rss:
            return ""
        return f"it had {bare >> 20} MiB when it had only loaded the application, so raise max_rss"


def bounds_for(settings: Settings, chance: random.Random) -> Bounds:
    """Those of one worker: its own share of chance, lest all leave at the same moment.

    To `max_requests` up to `max_requests_jitter` is added, and up to a tenth is taken off `max_age`.
    """
    requests = settings.max_requests
    if requests:
        requests += chance.randint(0, settings.max_requests_jitter)
    return Bounds(requests, settings.max_rss, settings.max_age * (1 - chance.random() / 10))


def resident() -> int:
    """Bytes of this process that are in memory; 0 where that cannot be found out."""
    import resource
    import sys

    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: the most it ever was, in bytes
        return peak if sys.platform == "darwin" else 0
