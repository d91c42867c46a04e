"""hosting/wsgi.pyx against PEP 3333, over real sockets; wsgiref.validate watches both sides where it can."""

import bz2
import contextlib
import gzip
import io
import logging
import os
import re
import socket
import sys
import tempfile
import threading
from array import array
from wsgiref.validate import validator

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenhttp import __version__
from tests.hosting.serving import TIMEOUT, Serving
from tests.log_lines import without_peer

PLAIN = [("Content-Type", "text/plain")]
ABORTED = (ConnectionResetError, BrokenPipeError)


@pytest.fixture
def log(caplog):
    """The messages of level warning and above, once the server has stopped; each of them names the peer first."""
    caplog.set_level(logging.INFO, "greenhttp")

    def messages(level=logging.WARNING):
        return [without_peer(record.getMessage()) for record in caplog.records if record.levelno >= level]

    return messages


class Content:
    """An iterable of bytes that counts its close() and can raise at its end."""

    def __init__(self, *pieces, error=None, close_error=None):
        self.pieces = iter(pieces)
        self.error = error
        self.close_error = close_error
        self.closed = 0
        self.over = threading.Event()

    def __iter__(self):
        return self

    def __next__(self):
        for piece in self.pieces:
            return piece
        if self.error:
            raise self.error
        raise StopIteration

    def close(self):
        self.closed += 1
        self.over.set()
        if self.close_error:
            raise self.close_error


def answering(content, status="200 OK", headers=PLAIN):
    """An application that returns `content`, or what it returns when called."""

    def app(environ, start_response):
        start_response(status, list(headers))
        return content() if callable(content) else content

    return app


def environ_of(target="/", *lines, settings=None, **more):
    """The environ that the application got, keys and values."""
    seen = []

    def app(environ, start_response):
        seen.append(dict(environ))
        start_response("200 OK", list(PLAIN))
        return [b""]

    with Serving(validator(app), **(settings or {})) as served:
        reply = served.get(target, *lines, **more)
    assert reply.status == 200, reply.text
    return seen[0]


# ---- what the application returns


def late(environ, start_response):
    start_response("201 Created", [*PLAIN, ("X-Late", "yes")])
    yield b"one"
    yield b""
    yield b"two"


def empties_first(environ, start_response):
    yield b""
    start_response("200 OK", PLAIN)
    yield b"here"


def writing(environ, start_response):
    write = start_response("200 OK", list(PLAIN))
    write(b"one")
    write(b"")
    write(b"two")
    return [b"three"]


def writing_only(environ, start_response):
    start_response("200 OK", list(PLAIN))(b"all")
    return []


class AsClass:
    def __init__(self, environ, start_response):
        start_response("200 OK", list(PLAIN))

    def __iter__(self):
        yield b"from a class"


class ListWithClose(list):
    closed = 0

    def close(self):
        self.closed += 1


class Bytes(bytes):
    pass


@pytest.mark.parametrize(
    ("app", "body", "framing"),
    [
        (answering([b"a", b"", b"b"]), b"ab", "length"),
        (answering((b"a", b"b")), b"ab", "length"),
        (answering([]), b"", "length"),
        (answering([Bytes(b"a")]), b"a", "length"),
        (answering(lambda: iter([b"a", b"b"])), b"ab", "chunked"),
        (answering(lambda: iter([])), b"", "length"),
        (answering(lambda: iter([b"", b""])), b"", "length"),
        (answering(lambda: iter([b"abcdef"]), headers=[*PLAIN, ("Content-Length", "6")]), b"abcdef", "length"),
        (answering(lambda: {b"a": 1}), b"a", "chunked"),
        (late, b"onetwo", "chunked"),
        (empties_first, b"here", "chunked"),
        (writing, b"onetwothree", "chunked"),
        (writing_only, b"all", "chunked"),
        (AsClass, b"from a class", "chunked"),
    ],
)
def test_the_shapes_of_an_answer(app, body, framing, log):
    with Serving(app) as served, served.connect() as client:
        for _ in range(2):
            reply = client.get()
            assert (reply.body, reply.framing, reply.whole) == (body, framing, True)
        head = client.get(method="HEAD")
        assert head["transfer-encoding"] is None
        old = client.get(version="1.0")
        assert (old.body, old.framing) == (body, "length" if framing == "length" else "close")
        assert client.at_end()
    assert log() == []


CHECKED = [answering([b"a"]), answering(lambda: iter([b"a", b"b"])), late, writing, writing_only, AsClass,
           answering([], "204 No Content", []), answering([], "304 Not Modified", [("ETag", '"x"')])]  # fmt: skip


@pytest.mark.parametrize("app", CHECKED)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_the_validator_has_nothing_to_say(app, method, log, monkeypatch):
    monkeypatch.setattr(sys, "stderr", errors := io.StringIO())
    with Serving(validator(app)) as served, served.connect() as client:
        for _ in range(2):
            assert client.get(method=method, body=b"abc" if method == "POST" else b"").status < 400
    assert log() == []
    assert errors.getvalue() == ""  # where the validator complains of an iterator that was not closed


def test_each_piece_is_sent_before_the_next_is_asked_for():
    second = threading.Event()

    def app(environ, start_response):
        start_response("200 OK", list(PLAIN))
        yield b"one"
        while not second.is_set():
            gevent.sleep(0.001)
        yield b"two"

    with Serving(app) as served, served.connect() as client:
        client.request("GET", "/")
        while client.file.readline() != b"\r\n":
            pass
        assert client.file.read(8) == b"3\r\none\r\n"
        second.set()
        assert client.file.read(13) == b"3\r\ntwo\r\n0\r\n\r\n"


def test_write_sends_at_once():
    asked = threading.Event()

    def app(environ, start_response):
        write = start_response("200 OK", list(PLAIN))
        write(b"one")
        while not asked.is_set():
            gevent.sleep(0.001)
        return []

    with Serving(app) as served, served.connect() as client:
        client.request("GET", "/")
        while client.file.readline() != b"\r\n":
            pass
        assert client.file.read(8) == b"3\r\none\r\n"
        asked.set()
        assert client.file.read(5) == b"0\r\n\r\n"


# ---- close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_close_is_called_once(method, version, log):
    contents = []

    def app(environ, start_response):
        start_response("200 OK", list(PLAIN))
        contents.append(Content(b"a", b"b"))
        return contents[-1]

    with Serving(app) as served:
        served.get(method=method, version=version)
    assert [content.closed for content in contents] == [1]
    assert log() == []


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_close_is_called_once_without_content(status):
    content = Content(b"not sent")
    with Serving(answering(content, status, [])) as served, served.connect() as client:
        assert client.get().status == int(status[:3])
    assert content.closed == 1


def test_close_of_a_list_with_one_is_called():
    content = ListWithClose([b"a"])
    with Serving(answering(content)) as served:
        assert served.get().body == b"a"
    assert content.closed == 1


def test_close_is_called_after_the_last_byte_was_asked_for_and_before_the_next_request():
    events = []

    def app(environ, start_response):
        start_response("200 OK", list(PLAIN))
        try:
            events.append("yield")
            yield b"a"
        finally:
            events.append("closed")

    with Serving(app) as served, served.connect() as client:
        client.get()
        client.get()
    assert events == ["yield", "closed"] * 2


def test_close_is_called_once_when_the_iterable_raises_before_the_head(log):
    content = Content(error=RuntimeError("inside"))
    with Serving(answering(content)) as served, served.connect() as client:
        assert client.get("/x").status == 500
        assert content.closed == 1
        assert client.get("/x").status == 500
    assert [line for line in log() if "in close()" in line] == []


def test_close_is_called_once_when_the_iterable_raises_after_the_head_and_the_answer_is_not_whole(log):
    content = Content(b"begun", error=RuntimeError("inside"))
    with Serving(answering(content)) as served, served.connect() as client:
        client.request("GET", "/x")
        try:
            reply = client.read()
        except ABORTED:
            pass  # the reset may overtake what was sent before it
        else:
            assert not reply.whole
            assert client.at_end()
    assert content.closed == 1
    assert log() == ["GET /x: RuntimeError in the application"]


def test_close_is_called_once_when_the_client_has_gone(log):
    content = Content(*[b"x" * 65536] * 1000)
    with Serving(answering(content)) as served:
        client = served.connect()
        client.request("GET", "/")
        client.file.read(100)
        client.reset()
        assert content.over.wait(TIMEOUT)
    assert content.closed == 1
    assert log() == []  # a client may go: nothing is wrong


def test_close_is_called_once_when_the_client_has_gone_while_the_body_is_read(log):
    content = Content()
    begun = threading.Event()

    def app(environ, start_response):
        def pieces():
            try:
                begun.set()
                yield environ["wsgi.input"].read()
            finally:
                content.close()

        start_response("200 OK", list(PLAIN))
        return pieces()

    with Serving(app) as served:
        client = served.connect()
        client.request("POST", "/", "Content-Length: 10", body=b"half")
        assert begun.wait(TIMEOUT)
        client.reset()
        assert content.over.wait(TIMEOUT)
    assert content.closed == 1


def test_an_exception_in_close_is_logged_once_and_harms_nothing(log):
    app = answering(lambda: Content(b"whole", close_error=RuntimeError("inside")))
    with Serving(app) as served, served.connect() as client:
        for _ in range(2):
            reply = client.get("/x")
            assert (reply.status, reply.body, reply.whole) == (200, b"whole", True)
    assert log() == ["GET /x: RuntimeError in close()"] * 2


def test_close_is_called_when_asking_the_file_wrapper_for_its_file_fails(log):
    class Odd:
        closed = 0

        def fileno(self):
            raise RuntimeError("inside")

        def read(self, size):
            return b""

        def close(self):
            self.closed += 1

    odd = Odd()

    def app(environ, start_response):
        start_response("200 OK", list(PLAIN))
        return environ["wsgi.file_wrapper"](odd)

    with Serving(app) as served:
        served.get()
    assert odd.closed == 1


# ---- start_response


def test_the_head_can_be_replaced_with_exc_info_before_it_is_out():
    def app(environ, start_response):
        start_response("200 OK", [*PLAIN, ("X-First", "yes"), ("Content-Length", "999")])
        try:
            raise RuntimeError("inside")
        except RuntimeError:
            start_response("503 Service Unavailable", list(PLAIN), sys.exc_info())
        return [b"sorry"]

    with Serving(validator(app)) as served:
        reply = served.get()
    assert (reply.status, reply.body, reply["x-first"]) == (503, b"sorry", None)


@pytest.mark.parametrize("by_write", [False, True])
def test_exc_info_after_the_head_is_out_is_raised_again_and_the_answer_is_not_whole(by_write, log):
    raised = []

    def app(environ, start_response):
        write = start_response("200 OK", list(PLAIN))
        if by_write:
            write(b"begun")
        else:
            yield b"begun"
        try:
            raise RuntimeError("inside")
        except RuntimeError as error:
            try:
                start_response("500 Oops", list(PLAIN), sys.exc_info())
            except RuntimeError as again:
                raised.append(again is error)
                raise
        yield b"never"

    with Serving(app) as served, served.connect() as client:
        client.request("GET", "/x")
        with contextlib.suppress(*ABORTED):
            assert not client.read().whole
    assert raised == [True]
    assert log() == ["GET /x: RuntimeError in the application"]


def test_start_response_twice_without_exc_info_is_an_error(log):
    def app(environ, start_response):
        start_response("200 OK", list(PLAIN))
        start_response("200 OK", list(PLAIN))
        return [b""]

    with Serving(app) as served:
        assert served.get("/x").status == 500
    assert log() == ["GET /x: AssertionError in the application"]


def test_start_response_can_be_called_again_after_it_refused():
    def app(environ, start_response):
        try:
            start_response("200 OK", [("X-A", "b\r\nX-C: d")])
        except ValueError:
            start_response("400 Bad Request", list(PLAIN))
        return [b"no"]

    with Serving(app) as served:
        reply = served.get()
    assert (reply.status, reply["x-a"], reply["x-c"]) == (400, None, None)


@pytest.mark.parametrize("content", [[], [b"a"], [b""], iter([]), iter([b"a"])], ids=repr)
def test_start_response_never_called_is_an_error(content, log):
    with Serving(lambda environ, start_response: content) as served, served.connect() as client:
        assert client.get("/x").status == 500
    assert log() == ["GET /x: AssertionError in the application"]


def test_write_takes_nothing_but_bytes(log):
    def app(environ, start_response):
        write = start_response("200 OK", list(PLAIN))
        for wrong in ("text", None, 5, [b"x"]):
            with pytest.raises(TypeError):
                write(wrong)
        write(b"right")
        return []

    with Serving(app) as served:
        assert served.get().body == b"right"
    assert log() == []


def test_start_response_of_a_request_that_failed_is_an_error_too(log):
    kept = []

    def app(environ, start_response):
        kept.append(start_response)
        if len(kept) == 1:
            raise ValueError
        with pytest.raises(AssertionError, match="the request is over"):
            kept[0]("200 OK", list(PLAIN))
        start_response("200 OK", list(PLAIN))
        return [b"clean"]

    with Serving(app) as served, served.connect() as client:
        assert [client.get().status, client.get().body] == [500, b"clean"]
    assert log() == ["GET /: ValueError in the application"]


def test_start_response_and_write_after_the_request_are_errors(log):
    kept = []

    def app(environ, start_response):
        if kept:
            for late in (lambda: kept[0]("200 OK", list(PLAIN)), lambda: kept[1](b"late")):
                with pytest.raises(AssertionError):
                    late()
        kept[:] = start_response, start_response("200 OK", list(PLAIN))
        return [b"clean"]

    with Serving(app) as served, served.connect() as client:
        assert [client.get().body for _ in range(2)] == [b"clean"] * 2
    assert log() == []


@pytest.mark.parametrize("name", ["Connection", "Keep-Alive", "Transfer-Encoding", "TE", "Trailer", "Upgrade"])
def test_hop_by_hop_fields_of_the_application_do_not_reach_the_wire(name):
    with Serving(answering([b"a"], headers=[*PLAIN, (name, "chunked")])) as served:
        reply = served.get()
    assert (reply[name.lower()], reply.body, reply.framing) == (None, b"a", "length")


def test_content_beyond_its_length_is_cut_and_logged(log):
    for content in ([b"abcdef"], iter([b"abc", b"def", b"ghi"])):
        app = answering(content, headers=[*PLAIN, ("Content-Length", "4")])
        with Serving(app) as served, served.connect() as client:
            assert client.get("/x").body == b"abcd"
    assert [line[:8] for line in log()] == ["GET /x: "] * 2
    assert all("more content than" in line for line in log())


def test_content_short_of_its_length_closes_and_is_logged(log):
    for content in ([b"ab"], iter([b"a", b"b"]), iter([])):
        app = answering(content, headers=[*PLAIN, ("Content-Length", "4")])
        with Serving(app) as served, served.connect() as client:
            assert not client.get("/x").whole
    assert [line[:29] for line in log()] == [f"GET /x: content ended {n} bytes" for n in (2, 2, 4)]


@pytest.mark.parametrize("content", [[b"no"], iter([b"no"])], ids=["list", "iterator"])
def test_a_large_body_left_unread_closes_and_the_answer_says_so(content):
    with Serving(answering(content)) as served, served.connect() as client:
        client.request("POST", "/", "Content-Length: 1000000")
        reply = client.read()
        assert (reply.body, reply["connection"]) == (b"no", "close")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.at_end()


# ---- wsgi.file_wrapper


def wrapping(make, *headers, block=8192, closed=None, seen=None):
    def app(environ, start_response):
        start_response("200 OK", [*PLAIN, *headers])
        file = make()
        if seen is not None:
            seen.append(file)
        return environ["wsgi.file_wrapper"](file, block)

    return app


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 1024)
    return path


WHOLE = bytes(range(256)) * 1024


def at(path, offset):
    file = path.open("rb")
    file.seek(offset)
    return file


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("offset", [0, 1, 100_000, len(WHOLE), len(WHOLE) + 5])
def test_a_file_is_sent_from_where_it_stands(file, offset, checked):
    opened = []
    app = wrapping(lambda: at(file, offset), seen=opened)
    with Serving(validator(app) if checked else app) as served, served.connect() as client:
        reply = client.get()
        assert (reply.status, reply.body) == (200, WHOLE[offset:])
        if not checked:
            assert reply["content-length"] == str(max(0, len(WHOLE) - offset))
        assert client.get().body == WHOLE[offset:]
    assert [f.closed for f in opened] == [True, True]


def test_a_file_read_before_goes_on_after_that(file):
    def make():
        opened = file.open("rb")
        opened.read(10)  # the descriptor is further by a whole buffer
        return opened

    with Serving(wrapping(make)) as served:
        assert served.get().body == WHOLE[10:]


def test_an_unbuffered_file_and_a_descriptor_of_os_fdopen(file):
    for make in (lambda: file.open("rb", buffering=0), lambda: os.fdopen(os.open(file, os.O_RDONLY), "rb")):
        with Serving(wrapping(make)) as served:
            assert served.get().body == WHOLE


@pytest.mark.parametrize("size", [0, 1, 1000, len(WHOLE)])
def test_content_length_bounds_a_file(file, size):
    app = wrapping(lambda: file.open("rb"), ("Content-Length", str(size)))
    with Serving(app) as served, served.connect() as client:
        for _ in range(2):
            assert client.get().body == WHOLE[:size]


def test_a_file_shorter_than_its_content_length_closes(file, log):
    app = wrapping(lambda: file.open("rb"), ("Content-Length", str(len(WHOLE) + 3)))
    with Serving(app) as served, served.connect() as client:
        reply = client.get("/x")
        assert (reply.body, reply.whole) == (WHOLE, False)
    assert [line[:29] for line in log()] == ["GET /x: content ended 3 bytes"]


def test_an_empty_file(tmp_path):
    (tmp_path / "empty").touch()
    with Serving(wrapping(lambda: (tmp_path / "empty").open("rb"))) as served, served.connect() as client:
        for _ in range(2):
            reply = client.get()
            assert (reply.status, reply.body, reply["content-length"]) == (200, b"", "0")


def test_head_of_a_file_sends_none_of_it(file):
    opened = []
    app = wrapping(lambda: file.open("rb"), ("Content-Length", str(len(WHOLE))), seen=opened)
    with Serving(app) as served, served.connect() as client:
        assert client.get(method="HEAD")["content-length"] == str(len(WHOLE))
        assert client.get().body == WHOLE
    assert all(f.closed for f in opened)


def test_a_file_for_an_old_client(file):
    with Serving(wrapping(lambda: file.open("rb"))) as served:
        reply = served.get(version="1.0")
    assert (reply.body, reply["content-length"]) == (WHOLE, str(len(WHOLE)))


class NoClose:
    def __init__(self, data):
        self.read = io.BytesIO(data).read


def pipe():
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    return os.fdopen(reading, "rb")


@pytest.mark.parametrize(
    ("make", "body"),
    [
        (lambda: io.BytesIO(b"x" * 20000), b"x" * 20000),
        (lambda: io.BytesIO(b""), b""),
        (lambda: NoClose(b"no close, no fileno"), b"no close, no fileno"),
        (pipe, b"through a pipe"),
    ],
)
@pytest.mark.parametrize("checked", [False, True])
def test_what_is_no_regular_file_is_read(make, body, checked, log):
    app = wrapping(make, block=1000)
    with Serving(validator(app) if checked else app) as served, served.connect() as client:
        for _ in range(2):
            reply = client.get()
            assert (reply.body, reply.whole) == (body, True)
    assert log() == []


def test_a_temporary_file_is_sent_like_any_other(log):
    def make():
        made = tempfile.NamedTemporaryFile()  # noqa: SIM115  the server closes it
        made.write(WHOLE)
        made.seek(5)
        return made

    with Serving(wrapping(make)) as served:
        reply = served.get()
    assert (reply.framing, reply.body) == ("length", WHOLE[5:])
    assert log() == []


def test_a_file_that_cannot_say_where_it_stands_is_read(file, log):
    class Shy(io.BufferedReader):
        def tell(self):
            raise OSError("no position")

    with Serving(wrapping(lambda: Shy(io.FileIO(file)))) as served:
        assert served.get().body == WHOLE
    assert log() == []


@pytest.mark.parametrize("opened", [gzip.open, bz2.open])
def test_a_compressed_file_is_sent_as_it_reads_although_it_has_a_descriptor(tmp_path, opened):
    path = tmp_path / "packed"
    with opened(path, "wb") as packed:
        packed.write(WHOLE)
    with Serving(wrapping(lambda: opened(path, "rb"))) as served:
        assert served.get().body == WHOLE


def test_write_before_a_file_is_one_answer(file):
    def app(environ, start_response):
        start_response("200 OK", list(PLAIN))(b"first")
        return environ["wsgi.file_wrapper"](file.open("rb"))

    with Serving(app) as served, served.connect() as client:
        for _ in range(2):
            reply = client.get()
            assert (reply.body == b"first" + WHOLE, reply.whole) == (True, True)


def test_write_before_a_file_with_a_content_length(file):
    def app(environ, start_response):
        start_response("200 OK", [*PLAIN, ("Content-Length", "15")])(b"first")
        return environ["wsgi.file_wrapper"](file.open("rb"))

    with Serving(app) as served, served.connect() as client:
        for _ in range(2):
            assert client.get().body == b"first" + WHOLE[:10]


def test_a_file_wrapper_without_start_response_is_an_error(file, log):
    def app(environ, start_response):
        return environ["wsgi.file_wrapper"](file.open("rb"))

    with Serving(app) as served:
        assert served.get("/x").status == 500
    assert log() == ["GET /x: AssertionError in the application"]


@pytest.mark.parametrize("kind", ["regular", "in memory", "packed"])
def test_a_file_wrapper_can_be_moved_where_its_file_can(file, tmp_path, kind):
    """As Werkzeug moves it for a range: what is sent begins there."""
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(WHOLE))
    make = {
        "regular": lambda: file.open("rb"),
        "in memory": lambda: io.BytesIO(WHOLE),
        "packed": lambda: gzip.GzipFile(packed),
    }[kind]

    def app(environ, start_response):
        start_response("200 OK", list(PLAIN))
        wrapper = environ["wsgi.file_wrapper"](make())
        assert (wrapper.seekable(), wrapper.tell()) == (True, 0)
        assert next(wrapper) == WHOLE[:65536]
        assert (wrapper.tell(), wrapper.seek(100_000), wrapper.tell()) == (65536, 100_000, 100_000)
        return wrapper

    with Serving(app) as served:
        assert served.get().body == WHOLE[100_000:]


def test_a_file_wrapper_has_nothing_that_its_file_has_not():
    class Reads:
        def read(self, size):
            return b""

    def app(environ, start_response):
        start_response("200 OK", list(PLAIN))
        names = ("close", "seek", "tell", "seekable", "fileno")
        bare, full = environ["wsgi.file_wrapper"](Reads()), environ["wsgi.file_wrapper"](io.BytesIO())
        return [repr([[hasattr(wrapper, name) for name in names] for wrapper in (bare, full)]).encode()]

    with Serving(app) as served:
        assert served.get().text == "[[False, False, False, False, False], [True, True, True, True, False]]"


# ---- wsgi.input


def chunked(body, sizes):
    out, at = [], 0
    for size in sizes:
        if piece := body[at : at + size]:
            out.append(b"%x\r\n%s\r\n" % (len(piece), piece))
            at += size
    if rest := body[at:]:
        out.append(b"%X;a=b\r\n%s\r\n" % (len(rest), rest))
    return b"".join([*out, b"0\r\n\r\n"])


def next_of(file):
    return next(file, None)


SIZES = st.sampled_from([-1, 0, 1, 2, 3, 7, 100, 5000, 8192, 8193, 100_000, None])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), SIZES),
        st.tuples(st.just("readline"), SIZES),
        st.tuples(st.just("readlines"), SIZES),
        st.tuples(st.sampled_from(["read", "readline", "readlines", "next", "rest"])),
    ),
    max_size=8,
)
BODIES = st.lists(
    st.tuples(st.sampled_from([b"a", b"\n", b"\r\n", b"ab\n", b"\0", b"\xff\n"]), st.sampled_from([1, 2, 90, 4000])),
    max_size=6,
).map(lambda runs: b"".join(unit * times for unit, times in runs))


def steps_over(file, steps):
    results = []
    for name, *arguments in steps:
        if name == "next":
            results.append(next_of(file))
        elif name == "rest":
            results.append(list(file))
        else:
            results.append(getattr(file, name)(*arguments))
    return results


@pytest.fixture(scope="module")
def stepping():
    """A server whose application does what `todo` says with wsgi.input, and keeps the results."""
    todo, results = [], []

    def app(environ, start_response):
        results.append(steps_over(environ["wsgi.input"], todo))
        start_response("200 OK", list(PLAIN))
        return [b"done"]

    with Serving(app) as served, served.connect() as client:
        yield todo, results, client


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(body=BODIES, sizes=st.lists(st.integers(1, 9000), max_size=5), framing=st.booleans(), steps=STEPS)
def test_input_behaves_like_a_file_in_memory(stepping, body, sizes, framing, steps):
    todo, results, client = stepping
    todo[:], results[:] = steps, []
    if framing:
        client.request("POST", "/", "Transfer-Encoding: chunked", body=chunked(body, sizes))
    else:
        client.request("POST", "/", f"Content-Length: {len(body)}", body=body)
    assert client.read().text == "done"  # and whatever was left unread does not disturb the next request
    assert results == [steps_over(io.BytesIO(body), steps)]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "HEAD"])
def test_input_without_a_body_is_empty(stepping, method):
    todo, results, client = stepping
    todo[:], results[:] = [("read",), ("readline",), ("readlines",), ("next",), ("read", 5)], []
    client.get(method=method)
    assert results == [[b"", b"", [], None, b""]]


def test_the_validator_watches_the_input(log):
    def app(environ, start_response):
        file = environ["wsgi.input"]
        body = file.read(2) + file.readline() + file.readline(3) + b"".join(file.readlines(1)) + b"".join(file)
        start_response("200 OK", list(PLAIN))
        return [body + file.read(-1)]

    with Serving(validator(app)) as served:
        body = b"abc\nde\nfghi\njk\n\nlm"
        assert served.get(method="POST", body=body).body == body
        reply = served.get("/", "Transfer-Encoding: chunked", method="POST", body=chunked(body, [3, 5, 1]))
        assert reply.body == body
    assert log() == []


@pytest.mark.parametrize("bad", [b"zz\r\n", b"5\r\nab", b"3\r\nabcd\r\n0\r\n\r\n", b"3\r\nabc\r\n"])
def test_a_malformed_or_early_ended_body_raises_an_oserror(bad, log):
    raised = []

    def app(environ, start_response):
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            raised.append(error)
            raise
        return []

    with Serving(app) as served, served.connect() as client:
        client.request("POST", "/", "Transfer-Encoding: chunked", body=bad)
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read().status == 400
        assert client.at_end()
    assert len(raised) == 1
    assert log() == []


def test_input_kept_beyond_the_request_cannot_reach_the_next_one():
    kept = []

    def app(environ, start_response):
        if kept:
            try:
                got = kept[0].read()
            except OSError:
                got = b""
        kept.append(environ["wsgi.input"])
        start_response("200 OK", list(PLAIN))
        return [got if len(kept) > 1 else b"", b"ok"]

    with Serving(app) as served, served.connect() as client:
        assert client.get(method="POST", body=b"abc").body == b"ok"
        assert client.get(method="POST", body=b"def").body == b"ok"


# ---- environ


def test_the_environ_of_a_plain_request():
    environ = environ_of("/a/b?c=d&e")
    assert {key: value for key, value in environ.items() if not key.startswith("wsgi.")} == {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/a/b", "QUERY_STRING": "c=d&e",
        "RAW_URI": "/a/b?c=d&e", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": environ["SERVER_PORT"], "SERVER_SOFTWARE": f"greenhttp/{__version__}",
        "REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": environ["REMOTE_PORT"], "HTTP_HOST": "test",
    }  # fmt: skip
    assert environ["SERVER_PORT"].isdigit() and environ["REMOTE_PORT"].isdigit()
    assert type(environ) is dict
    assert environ["wsgi.version"] == (1, 0)
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["wsgi.input_terminated"] is True
    assert environ["wsgi.run_once"] is False


@pytest.mark.parametrize(
    ("path", "decoded"),
    [
        (b"/", "/"),
        (b"/a%20b", "/a b"),
        (b"/%e4%C3%a4", "/\xe4\xc3\xa4"),
        (b"/%00", "/\0"),
        (b"/a%2Fb", "/a/b"),
        (b"/%", "/%"),
        (b"/%4", "/%4"),
        (b"/%41", "/A"),
        (b"/%zz%4g%g4", "/%zz%4g%g4"),
        (b"/%%41", "/%A"),
        (b"/%25%34%31", "/%41"),
        (b"/%2541", "/%41"),
        (b"//a//b", "//a//b"),
        (b"/../a", "/../a"),
        (b"/;a=b", "/;a=b"),
        (b"/a+b", "/a+b"),
        (b"/%3F?%41", "/?"),
    ],
)
def test_path_info_is_the_path_decoded_once_each_byte_a_character(path, decoded):
    environ = environ_of(path)
    assert environ["PATH_INFO"] == decoded
    assert environ["RAW_URI"] == path.decode("latin-1")


@pytest.mark.parametrize("query", [b"", b"a=b", b"%41=%zz", b"a=\xc3\xa4&\xff", b"a?b=c/d"])
def test_query_string_is_as_it_came(query):
    environ = environ_of(b"/x?" + query)
    assert environ["QUERY_STRING"] == query.decode("latin-1")
    assert environ["PATH_INFO"] == "/x"


def test_an_absolute_target_gives_the_host():
    environ = environ_of("http://Other:81/a%20b?x=1", "Host: other:81")
    assert (environ["HTTP_HOST"], environ["PATH_INFO"], environ["QUERY_STRING"]) == ("Other:81", "/a b", "x=1")
    assert environ["RAW_URI"] == "http://Other:81/a%20b?x=1"
    assert environ_of("http://other", "Host: other")["PATH_INFO"] == "/"


def test_options_of_the_server_as_a_whole_has_no_path():
    environ = environ_of("*", method="OPTIONS")
    assert (environ["PATH_INFO"], environ["RAW_URI"]) == ("", "*")


def test_http_1_0_without_host():
    seen = []

    def app(environ, start_response):
        seen.append(environ)
        start_response("200 OK", list(PLAIN))
        return [b""]

    with Serving(validator(app)) as served, served.connect() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read().status == 200
    assert seen[0]["SERVER_PROTOCOL"] == "HTTP/1.0"
    assert "HTTP_HOST" not in seen[0]


def test_content_type_and_length_have_no_http_prefix():
    environ = environ_of("/", "Content-Type: text/x", method="POST", body=b"abc")
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("text/x", "3")
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(environ)


def test_a_chunked_body_has_no_content_length():
    environ = environ_of("/", "Transfer-Encoding: chunked", method="POST", body=b"0\r\n\r\n")
    assert "CONTENT_LENGTH" not in environ
    assert environ["wsgi.input_terminated"] is True


def test_repeated_fields_are_joined():
    environ = environ_of(
        "/", "X-Unknown: 1", "Cookie: a=1", "Accept: x", "x-unknown: 2", "cookie: b=2", "ACCEPT: y", "X-UNKNOWN: 3",
    )  # fmt: skip
    assert [environ[f"HTTP_{key}"] for key in ("X_UNKNOWN", "COOKIE", "ACCEPT")] == ["1, 2, 3", "a=1; b=2", "x, y"]


def test_values_are_latin_1():
    assert environ_of("/", b"X-A: \xc3\xa4 \xff\t!")["HTTP_X_A"] == "\xc3\xa4 \xff\t!"


def test_names_with_underscores_and_proxy_are_dropped_and_said_once(log):
    seen = []

    def app(environ, start_response):
        seen.append({key for key in environ if key.startswith("HTTP_")})
        start_response("200 OK", list(PLAIN))
        return [b""]

    with Serving(app) as served, served.connect() as client:
        for _ in range(3):
            client.get("/", "X_Forwarded_For: 6.6.6.6", "Proxy: evil", "X-Kept: yes")
    assert seen == [{"HTTP_HOST", "HTTP_X_KEPT"}] * 3
    assert len(log()) == 1
    assert "'proxy', 'x_forwarded_for'" in log()[0].lower()


def test_names_with_underscores_and_proxy_can_be_let_through(log):
    environ = environ_of("/", "X_A: 1", "Proxy: 2", settings={"allow_headers": "X_a,proxy"})
    assert (environ["HTTP_X_A"], environ["HTTP_PROXY"]) == ("1", "2")
    assert log() == []


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_let_through_joins_the_one_it_collides_with(order):
    lines = ["X-Real-Ip: 1", "X_Real_Ip: 2"][::order]
    environ = environ_of("/", *lines, settings={"allow_headers": "x_real_ip"})
    assert environ["HTTP_X_REAL_IP"] == ("1, 2", "2, 1")[order < 0]


def test_the_peer_over_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    environ = environ_of(settings={"bind": "[::1]:0"})
    assert (environ["REMOTE_ADDR"], environ["SERVER_NAME"]) == ("::1", "::1")
    assert environ["REMOTE_PORT"].isdigit()


def test_the_peer_over_a_unix_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    environ = environ_of(settings={"bind": "unix:s"})
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("", "")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("localhost", "80")


def test_peers_that_take_turns_keep_their_addresses():
    seen = []

    def app(environ, start_response):
        seen.append((environ["REMOTE_ADDR"], environ["REMOTE_PORT"]))
        start_response("200 OK", list(PLAIN))
        return [b""]

    with Serving(app, bind="127.0.0.1:0") as served, served.connect() as one, served.connect() as two:
        for client in (one, two, one, two):
            client.get()
        ports = [str(client.socket.getsockname()[1]) for client in (one, two)]
    assert seen == [("127.0.0.1", port) for port in ports * 2]


def test_multithread_and_multiprocess_tell_the_truth():
    assert environ_of()["wsgi.multithread"] is True
    assert environ_of(settings={"concurrency": 1})["wsgi.multithread"] is False
    assert environ_of()["wsgi.multiprocess"] is False


def test_the_environ_is_fresh_for_each_request():
    def app(environ, start_response):
        fresh = "mine" not in environ and environ["PATH_INFO"] == "/" and "SERVER_NAME" in environ
        environ["mine"] = 1
        environ["PATH_INFO"] = environ["HTTP_X_LEFT"] = "changed"
        del environ["SERVER_NAME"]
        start_response("200 OK", list(PLAIN))
        return [str(fresh).encode()]

    with Serving(app) as served, served.connect() as client:
        assert [client.get().text for _ in range(3)] == ["True"] * 3


def test_errors_goes_to_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", errors := io.StringIO())

    def app(environ, start_response):
        environ["wsgi.errors"].write("one\n")
        environ["wsgi.errors"].writelines(["two\n", "three\n"])
        environ["wsgi.errors"].flush()
        start_response("200 OK", list(PLAIN))
        return [b""]

    with Serving(validator(app)) as served:
        assert served.get().status == 200
    assert errors.getvalue() == "one\ntwo\nthree\n"


# ---- hostile applications


def raising(error):
    def app(environ, start_response):
        raise error

    return app


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


def raising_late(environ, start_response):
    start_response("200 OK", list(PLAIN))
    raise RuntimeError("secret")
    yield b""


def bad_start(*arguments):
    def app(environ, start_response):
        start_response(*arguments)
        return [b"secret"]

    return app


HOSTILE = {
    "returns None": (answering(None), "TypeError"),
    "returns str": (answering("secret"), "TypeError"),
    "returns bytes": (answering(b"secret"), "TypeError"),
    "returns int": (answering(5), "TypeError"),
    "returns list of str": (answering(["secret"]), "TypeError"),
    "returns list of None": (answering([None]), "TypeError"),
    "returns list of int": (answering([b"a", 1]), "TypeError"),
    "returns bytearray": (answering(bytearray(b"secret")), "TypeError"),
    "returns memoryview": (answering(memoryview(b"secret")), "TypeError"),
    "returns list of arrays": (answering([array("B", b"secret")]), "TypeError"),
    "yields str": (answering(lambda: iter(["secret"])), "TypeError"),
    "status int": (bad_start(200, []), "TypeError"),
    "status bytes": (bad_start(b"200 OK", []), "TypeError"),
    "status None": (bad_start(None, []), "TypeError"),
    "status empty": (bad_start("", []), "ResponseError"),
    "status word": (bad_start("OK", []), "ResponseError"),
    "status with CR LF": (bad_start("200 OK\r\nX-A: b", []), "ResponseError"),
    "status with LF": (bad_start("200 OK\nX-A: b", []), "ResponseError"),
    "status with NUL": (bad_start("200 \0", []), "ResponseError"),
    "status 600": (bad_start("600 No", []), "ResponseError"),
    "status 99": (bad_start("099 No", []), "ResponseError"),
    "status four digits": (bad_start("2000 No", []), "ResponseError"),
    "status beyond latin-1": (bad_start("200 \u20ac", []), "ResponseError"),
    "headers tuple": (bad_start("200 OK", ()), "TypeError"),
    "headers dict": (bad_start("200 OK", {"A": "b"}), "TypeError"),
    "headers None": (bad_start("200 OK", None), "TypeError"),
    "header list": (bad_start("200 OK", [["A", "b"]]), "TypeError"),
    "header of three": (bad_start("200 OK", [("A", "b", "c")]), "TypeError"),
    "header str": (bad_start("200 OK", ["A: b"]), "TypeError"),
    "value int": (bad_start("200 OK", [("A", 1)]), "TypeError"),
    "value bytes": (bad_start("200 OK", [("A", b"b")]), "TypeError"),
    "value with CR": (bad_start("200 OK", [("A", "b\rc")]), "ResponseError"),
    "value with LF": (bad_start("200 OK", [("A", "b\nX-C: d")]), "ResponseError"),
    "value with CR LF CR LF": (bad_start("200 OK", [("A", "b\r\n\r\nsplit")]), "ResponseError"),
    "value with NUL": (bad_start("200 OK", [("A", "b\0")]), "ResponseError"),
    "value beyond latin-1": (bad_start("200 OK", [("A", "\u20ac")]), "ResponseError"),
    "name with space": (bad_start("200 OK", [("A b", "c")]), "ResponseError"),
    "name with colon": (bad_start("200 OK", [("A:", "c")]), "ResponseError"),
    "name with CR LF": (bad_start("200 OK", [("A\r\nB", "c")]), "ResponseError"),
    "name empty": (bad_start("200 OK", [("", "c")]), "ResponseError"),
    "name beyond latin-1": (bad_start("200 OK", [("\u20ac", "c")]), "ResponseError"),
    "name latin-1": (bad_start("200 OK", [("\xe4", "c")]), "ResponseError"),
    "length word": (bad_start("200 OK", [("Content-Length", "ten")]), "ResponseError"),
    "length negative": (bad_start("200 OK", [("Content-Length", "-1")]), "ResponseError"),
    "lengths that differ": (bad_start("200 OK", [("Content-Length", "1"), ("content-length", "2")]), "ResponseError"),
    "head of 2 MB": (bad_start("200 OK", [("A", "b" * 2_000_000)]), "ResponseError"),
    "no arguments": (bad_start(), "TypeError"),
    "exc_info wrong": (bad_start("200 OK", [], 5, 6), "TypeError"),
    "raises": (raising(RuntimeError("secret")), "RuntimeError"),
    "raises late": (raising_late, "RuntimeError"),
    "raises OSError": (raising(OSError(5, "secret")), "OSError"),
    "raises BrokenPipeError of its own": (raising(BrokenPipeError("secret")), "BrokenPipeError"),
    "raises SystemExit": (raising(SystemExit("secret")), "SystemExit"),
    "raises KeyboardInterrupt": (raising(KeyboardInterrupt("secret")), "KeyboardInterrupt"),
    "raises GreenletExit": (raising(gevent.GreenletExit("secret")), "GreenletExit"),
    "raises MemoryError": (raising(MemoryError("secret")), "MemoryError"),
    "raises StopIteration": (raising(StopIteration("secret")), "StopIteration"),
    "raises GeneratorExit": (raising(GeneratorExit("secret")), "GeneratorExit"),
    "raises gevent.Timeout": (raising(gevent.Timeout()), "Timeout"),
    "raises a class": (raising(RuntimeError), "RuntimeError"),
    "raises what cannot be shown": (raising(Unprintable()), "Unprintable"),
    "takes no arguments": (lambda: [b""], "TypeError"),
}


@pytest.mark.parametrize(("app", "error"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_application_is_a_500_logged_once_and_the_connection_goes_on(app, error, log, monkeypatch):
    # As under the command, which has a handler of its own: then a KeyboardInterrupt is none.
    monkeypatch.setattr("greenhttp.green.pool.getsignal", lambda number: None)
    good = answering([b"unharmed"])

    def both(environ, start_response):
        return (app if environ["PATH_INFO"] == "/bad" else good)(environ, start_response)

    with Serving(both) as served, served.connect() as client:
        for _ in range(2):
            reply = client.get("/bad")
            assert (reply.status, reply.body) == (500, b"Internal Server Error\n")
            assert {name for name, _ in reply.fields} == {"content-type", "content-length", "server", "date"}
            assert client.get("/good").body == b"unharmed"
    assert log() == [f"GET /bad: {error} in the application"] * 2


def test_the_log_has_the_traceback_and_the_answer_does_not(caplog):
    with Serving(raising(RuntimeError("secret"))) as served:
        reply = served.get("/x%0Ay")
    record = next(record for record in caplog.records if record.name == "greenhttp")
    assert record.exc_info[1].args == ("secret",)
    assert "\n" not in record.getMessage()
    assert not re.search(b"secret|Traceback|Runtime", reply.body)


@pytest.mark.parametrize("error", [RuntimeError("inside"), Unprintable(), SystemExit(), gevent.GreenletExit()])
def test_an_exception_after_the_client_has_gone_ends_the_connection(error, log):
    running, gone = threading.Event(), threading.Event()

    def app(environ, start_response):
        write = start_response("200 OK", list(PLAIN))
        running.set()
        while not gone.is_set():
            gevent.sleep(0.001)
        try:
            while True:
                write(b"x" * 65536)
        except OSError:
            raise error from None

    with Serving(app) as served:
        client = served.connect()
        client.request("GET", "/")
        assert running.wait(TIMEOUT)
        client.reset()
        gone.set()
        with served.connect() as other:  # answered or not, the server takes others
            other.send(b"x\r\n\r\n")
            assert other.read().status == 400
    assert served.server.statistics() == {}


def test_an_application_that_is_not_callable_is_refused():
    from greenhttp import ConfigError, Server

    with pytest.raises(ConfigError, match="callable"):
        Server(None)
