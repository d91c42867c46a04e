"""What outsiders can make the log say at will: refusals, connections that break or may not come in.

Some lines a second of each kind are written. The others are counted, and the count is logged when their second is
over, or when the server stops, so that the last line of a flood says how large it was. Where the log takes debug, the
others are written too, at that level.

There is a timer while something is withheld, one for each kind, and none otherwise.
"""

import time
from collections.abc import Callable
from typing import Any

import gevent

LINES = 5  # of one kind
PERIOD = 1.0  # seconds
KINDS = {  # -> what is counted
    "refusals": "refusal{}",
    "overload": "refusal{} because of overload",
    "disconnections": "disconnection{}",
    "arrivals": "connection{} closed before a request",
    "strangers": "connection{} from peers that are not listed in proxy_allow_from",
    "handshakes": "connection{} whose TLS handshake failed",
}


class Noise:
    """Arguments:
    report: report(level, message), for the log; must neither block nor raise.
    heard: whether anybody takes entries of a level.
    """

    def __init__(self, report: Callable[[str, str], None], heard: Callable[[str], bool]) -> None:
        self._report, self._heard = report, heard
        self._bursts = {kind: Burst(report, what) for kind, what in KINDS.items()}

    def __call__(self, kind: str, message: str, level: str = "info") -> None:
        """Log it, or count it. To be called in the hub's thread; neither blocks nor raises."""
        if not self._heard(level):
            return
        burst = self._bursts[kind]
        if burst.takes(level):
            self._report(level, message)
        elif self._heard("debug"):
            self._report("debug", message)
        else:
            burst.withhold()

    def end(self) -> None:
        """Log what is still withheld; nothing is left running."""
        for burst in self._bursts.values():
            burst.tell()


class Burst:
    """What came of one kind since `began`."""

    def __init__(self, report: Callable[[str, str], None], what: str) -> None:
        self._report, self._what = report, what
        self._began = -PERIOD
        self._written = self._withheld = 0
        self._level = "info"
        self._timer: Any = None

    def takes(self, level: str) -> bool:
        """Whether one more may be written."""
        now = time.monotonic()
        if now >= self._began + PERIOD:
            self.tell()
            self._began, self._written, self._level = now, 0, level
        self._written += 1
        return self._written <= LINES

    def withhold(self) -> None:
        """One was not written."""
        self._withheld += 1
        if self._timer is None:
            left = self._began + PERIOD - time.monotonic()
            self._timer = gevent.get_hub().loop.timer(max(left, 0.001), ref=False)
            self._timer.start(self.tell, update=True)

    def tell(self) -> None:
        """Log how many were not."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()
        withheld, self._withheld = self._withheld, 0
        if withheld:
            what = self._what.format("" if withheld == 1 else "s")
            self._report(self._level, f"and {withheld} more {what} in the last second (log_level=debug logs all)")
