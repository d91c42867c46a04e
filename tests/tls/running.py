"""A TLS server in this process, with an honest client beside whatever else is done to it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

import gevent

from greenhttp.green.tls import Certificates
from greenhttp.server import Server
from tests.http.apps import request as asked
from tests.tls.peers import NAME, Client, Flight, Peer, connect

HOUR = 3600


class Serving:
    """A started server. What it served stands in `seen`: each path, and the content or the error of its reading.

    Attributes:
        honest: a connection from before everything else, kept to the end; None where HTTP is not spoken.
    """

    def __init__(self, server: Any, seen: list[tuple[str, Any]], log: Callable[[], list[str]]) -> None:
        self.server, self.seen, self.log = server, seen, log
        self._opened: list[Any] = []
        self.honest = None
        if server.interface != "stream":
            self.honest = Client(server.address)
            self.unharmed(0)

    @property
    def address(self) -> Any:
        return self.server.address

    def count(self, name: str) -> int:
        return self.server.statistics()[name]

    def until(self, condition: Callable[[], Any]) -> None:
        while not condition():
            gevent.sleep(0.001)

    def peer(self, *arguments: Any, **options: Any) -> Peer:
        self._opened.append(Peer(self.address, *arguments, **options))
        return self._opened[-1]

    def client(self, *arguments: Any, **options: Any) -> Client:
        self._opened.append(Client(self.address, *arguments, **options))
        return self._opened[-1]

    def plain(self, data: bytes = b"") -> Any:
        """A socket of which nobody knows that TLS is meant."""
        self._opened.append(connect(self.address))
        self._opened[-1].sendall(data)
        return self._opened[-1]

    def half(self, version: str = "1.3") -> tuple[Any, Flight]:
        """A socket, and the client that is still to speak through it."""
        return self.plain(), Flight(version)

    def unharmed(self, lines: int = 1) -> None:
        """Everybody else goes now, if anybody is left: the honest client is answered, so is a new one, nothing is left
        over, and there are at most so many lines in the log."""
        self.hang_up()
        self.until(lambda: self.count("connections") == 1)
        assert self.honest.ask(asked(b"GET /honest HTTP/1.1")).content == b"/honest "
        new = self.client()
        assert new.ask(asked(b"GET /new HTTP/1.1")).content == b"/new "
        self.hang_up()
        self.until(lambda: self.count("connections") == 1)
        self.seen[:] = [it for it in self.seen if it[0] not in ("/honest", "/new")]
        gevent.idle()
        assert len(self.log()) <= lines, self.log()

    def hang_up(self) -> None:
        for one in self._opened:
            one.close()
        self._opened.clear()

    def close(self) -> None:
        self.hang_up()
        if self.honest is not None:
            self.honest.close()
        self.server.stop(0)


class Servers:
    """serve(**settings) -> Serving; all are stopped by `close`.

    Arguments:
        send_buffer: bytes that the system holds of what the server sends.
        app: another than the one that answers with the path, a space and the content.
    """

    def __init__(self, pair: tuple[str, str], log: Callable[[], list[str]]) -> None:
        self._pair, self._log = pair, log
        self._started: list[Serving] = []

    def __call__(self, *, app: Any = None, send_buffer: int | None = None, **settings: Any) -> Serving:
        seen: list[tuple[str, Any]] = []

        def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            path = environ["PATH_INFO"]
            try:
                content = environ["wsgi.input"].read()
            except OSError as error:
                seen.append((path, type(error).__name__))
                raise
            seen.append((path, content))
            start_response("200 OK", [])
            return [path.encode() + b" " + content]

        calm = {"tls_timeout": HOUR, "header_timeout": HOUR, "keepalive_timeout": HOUR, "body_timeout": HOUR}
        listener = socket.socket()
        if send_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)  # those that are accepted inherit it
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        server = Server(app or answer, bind=f"https://fd://{listener.detach()}", **{**calm, **settings})
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._pair)
        server.certificates = Certificates([((NAME,), context)])
        server.start()
        self._started.append(Serving(server, seen, self._log))
        return self._started[-1]

    def close(self) -> None:
        while self._started:
            self._started.pop().close()
        gevent.idle()
