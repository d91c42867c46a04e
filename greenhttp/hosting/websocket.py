"""A native handler made of a function that talks over a WebSocket."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, overload

from greenhttp.http.request import Request
from greenhttp.websockets.socket import WebSocket

Talk = Callable[[WebSocket], Any]
Handler = Callable[[Request], None]


@overload
def websocket(talk: Talk) -> Handler: ...
@overload
def websocket(
    *, protocols: Iterable[str] = (), origins: Iterable[str] | None = None
) -> Callable[[Talk], Handler]: ...
def websocket(
    talk: Talk | None = None, *, protocols: Iterable[str] = (), origins: Iterable[str] | None = None
) -> Handler | Callable[[Talk], Handler]:
    """Decorate a function of a WebSocket, so that it is a native handler.

        @greenhttp.websocket
        def chat(ws):
            for message in ws:
                ws.send(message)

    With arguments, those of `Request.websocket`: `@websocket(protocols=["graphql-ws"])`. Other requests than those for
    a WebSocket get 426. Its WebSocket is closed when the function returns.
    """
    for name, value in (("protocols", protocols), ("origins", origins)):
        if isinstance(value, str):
            raise TypeError(f"{name} is a list, not a str")
    if talk is None:
        return lambda function: websocket_handler(function, protocols, origins)
    return websocket_handler(talk, protocols, origins)


def websocket_handler(talk: Talk, protocols: Iterable[str], origins: Iterable[str] | None) -> Handler:
    chosen = tuple(protocols)
    allowed = None if origins is None else tuple(origins)

    @wraps(talk)
    def handler(request: Request) -> None:
        talk(request.websocket(protocols=chosen, origins=allowed))

    return handler
