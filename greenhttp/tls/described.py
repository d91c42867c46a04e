"""What a certificate says: for whom it is, who has issued it, and until when it is valid.

Read by the decoder that every CPython has for its own tests, so that no further package is needed.
"""

import re
import time
from calendar import timegm
from typing import Any, NamedTuple

from greenhttp.tls.pem import as_file

DAY = 86400.0
SOON = 14 * DAY  # before the end of a certificate: since when to warn

_UNLISTED = "has no subjectAltName: browsers and Go refuse it"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # whatever the locale

_HOST = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|[0-9a-f:]+")  # a common name may be that of a person


class Described(NamedTuple):
    """A certificate.

    Attributes:
        names: host names, in small letters, and IP addresses that it is for, from subjectAltName; where there is none,
            the common name (RFC 9525 2 lets clients ignore that).
        subject: its common name, or else all of its subject, for people.
        issuer: the same of who has issued it.
        begins, ends: since when and until when it is valid, in seconds since 1970.
        self_signed: whether subject and issuer are one.
        unlisted: whether there is no subjectAltName.
    """

    names: tuple[str, ...]
    subject: str
    issuer: str
    begins: float
    ends: float
    self_signed: bool
    unlisted: bool = False

    def doubt(self, now: float) -> str:
        """What is wrong with its time or its names, for a log line; "": nothing."""
        return self._time(now) or (_UNLISTED if self.unlisted else "")

    def _time(self, now: float) -> str:
        if now >= self.ends:
            return f"expired {_days(now - self.ends)} ago, on {self.end()}"
        if now < self.begins:
            return f"is not valid before {_date(self.begins)}; look at this machine's clock"
        if self.ends - now <= SOON:
            return f"expires in {_days(self.ends - now)}, on {self.end()}"
        return ""

    def runs_out(self, now: float) -> bool:
        """Whether it is time to renew it."""
        return now >= self.ends or self.begins <= now and self.ends - now <= SOON

    def told(self, certfile: str, now: float | None = None) -> str:
        """A line about it for people: for whom it is, who has issued it, until when it is valid.

        Arguments:
            now: to say what is wrong with its time; None: that is said elsewhere.
        """
        names = ", ".join(self.names) or f"nobody ({self.subject})"
        issuer = "itself" if self.self_signed else self.issuer
        time = "" if now is None else self._time(now)
        also = f", {_UNLISTED}" if self.unlisted and now is not None else ""
        return f"certificate {certfile}: for {names}, issued by {issuer}, {time or f'valid until {self.end()}'}{also}"

    def end(self) -> str:
        """Until when it is valid, for people, in UTC."""
        return _date(self.ends)

    def called(self) -> str:
        """The first of its names, and how many more there are; or its subject."""
        if not self.names:
            return self.subject
        more = len(self.names) - 1
        return self.names[0] + (f" and {more} more" if more else "")


def describe(chain: bytes) -> Described:
    """The first certificate of a PEM text. Raises `ssl.SSLError` or ValueError for what is none."""
    import _ssl

    with as_file(chain) as path:
        told: dict[str, Any] = _ssl._test_decode_cert(path)  # type: ignore[attr-defined]
    subject, issuer = told.get("subject", ()), told.get("issuer", ())
    return Described(
        _names(told.get("subjectAltName", ()), subject), _person(subject), _person(issuer),
        _seconds(told["notBefore"]), _seconds(told["notAfter"]), subject == issuer,
        not told.get("subjectAltName"),
    )  # fmt: skip


def _names(alternatives: Any, subject: Any) -> tuple[str, ...]:
    names = [_name(kind, text) for kind, text in alternatives if kind in ("DNS", "IP Address")]
    if not alternatives:
        names = [text.lower() for part in subject for key, text in part if key == "commonName"]
    return tuple(dict.fromkeys(name for name in names if _HOST.fullmatch(name)))


def _name(kind: str, text: str) -> str:
    if kind == "DNS":
        return text.lower()
    from ipaddress import ip_address  # only for this: it is no small module

    try:
        return str(ip_address(text.strip()))  # OpenSSL writes IPv6 in its own way
    except ValueError:
        return text.strip()


def _person(parts: Any) -> str:
    pairs = [pair for part in parts for pair in part]
    return next((text for key, text in pairs if key == "commonName"), ", ".join(text for _, text in pairs) or "nobody")


def _seconds(text: str) -> float:
    """Of a time as OpenSSL writes it: `Jan  5 09:34:43 2026 GMT`."""
    month, day, clock, year, _ = text.split()
    hours, minutes, seconds = map(int, clock.split(":"))
    return float(timegm((int(year), _MONTHS.index(month) + 1, int(day), hours, minutes, seconds)))


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _days(seconds: float) -> str:
    days = int(seconds // DAY)
    if days:
        return f"{days} day{'s' * (days != 1)}"
    hours = int(seconds // 3600)
    return f"{hours} hour{'s' * (hours != 1)}" if hours else "less than an hour"
