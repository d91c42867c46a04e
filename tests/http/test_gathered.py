"""gather_chunked: chunked content is here before the application is asked, and has a length."""

from __future__ import annotations

import errno
import os
import tempfile
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp.errors import BodyError
from greenhttp.http import body as body_module
from greenhttp.http.store import Store
from greenhttp.testing import every_split, exchange
from tests.answers import answers, only
from tests.http.apps import chunks, post, post_chunked, request
from tests.http.conftest import Talk
from tests.http.test_trailers import LINES, PAIRS, READERS

MIB = 1 << 20
CODED = b"Transfer-Encoding: chunked"
WHOLE = bytes(range(256)) * 8 * 1024 + b"no line feed"  # 2 MiB and a little


def large(content: bytes = WHOLE, last: bytes = b"0\r\n\r\n") -> bytes:
    return post_chunked(*[content[at : at + 9999] for at in range(0, len(content), 9999)], last=last)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[Store]:
    """Each file that is begun."""
    made: list[Store] = []

    class Noted(Store):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(body_module, "Store", Noted)
    return made


def both(look: Any, pieces: Any, **settings: Any) -> list[Any]:
    """What `look(request's content, fields as WSGI names them)` gives, in WSGI and of a native handler."""
    found: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        found.append(look(environ["wsgi.input"], environ))
        start_response("200 OK", [])
        return []

    def handler(request: Any) -> str:
        fields = {name.upper().replace("-", "_"): value for name, value in request.headers.items()}
        assert all(request.headers[name] == value for name, value in request.headers.items())
        assert [name.lower() for name, _ in request.headers.pairs] == list(request.headers)
        found.append(look(request.body, fields))
        return ""

    for each in (app, handler):
        outcome = exchange(each, pieces, **settings)
        assert outcome.log == []
        assert all(answer.status == 200 for answer in answers(outcome.sent))
    return found


# ---- what the application gets


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("last", [b"0\r\n\r\n", b"0\r\n" + LINES + b"\r\n"], ids=["", "trailers"])
def test_content_has_its_length_however_it_arrives_and_is_read(read: Any, last: bytes) -> None:
    def look(body: Any, fields: Any) -> Any:
        assert (body.done, "HTTP_TRANSFER_ENCODING" in fields, "TRANSFER_ENCODING" in fields) == (True, False, False)
        return fields.get("CONTENT_LENGTH"), read(body), read(body)

    for pieces in every_split(post_chunked(b"abc", b"de", last=last)):
        assert both(look, [*pieces, request()], gather_chunked=5) == [("5", b"abcde", b""), (None, b"", b"")] * 2


def test_content_without_a_byte_has_the_length_0(talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["CONTENT_LENGTH"].encode() + environ["wsgi.input"].read()]

    assert talk(app, post_chunked(), post_chunked(b"abc"), gather_chunked="1m").contents == [b"0", b"3abc"]


def test_trailers_are_there_from_the_start() -> None:
    found: list[Any] = []

    def handler(request: Any) -> str:
        found.append(request.trailers.pairs)
        return ""

    exchange(handler, [post_chunked(b"abc", last=b"0\r\n" + LINES + b"\r\n")], gather_chunked=10)
    assert found == [PAIRS]


def test_it_is_off_by_default_and_for_content_of_known_length() -> None:
    def look(body: Any, fields: Any) -> Any:
        return body.done, fields.get("CONTENT_LENGTH")

    assert both(look, [post_chunked(b"abc")]) == [(False, None)] * 2
    assert both(look, [post(b"abcde")], gather_chunked=3) == [(False, "5")] * 2


LARGE_READERS: dict[str, Any] = {
    **READERS,
    "a bit, then all": lambda body: body.read(1) + body.read(),
    "by the length": lambda body: body.read(len(WHOLE)),
    "lines, bits and all": lambda body: body.readline() + body.read(70_000) + body.readline(9) + body.read(),
    "blocks": lambda body: b"".join(iter(lambda: body.read(65536), b"")),
}
del LARGE_READERS["to the end exactly"], LARGE_READERS["in bits"]


@pytest.mark.parametrize("read", LARGE_READERS.values(), ids=LARGE_READERS)
def test_what_is_large_is_in_a_file_and_the_same(read: Any, stores: list[Store]) -> None:
    def look(body: Any, fields: Any) -> Any:
        return fields["CONTENT_LENGTH"], read(body) == WHOLE, body.read(), body.readline(), body.read_some()

    expected = (str(len(WHOLE)), True, b"", b"", b"")
    assert both(look, [large() + large()], gather_chunked="3m") == [expected] * 4
    assert [(store.size, store.fd) for store in stores] == [(len(WHOLE), -1)] * 4  # read to its end, it is gone


@pytest.mark.parametrize(("size", "files"), [(MIB - 1, 0), (MIB, 0), (MIB + 1, 1)])
def test_a_mebibyte_stays_in_memory(size: int, files: int, stores: list[Store]) -> None:
    found: list[Any] = []

    def handler(request: Any) -> str:
        found.append((request.headers["content-length"], len(request.body.read())))
        return ""

    exchange(handler, [large(b"x" * size)], gather_chunked=size)
    assert (found, len(stores)) == ([(str(size), size)], files)


def test_what_is_in_a_file_is_not_in_memory(serve: Any) -> None:
    import tracemalloc

    def handler(request: Any) -> str:
        return str(sum(len(piece) for piece in request.body.iter()))

    piece = chunks(b"x" * 99_999, last=b"")
    client = serve(handler, gather_chunked="20m").connect().send(request(b"POST / HTTP/1.1", CODED))
    tracemalloc.start()
    try:
        for _ in range(200):
            client.send(piece)
        assert client.ask(b"0\r\n\r\n").content == str(200 * 99_999).encode()
        assert tracemalloc.get_traced_memory()[1] < 5 * MIB
    finally:
        tracemalloc.stop()


def test_a_temporary_file_is_written_to_its_end_though_the_system_takes_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:40_000], at))
    assert both(lambda body, fields: body.read() == WHOLE, [large()], gather_chunked="3m") == [True, True]


# ---- when


def test_the_application_is_asked_when_all_is_here_and_others_run_meanwhile(serve: Any) -> None:
    asked: list[Any] = []

    def handler(request: Any) -> bytes:
        asked.append(request.path)
        return request.body.read()

    serving = serve(handler, gather_chunked="1m")
    slow = serving.connect().send(request(b"POST /slow HTTP/1.1", CODED, content=chunks(b"abc", last=b"")))
    serving.until(lambda: serving.count("body"))  # a green thread waits for content
    assert serving.ask(request(b"GET /other HTTP/1.1")).content == b""
    assert asked == ["/other"]
    slow.send(chunks(b"de"))
    assert slow.answer().content == b"abcde"
    assert slow.ask(post_chunked(b"again")).content == b"again"
    assert asked == ["/other", "/slow", "/"]


def test_a_client_that_expects_it_is_told_to_continue(serve: Any) -> None:
    client = serve(lambda request: request.headers["content-length"], gather_chunked="1m").connect()
    assert client.ask(request(b"POST / HTTP/1.1", CODED, b"Expect: 100-continue")).status == 100
    assert client.ask(chunks(b"abc")).content == b"3"


def test_what_nobody_reads_of_it_costs_no_connection(serve: Any, stores: list[Store]) -> None:
    client = serve(lambda request: "unread", gather_chunked="3m").connect()
    for data in (large(), post_chunked(b"abc"), large()):
        assert client.ask(data).content == b"unread"
    assert [store.fd for store in stores] == [-1, -1]


def test_what_is_left_of_it_after_the_answer_is_no_end(stores: list[Store]) -> None:
    kept: list[Any] = []

    def handler(request: Any) -> str:
        kept.append(request)
        request.body.read(9)
        return ""

    exchange(handler, [large() + large()], gather_chunked="3m")
    assert [store.fd for store in stores] == [-1, -1]
    for each in kept:
        for _ in range(2):
            with pytest.raises(BodyError, match="the request is over"):
                each.body.read()


# ---- what is refused


def never(request: Any) -> str:
    raise AssertionError("nobody may ask the application")


@pytest.mark.parametrize(
    ("limit", "content", "settings", "line"),
    [
        (5, b"abcdef", {}, "the chunked content is larger than 5 bytes (gather_chunked)"),
        (2 * MIB, WHOLE, {}, "the chunked content is larger than 2 MiB (gather_chunked)"),
        (MIB, WHOLE[: MIB + 1], {}, "the chunked content is larger than 1 MiB (gather_chunked)"),
        (5, b"abcde", {"limit_request_body": 4}, "the body is larger than 4 bytes (limit_request_body)"),
    ],
)
def test_what_is_too_large_is_413(
    limit: int, content: bytes, settings: Any, line: str, talk: Talk, stores: list[Store]
) -> None:
    conversation = talk(never, large(content), gather_chunked=limit, **settings)
    assert conversation.statuses == [413]
    assert [record.message for record in conversation.log] == [f"POST /: refused with 413: {line}"]
    assert all(store.fd == -1 for store in stores)


def test_no_byte_beyond_the_limit_is_waited_for(serve: Any) -> None:
    client = serve(never, gather_chunked=5).connect()
    answer = client.ask(request(b"POST / HTTP/1.1", CODED, content=chunks(b"abcdef", last=b"")))
    assert (answer.status, answer.closes) == (413, True)


@pytest.mark.parametrize(
    ("last", "status"), [(b"", 400), (b"zz\r\n", 400), (b"0\r\nHost: a\r\n\r\n", 400), (b"0\r\nX: " + b"y" * 9000, 431)]
)
def test_what_is_malformed_never_reaches_the_application(last: bytes, status: int) -> None:
    outcome = exchange(never, [post_chunked(b"abc", last=last)], gather_chunked="1m")
    assert only(outcome.sent).status == status
    assert [record.level for record in outcome.log] == ["info"]


def test_a_client_that_falls_silent_is_408(serve: Any) -> None:
    client = serve(never, gather_chunked="1m", body_timeout=0.05).connect()
    assert client.ask(request(b"POST / HTTP/1.1", CODED, content=chunks(b"abc", last=b""))).status == 408


def test_the_time_of_a_request_includes_its_gathering(serve: Any) -> None:
    client = serve(never, gather_chunked="1m", request_timeout=0.05).connect()
    assert client.ask(request(b"POST / HTTP/1.1", CODED, content=chunks(b"abc", last=b""))).status == 503


def test_a_client_that_goes_away_is_no_error(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "greenhttp")
    serving = serve(never, gather_chunked="1m")
    client = serving.connect().send(request(b"POST / HTTP/1.1", CODED, content=chunks(b"abc", last=b"")))
    serving.until(lambda: serving.count("body"))
    client.reset()
    serving.until(lambda: not serving.count("running"))
    assert [record.levelname for record in caplog.records if "POST" in record.getMessage()] == ["INFO"]


def no_room(*_: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_507_and_named(monkeypatch: pytest.MonkeyPatch, stores: list[Store], talk: Talk) -> None:
    monkeypatch.setattr(os, "pwrite", no_room)
    conversation = talk(never, large(), gather_chunked="3m")
    assert conversation.statuses == [507]
    (record,) = conversation.log
    assert record.level == "error"
    what = f"the content cannot be written to a temporary file in {tempfile.gettempdir()} (gather_chunked)"
    assert record.message == f"POST /: refused with 507: {what}: [Errno 28] No space left on device"
    assert [store.fd for store in stores] == [-1]


def test_a_disk_that_fills_up_meanwhile_ends_the_connection(monkeypatch: pytest.MonkeyPatch, serve: Any) -> None:
    monkeypatch.setattr(os, "pwrite", no_room)
    client = serve(never, gather_chunked="3m").connect()
    client.send(large())
    answer = client.answer()
    assert (answer.status, answer.closes, answer.content) == (507, True, b"Insufficient Storage\n")


def test_no_directory_for_the_file_is_507(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(**_: Any) -> Any:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "TemporaryFile", nowhere)
    outcome = exchange(never, [large()], gather_chunked="3m")
    assert only(outcome.sent).status == 507
    assert "No usable temporary directory" in outcome.log[0].message
    # What fits into memory needs no file.
    assert only(exchange(lambda request: "", [post_chunked(b"abc")], gather_chunked="3m").sent).status == 200


def test_others_are_answered_while_content_is_gathered_at_full_speed(serve: Any) -> None:
    """A green thread that gathers gives its turn away like any that reads."""
    stop = Event()

    def handler(request: Any) -> str:
        stop.set()
        return ""

    serving = serve(handler, gather_chunked="1g")
    flood = serving.connect()

    def send() -> None:
        flood.send(request(b"POST / HTTP/1.1", CODED))
        piece = chunks(b"x" * 99_999, last=b"")
        while not stop.is_set():
            flood.send(piece)
        flood.send(b"0\r\n\r\n")

    sender = gevent.spawn(send)
    serving.until(lambda: serving.count("running"))
    assert serving.ask(request()).status == 200
    sender.join()
    assert flood.answer().status == 200
