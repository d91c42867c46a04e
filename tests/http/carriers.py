"""Two ways for a request to reach an application, so that rules which are not about HTTP/1's bytes are tried on both.

    over_http1      one connection in memory, one request after the other, bytes
    over_messages   a made-up protocol: messages in memory, all requests of a connection at once

Both are given requests as HTTP/1 writes them; the second takes head and content apart before it begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent.event import Event
from gevent.queue import Queue

from greenhttp.green.transport import MemoryStream
from greenhttp.http.application import PythonExchange
from greenhttp.http.body import PythonBody
from greenhttp.http.service import Service
from greenhttp.testing import Record, exchange, service_of
from tests.answers import Answer, Incomplete, one, unchunked

Request = bytes | Sequence[bytes]  # as it is sent; in pieces, each of which arrives by itself


@dataclass
class Conversation:
    """What became of the requests of one connection.

    Attributes:
        answers: the whole ones, in the order of their requests; interim answers before the final one.
        cut: whether an answer had begun and was not completed, and the client was made to notice.
        said: whatever a client could read, one way or another: for what must not be in it.
        log: what was reported.
    """

    answers: list[Answer] = field(default_factory=list)
    cut: bool = False
    said: bytes = b""
    log: list[Record] = field(default_factory=list)

    @property
    def only(self) -> Answer:
        (answer,) = self.answers
        return answer

    @property
    def contents(self) -> list[bytes]:
        return [answer.content for answer in self.answers]

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]

    @property
    def levels(self) -> list[str]:
        return [record.level for record in self.log]


def method_of(data: bytes) -> str:
    return data.lstrip(b"\r\n").partition(b" ")[0].decode("latin-1")


def over_http1(app: Any, *requests: Request, **settings: Any) -> Conversation:
    pieces = [piece for each in requests for piece in ([each] if isinstance(each, bytes) else each)]
    outcome = exchange(app, pieces, keep_open=True, **settings)
    conversation = Conversation(said=outcome.sent, log=outcome.log)
    methods = [method_of(each if isinstance(each, bytes) else b"".join(each)) for each in requests]
    rest = outcome.sent
    try:
        while rest:
            answer, rest = one(rest, methods[0], ended=outcome.ended != "open")
            conversation.answers.append(answer)
            if answer.status >= 200 and len(methods) > 1:
                del methods[0]
    except Incomplete:
        assert outcome.ended != "open", "an answer was not completed, and nobody could know"
    conversation.cut = bool(rest) or outcome.ended == "reset"
    return conversation


class Content(PythonBody):
    """Content that comes in pieces, each in a later turn of the loop than the one before."""

    def __init__(self, pieces: Sequence[bytes], length: int | None) -> None:
        super().__init__(length)
        self.pieces = pieces
        self.come: Queue[bytes] = Queue()
        self.held = b""

    def wanted(self) -> None:
        gevent.spawn(self._arrive)

    def _arrive(self) -> None:
        for piece in [*self.pieces, b""]:
            gevent.sleep(0)
            self.come.put(piece)

    def receive(self, most: int) -> bytes:
        if not self.held:
            self.held = self.come.get()
            if not self.held:
                self.come.put(b"")  # an end stays an end
        data, self.held = self.held[:most], self.held[most:]
        return data


class Message(PythonExchange):
    """One request of many, and what its answer was. Whatever is said when it must not be is a defect."""

    content = Content

    def __init__(self, service: Service, stream: MemoryStream, sent: Request) -> None:
        data = sent if isinstance(sent, bytes) else b"".join(sent)
        head, end, content = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
        coded = b"transfer-encoding" in head.lower()
        body = None
        if content or b"content-length" in head.lower() or coded:
            whole = unchunked(content)[0] if coded else content
            cut = 0 if isinstance(sent, bytes) else max(0, len(sent[0]) - len(head) - 4) % (len(whole) + 1)
            announced = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            length = int(announced[0].partition(b":")[2]) if announced and not coded else None
            body = self.content([piece for piece in (whole[:cut], whole[cut:]) if piece], length)
        super().__init__(service, stream, head + end, body)
        self.answers: list[Answer] = []
        self.length: int | None = None
        self.state = "nothing"  # then "begun", then "whole" or "cut"
        self.trailers: list[tuple[str, str]] = []
        self.defects: list[str] = []
        self.finished = Event()
        self.gone = False

    def _must(self, holds: bool, what: str) -> None:
        if not holds:
            self.defects.append(f"{what} while {self.state}")

    def informed(self, status: int, fields: list[tuple[str, str]]) -> None:
        self._must(self.state == "nothing", "informed")
        self.answers.append(Answer(status, "", fields, b"", "none"))

    def started(self, status: int, fields: list[tuple[str, str]], length: int | None) -> None:
        self._must(self.state == "nothing", "started")
        self.state, self.length = "begun", length
        self.answers.append(Answer(status, "", fields, b"", "chunked" if length is None else "length"))

    def told(self, data: bytes) -> None:
        self._must(self.state == "begun" and data != b"", "told")
        self.answers[-1].content += data
        self._must(self.length is None or len(self.answers[-1].content) <= self.length, "too much")

    def ended(self, trailers: list[tuple[str, str]]) -> None:
        self._must(self.state == "begun", "ended")
        self._must(self.length is None or len(self.answers[-1].content) == self.length, "too little")
        self.state, self.trailers = "whole", trailers

    def aborted(self) -> None:
        self._must(self.state in ("nothing", "begun"), "aborted")
        self.state = "cut"

    def make_room(self) -> None:
        gevent.sleep(0)  # the others go on between two pieces

    def has_gone(self) -> bool:
        return self.gone

    def over(self) -> None:
        self.finished.set()


def over_messages(app: Any, *requests: Request, **settings: Any) -> Conversation:
    conversation = Conversation()
    with service_of(app, conversation.log, settings) as service:
        stream = MemoryStream()
        messages = [Message(service, stream, each) for each in requests]
        for message in messages:
            message.begin()
        for message in messages:
            message.finished.wait()
    for message in messages:
        assert message.defects == []
        for answer in message.answers:
            conversation.said += repr(answer).encode("latin-1", "backslashreplace")
        if message.state == "whole":
            conversation.answers += message.answers
        conversation.cut = conversation.cut or message.state == "cut"
    return conversation
