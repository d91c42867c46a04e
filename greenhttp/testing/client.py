"""A client for tests: requests and answers as values, over the server in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import count
from typing import IO, TYPE_CHECKING, Any

from greenhttp.errors import ConfigError
from greenhttp.testing.memory import Record, service_of
from greenhttp.testing.messages import NOTHING, Answer, FormFields, Headers, Sent, read_answer, written

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from greenhttp.http.service import Service
    from greenhttp.settings.typed import ServerSettings


class Client:
    """Sends requests to an application through the server in memory, and reads the answers.

        answer = Client(app).get("/x")
        assert (answer.status, answer.json()) == (200, {"a": 1})

        with Client(app) as client:                 # one server for several requests
            client.put("/x", json={"a": 1})
            assert client.get("/x").json() == {"a": 1}

    Each request has a connection of its own. An answer is read to its end before it is returned: of a stream that never
    ends there is none. Redirects are not followed and cookies are not kept: a test reads Set-Cookie from an answer and
    sends Cookie itself.

    Arguments:
        app: a native handler, or a WSGI application.
        raise_errors: whether an exception in the application is raised by the call that sent the request, so that the
            test shows where it is from. False: it is answered with 500, as in production; see `log`.
        settings: by name, as for `Server`.

    Attributes:
        log: what the server reported, as Records, in order.

    Raises ConfigError for an application or a setting that cannot be.
    """

    def __init__(
        self, app: Callable[..., Any], *, raise_errors: bool = True, **settings: Unpack[ServerSettings]
    ) -> None:
        if not callable(app):
            raise ConfigError(f"the application must be callable, not {type(app).__name__}")
        from greenhttp.settings.values import Settings

        Settings(**settings)  # raises now what is wrong with them
        self.app = app
        self.raise_errors = raise_errors
        self.log: list[Record] = []
        self._settings = settings
        self._service: Service | None = None
        self._kept: ExitStack | None = None

    def __enter__(self) -> Self:
        if self._kept is not None:
            raise RuntimeError("this client has been entered already; make another one")
        self._kept = ExitStack()
        self._service = self._kept.enter_context(service_of(self.app, self.log, self._settings))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        kept, self._kept, self._service = self._kept, None, None
        if kept is not None:
            kept.close()

    def get(self, target: str, **sent: Unpack[Sent]) -> Answer:
        """GET. Arguments: as for `request`."""
        return self.request("GET", target, **sent)

    def head(self, target: str, **sent: Unpack[Sent]) -> Answer:
        """HEAD: the answer has no content. Arguments: as for `request`."""
        return self.request("HEAD", target, **sent)

    def options(self, target: str, **sent: Unpack[Sent]) -> Answer:
        """OPTIONS. Arguments: as for `request`."""
        return self.request("OPTIONS", target, **sent)

    def post(self, target: str, **sent: Unpack[Sent]) -> Answer:
        """POST. Arguments: as for `request`."""
        return self.request("POST", target, **sent)

    def put(self, target: str, **sent: Unpack[Sent]) -> Answer:
        """PUT. Arguments: as for `request`."""
        return self.request("PUT", target, **sent)

    def patch(self, target: str, **sent: Unpack[Sent]) -> Answer:
        """PATCH. Arguments: as for `request`."""
        return self.request("PATCH", target, **sent)

    def delete(self, target: str, **sent: Unpack[Sent]) -> Answer:
        """DELETE. Arguments: as for `request`."""
        return self.request("DELETE", target, **sent)

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Headers = (),
        json: Any = NOTHING,
        form: FormFields | None = None,
        content: str | bytes | IO[bytes] | Iterable[bytes] | None = None,
    ) -> Answer:
        """Send a request and read its answer. Suspends the calling green thread alone.

        Arguments:
            method: any token, as it is: methods are case-sensitive (RFC 9110 9.1).
            target: begins with `/`; a query belongs to it. Spaces and what is not ASCII are %-encoded as UTF-8.
            headers: a mapping, whose values may be lists, or pairs. Host, Content-Type and Content-Length are added
                where they are not given.
            json: a value to send as JSON.
            form: fields to send as a form: a mapping, whose values may be lists, or pairs. With a file among them - a
                binary file, (filename, bytes) or (filename, bytes, type) - it is multipart/form-data (RFC 7578), else
                urlencoded.
            content: bytes; a str, sent as UTF-8; or an iterable of bytes or a binary file, sent in chunks (RFC 9112
                7.1) unless Content-Length is among the headers. Its pieces arrive one after the other; all of them
                are taken before the first is sent.

        Raises:
            ValueError, TypeError: what cannot be sent.
            ConnectionError: the server ended the connection before the answer was whole.
            Exception: whatever the application raised, unless `raise_errors` is False; RequestTimeout too. An HTTPError
                before the answer has begun is the answer.
        """
        pieces = list(written(method, target, headers, json, form, content))
        before = len(self.log)
        if self._service is not None:
            sent, ended = _asked(self._service, pieces)
        else:
            with service_of(self.app, self.log, self._settings) as service:
                sent, ended = _asked(service, pieces)
        if self.raise_errors:
            for record in self.log[before:]:
                if record.level == "error" and record.error is not None:
                    raise record.error
        return read_answer(sent, method, ended)


def _asked(service: Service, pieces: list[bytes]) -> tuple[bytes, str]:
    """Everything the server sent on a connection of its own, and how that ended, as in Outcome."""
    import gevent

    from greenhttp.green.transport import MemoryStream
    from greenhttp.http.connection import State, connect_memory

    stream = MemoryStream(pieces, keep_open=True)  # a client that waits has not gone
    connection = connect_memory(service, stream)
    try:
        for turn in count():
            state = connection.state
            if state in (State.DRAIN, State.LINGER, State.CLOSED) or state == State.HEAD and stream.outgoing:
                break  # whatever is read from now on, the answer has left
            gevent.sleep(0 if turn < 100 else 0.001)
        ended = "open" if state != State.CLOSED else "reset" if stream.reset else "closed"
        return bytes(stream.outgoing), ended
    finally:
        if connection.state != State.CLOSED:
            connection.cut()
