"""pre_request and post_request of gunicorn, with objects that have what such hooks use.

A hook may change `req.headers` before the application sees them, as gunicorn lets it: the environ follows.
"""

import logging
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent

from greenhttp.hosting.wsgi import source_of
from greenhttp.http.service import naming

log = logging.getLogger("greenhttp")


class Asked:
    """A request, as gunicorn's hooks see it.

    Attributes:
        method, uri, path, query: as sent; `path` is %-decoded.
        version: a pair like (1, 1).
        headers: a list of (NAME, value), names in capitals; a repeated field is one, joined.
        scheme: "http" or "https".
        remote_addr: (host, port) of the peer, or "" over a UNIX socket.
        body: the content, `wsgi.input`.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        self.method: str = environ["REQUEST_METHOD"]
        self.uri: str = environ["RAW_URI"]
        self.path: str = environ["PATH_INFO"]
        self.query: str = environ["QUERY_STRING"]
        self.fragment = ""
        self.version = tuple(int(part) for part in environ["SERVER_PROTOCOL"].removeprefix("HTTP/").split("."))
        self.scheme: str = environ["wsgi.url_scheme"]
        address, port = environ["REMOTE_ADDR"], environ["REMOTE_PORT"]
        self.remote_addr: Any = (address, int(port)) if port else ""
        self.peer_addr = self.remote_addr
        self.body = environ["wsgi.input"]
        self._trailers = environ.get("greenhttp.trailers")
        self.headers = [(_name(key), value) for key, value in environ.items() if _is_field(key)]

    @property
    def trailers(self) -> list[tuple[str, str]]:
        """As `headers`: the fields that came behind the content, once that was read to its end."""
        return [] if self._trailers is None else [(name.upper(), value) for name, value in self._trailers.pairs]


class Answered:
    """An answer, as gunicorn's hooks see it.

    Attributes:
        status: like "200 OK"; None if none was begun.
        status_code: the number, 0 for none.
        headers: a list of (name, value), as they went out.
        sent: bytes of content.
    """

    def __init__(self, status: int, sent: int, head: bytes) -> None:
        line, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.status: str | None = line.partition(" ")[2] if head else None
        self.status_code = status
        self.headers = [(name, value) for name, _, value in (field.partition(": ") for field in fields)]
        self.headers_sent = bool(head)
        self.sent = sent


def around(
    worker: object, before: Callable[..., object] | None, after: Callable[..., object] | None
) -> Callable[[dict[str, Any]], Callable[[int, int, bytes], None]] | None:
    """What WSGI takes as `hooks`; None if there is nothing to call.

    Arguments:
        worker: the first argument of both.
        before: pre_request(worker, req). What it raises is an error of the application: 500.
        after: post_request(worker, req, environ, resp). What it raises is logged.
    """
    if before is None and after is None:
        return None

    def begin(environ: dict[str, Any]) -> Callable[[int, int, bytes], None]:
        request = Asked(environ)
        if before is not None:
            fields = list(request.headers)
            before(worker, request)
            if request.headers != fields:
                _replace(environ, request.headers)

        def end(status: int, sent: int, head: bytes) -> None:
            try:
                if after is not None:
                    after(worker, request, environ, Answered(status, sent, head))
            except Exception:
                _log_failure(request)

        return end

    return begin


def _log_failure(request: Asked) -> None:
    who, id = source_of(getcurrent()) or ("", "")
    what = f"{request.method} {request.uri.partition('?')[0]}"  # as sent: a decoded path may have line ends
    about = {"peer": who or None, "request_id": id or None, "request": what}
    log.exception("%s%s: post_request failed", naming(who, id or None), what, extra=about)


def _is_field(key: str) -> bool:
    return key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH")


def _name(key: str) -> str:
    return key.removeprefix("HTTP_").replace("_", "-")


def _replace(environ: dict[str, Any], fields: list[tuple[str, str]]) -> None:
    for key in [key for key in environ if _is_field(key)]:
        del environ[key]
    for name, value in fields:
        plain = name.upper().replace("-", "_")
        key = plain if plain in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{plain}"
        between = "; " if key == "HTTP_COOKIE" else ", "
        environ[key] = f"{environ[key]}{between}{value}" if key in environ else value
