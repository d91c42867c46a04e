"""What a WSGI environ offers to a request that would change its protocol, under the names that libraries look for.

    gunicorn.socket          the connection itself: simple-websocket, flask-sock, python-engineio and -socketio
    wsgi.websocket           gevent-websocket's object: see `hosting.gevents`
    greenhttp.upgrade        upgrade(protocol) -> Stream, as `request.upgrade`

None of them is anything before it is used: an application that uses none is answered as it is without them. There is no
`werkzeug.socket`: libraries that find it take the server for Werkzeug's, which wants an answer behind the conversation,
and raise what it ignores.
"""

from typing import Any

from greenhttp.errors import HTTPError, StreamClosed
from greenhttp.green.handed import HandedSocket, socket_of, still_open
from greenhttp.hosting.gevents import WebSocket
from greenhttp.http.request import Request, hand_over

__all__ = ["OfferedSocket", "offer"]


class OfferedSocket:
    """The socket of the connection that a request came by: a gevent socket, from its first use on.

    Then the server knows nothing of the connection any more: it sends no answer, has no time-outs for it and never
    closes it. Whoever has it closes it; it is closed when nobody refers to it any more.
    """

    __slots__ = ("__weakref__", "_refusal", "_request", "_sock")

    def __init__(self, request: Request) -> None:
        self._refusal: HTTPError | None = None
        self._request: Request | None = request
        self._sock: HandedSocket | None = None

    def _taken(self) -> HandedSocket:
        if self._sock is None:
            if self._request is None:
                raise StreamClosed("the request is over")
            try:
                stream = hand_over(self._request, still_open())
            except HTTPError as error:  # whatever the application makes of it, that is the answer
                self._refusal = error
                raise StreamClosed(f"refused with {error}") from error
            self._sock = socket_of(stream)
            self._request = None
        return self._sock

    def withdraw(self) -> None:
        """The request is over: what was not used can no longer be."""
        self._request = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # whoever copies, inspects or pickles an environ does not use the socket
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._taken(), name)

    def __enter__(self) -> HandedSocket:
        return self._taken()

    def __exit__(self, *error: object) -> None:
        self._taken().close()

    def __repr__(self) -> str:
        return "<the socket of this request, not used>" if self._sock is None else repr(self._sock)


class Offers:
    """What one request is offered."""

    __slots__ = "_sock", "_ws"

    def __init__(self, sock: OfferedSocket, ws: WebSocket | None) -> None:
        self._sock = sock
        self._ws = ws

    @property
    def refusal(self) -> HTTPError | None:
        """The answer to a request whose protocol the application wanted to change, and may not."""
        refusal = self._sock._refusal
        return self._ws.refusal if refusal is None and self._ws is not None else refusal

    def withdraw(self) -> None:
        """The request is over."""
        self._sock.withdraw()
        if self._ws is not None:
            self._ws.withdraw()


def offer(environ: dict[str, Any], request: Request, allowed: tuple[str, ...]) -> Offers | None:
    """Put into the environ of a request with an Upgrade what it may be used by. `allowed`: `allow_upgrades`."""
    offered = {token.strip(" \t").lower() for token in environ.get("HTTP_UPGRADE", "").split(",")}
    others = not offered.isdisjoint(name.lower() for name in allowed)
    if others:
        environ["greenhttp.upgrade"] = request.upgrade
    elif "websocket" not in offered:
        return None
    sock = environ["gunicorn.socket"] = OfferedSocket(request)
    if "websocket" not in offered:
        return Offers(sock, None)
    ws = environ["wsgi.websocket"] = WebSocket(environ, request)
    environ["wsgi.websocket_version"] = ws.version
    return Offers(sock, ws)
