"""`environ["wsgi.websocket"]`: a WebSocket with the interface of the package gevent-websocket.

Until it is used the request is one like any other. Its first `receive`, `send` or `close` answers with 101; a client
whose handshake is none, or that comes from a foreign page, is refused there (`request.websocket`).

Where the package is installed its `WebSocketError` is what is raised here, so that programs that catch it go on.
"""

import logging
from collections.abc import Callable
from typing import Any, NoReturn

from greenhttp.errors import HTTPError, WebSocketClosed
from greenhttp.http.request import Request

__all__ = ["Client", "Handler", "WebSocket"]

DEAD = "Socket is dead"
CLOSED = "Connection is already closed"


class WebSocketError(OSError):
    """The WebSocket is closed. In the place of gevent-websocket's where that is not installed."""


def error_class() -> type[OSError]:
    """gevent-websocket's if it is installed."""
    try:
        from geventwebsocket.exceptions import WebSocketError as theirs  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return WebSocketError
    return theirs  # type: ignore[no-any-return]


class Client:
    """A client as a server lists it, in `server.clients`."""

    def __init__(self, address: Any, ws: "WebSocket") -> None:
        self.address = address
        self.ws = ws


class Clients:
    """What stands in for the server where there is none of gevent's: the clients of this process."""

    def __init__(self) -> None:
        self.clients: dict[Any, Client] = {}
        self.application: Callable[..., Any] | None = None


ELSEWHERE = Clients()


class Handler:
    """What libraries ask a WebSocket's `handler` for."""

    logger = logging.getLogger("geventwebsocket")

    def __init__(self, server: Any, environ: dict[str, Any], websocket: "WebSocket") -> None:
        self.server = server
        self.environ = environ
        self.websocket: WebSocket | None = websocket
        self.application = server.application
        self.client_address = environ["REMOTE_ADDR"], environ["REMOTE_PORT"]

    @property
    def active_client(self) -> Client:
        """This client, as the server lists it."""
        client: Client = self.server.clients[self.client_address]
        return client


class WebSocket:
    """A WebSocket as gevent-websocket has it.

    Attributes:
        environ: of the request.
        closed: whether it is over, or is being closed by this side.
        refusal: the HTTPError that is the answer, if the client may not have it.
        handler: the server, the environ and the client's address; see Handler.
    """

    OPCODE_CONTINUATION = 0x00
    OPCODE_TEXT = 0x01
    OPCODE_BINARY = 0x02
    OPCODE_CLOSE = 0x08
    OPCODE_PING = 0x09
    OPCODE_PONG = 0x0A

    def __init__(self, environ: dict[str, Any], request: Request, server: Any = ELSEWHERE) -> None:
        self.environ = environ
        self.closed = False
        self.handler: Any = Handler(server, environ, self)
        self.refusal: HTTPError | None = None
        self._request: Request | None = request
        self._socket: Any = None
        self._listed = False

    def open(self, protocols: tuple[str, ...] = ()) -> Any:
        """Answer with 101, if that is not done; the greenhttp.WebSocket."""
        if self._socket is None:
            if self._request is None:
                self._refuse(DEAD)
            try:
                self._socket = self._request.websocket(protocols=protocols)
            except HTTPError as error:
                self.refusal, self._request, self.closed = error, None, True
                self._refuse(f"refused with {error}")
            self._request = None
            self.handler.server.clients[self.handler.client_address] = Client(self.handler.client_address, self)
            self._listed = True
        return self._socket

    @property
    def origin(self) -> str | None:
        return self.environ.get("HTTP_ORIGIN")

    @property
    def protocol(self) -> str | None:
        """What the client has asked for, as it is sent: gevent-websocket's meaning of it."""
        return self.environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL")

    @property
    def version(self) -> str | None:
        return self.environ.get("HTTP_SEC_WEBSOCKET_VERSION")

    @property
    def path(self) -> str | None:
        return self.environ.get("PATH_INFO")

    @property
    def stream(self) -> Any:
        """None once it is closed; else something that is true."""
        return None if self.closed else self.handler

    @property
    def logger(self) -> logging.Logger:
        logger: logging.Logger = self.handler.logger
        return logger

    def receive(self) -> str | bytearray | None:
        """The next message: text as str, else a bytearray. None when the client has closed it or has gone; raises
        WebSocketError if that was so before."""
        if self.closed:
            self._refuse(CLOSED)
        try:
            message = self.open().receive()
        except WebSocketClosed:
            self._end()
            return None
        return message if isinstance(message, str) else bytearray(message)

    def read_message(self) -> str | bytearray | None:
        """As `receive`."""
        return self.receive()

    def send(self, message: Any, binary: bool | None = None) -> None:
        """Send a message: text if it is a str, unless `binary` says. Raises WebSocketError if it is closed."""
        if binary is None:
            binary = not isinstance(message, str)
        self.send_frame(message, self.OPCODE_BINARY if binary else self.OPCODE_TEXT)

    def send_frame(self, message: Any, opcode: int) -> None:
        """Send text, bytes or a ping."""
        if self.closed:
            self._refuse(DEAD)
        if opcode == self.OPCODE_BINARY:
            data: str | bytes = message.encode() if isinstance(message, str) else bytes(message)
        else:
            binary_like = isinstance(message, bytes | bytearray | memoryview)
            data = bytes(message).decode() if binary_like else str(message or "")
        try:
            if opcode == self.OPCODE_PING:
                self.open().ping(data.encode() if isinstance(data, str) else data)
            elif opcode in (self.OPCODE_TEXT, self.OPCODE_BINARY):
                self.open().send(data)
            else:
                raise ValueError(f"frames of opcode {opcode} are the server's to send; use close()")
        except WebSocketClosed:
            self._end()
            self._refuse(DEAD)

    def close(self, code: int = 1000, message: Any = b"") -> None:
        """Close it; closing twice is nothing."""
        if self.closed:
            return
        reason = bytes(message).decode() if isinstance(message, bytes | bytearray) else str(message or "")
        try:
            self.open().close(code, reason)
        except WebSocketClosed:
            pass
        finally:
            self._end()

    def withdraw(self) -> None:
        """The request is over, and with it the WebSocket."""
        self._request = None
        self._end()
        self.handler.websocket = None  # else each would keep the other, and the environ, and what else is in it
        if self.environ.get("wsgi.websocket") is self:
            self.environ["wsgi.websocket"] = None

    def _end(self) -> None:
        self.closed = True
        if self._listed:
            self._listed = False
            clients = self.handler.server.clients
            if (mine := clients.get(self.handler.client_address)) is not None and mine.ws is self:
                del clients[self.handler.client_address]

    def _refuse(self, why: str) -> NoReturn:
        raise error_class()(why)

    def __repr__(self) -> str:
        return f"<WebSocket {self.path}, {'closed' if self.closed else 'open' if self._socket else 'not used'}>"
