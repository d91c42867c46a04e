"""Every exception greenhttp raises on purpose, as one tree.

    GreenError
    ├── ConfigError            a setting, an address or an application that cannot be used
    │   └── AppError           the application could not be found or imported
    ├── WireError              bytes that break HTTP; carries the status to answer with
    │   ├── LimitError         bytes that are well formed but more than a limit allows
    │   └── RequestRefused     a whole request that is not for the application: its proxy, its host or its path
    ├── BodyError              the request body ended early or was malformed (an OSError, as PEP 3333 apps expect)
    │   └── BodyTimeout        the client was silent or too slow while the application waited for the body
    ├── HTTPError              for native handlers: raised, it is the answer
    ├── ResponseError          the application tried to send what HTTP forbids
    ├── RequestTimeout         the request ran longer than `request_timeout`
    ├── StreamClosed           read from or write to a stream that was closed on this side
    ├── TLSError               TLS has failed: a handshake, or what came after it (also a ConnectionError)
    │   └── StreamTruncated    the connection ended without TLS's goodbye: bytes may be missing (also an EOFError)
    ├── StreamTimeout          a stream operation passed its deadline (also a TimeoutError)
    ├── LineTooLong            no line end within the limit given to readline or readuntil
    └── OffloadError           a call could not be done in a process of its own
        └── OffloadTimeout     an offloaded call was not finished within its `timeout` (also a TimeoutError)

Wire errors never name the offending bytes: what a client sent does not belong in an answer.
"""

from typing import Any


class GreenError(Exception):
    """The root of the tree."""


class ConfigError(GreenError):
    """A setting, an address or an application that cannot be used; the message says which and what to do."""


class AppError(ConfigError):
    """The application could not be found or imported."""


class WireError(GreenError):
    """Bytes from the peer that break HTTP (RFC 9112, or the stricter contract of this server).

    Arguments:
        status: the status to answer with, 400-599. The connection closes after it.
        reason: what was wrong, for the log.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"


class LimitError(WireError):
    """Well-formed bytes beyond a limit; `reason` names the setting, `limit` is its value."""

    def __init__(self, status: int, reason: str, limit: int = 0) -> None:
        super().__init__(status, reason)
        self.limit = limit


class RequestRefused(WireError):
    """A whole request that never reaches the application.

    What its proxy says of it cannot be (400), its path is outside of `root_path` (404), its host is not one of
    `allowed_hosts` (421), or it is to come by https (308, `https_redirect`): then `location` is where to.
    """

    def __init__(self, status: int, reason: str, location: str | None = None) -> None:
        super().__init__(status, reason)
        self.location = location


class BodyError(GreenError, OSError):
    """The request body ended early, was malformed or was too large: raised by the read that met it.

    `status` is what the client is answered with if nothing was sent yet: 400, 408, 413, 431, or 507 where the content
    is gathered first (`gather_chunked`) and there is no room for it.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class BodyTimeout(BodyError, TimeoutError):
    """The client was silent for `body_timeout` or slower than `body_min_rate` while the body was awaited."""


class HTTPError(GreenError):
    """Raised in a native handler, the answer itself: `raise HTTPError(404, "no such page")`. It is not logged.

    Arguments:
        status: 400 to 599.
        text: said to the client, as plain text; the status's own phrase if empty.
        headers: further fields, as for Response.
    """

    def __init__(self, status: int, text: str = "", headers: Any = ()) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text
        self.headers = headers

    def __str__(self) -> str:
        return f"{int(self.status)} {self.text}".rstrip()


class ResponseError(GreenError, ValueError):
    """The application tried to send a status, name or value that HTTP forbids (RFC 9110 sections 5 and 15)."""


class RequestTimeout(GreenError):
    """The request ran longer than `request_timeout`; raised inside its green thread."""


class StreamClosed(GreenError, ConnectionError):
    """The stream was closed, or aborted, on this side."""


class TLSError(GreenError, ConnectionError):
    """TLS has failed: a handshake, or what came after it cannot be decrypted. The text is OpenSSL's reason."""


class StreamTruncated(TLSError, EOFError):
    """The connection ended without TLS's goodbye (close_notify, RFC 8446 6.1): bytes may be missing at the end of what
    was read, and nobody can tell. What had arrived can still be read."""


class StreamTimeout(GreenError, TimeoutError):
    """A stream operation passed its deadline; the stream is still usable for what it had buffered."""


class LineTooLong(GreenError, ValueError):
    """No terminator within the limit; the bytes stay in the stream."""


class OffloadError(GreenError):
    """An offloaded call could not be done: its process died, or what it takes or gives cannot be pickled."""


class OffloadTimeout(OffloadError, TimeoutError):
    """An offloaded call was not finished within its `timeout`, its wait for a thread included."""
