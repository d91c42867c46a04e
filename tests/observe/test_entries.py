"""observe/entries.pyx: exactly one entry for each answer, and what stands in it."""

from __future__ import annotations

import base64
import json
import os
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from greenhttp.errors import ConfigError
from greenhttp.green.pool import Worker
from greenhttp.green.transport import MemoryStream
from greenhttp.http.connection import State, connect_memory
from greenhttp.observe.atoms import parse
from greenhttp.observe.entries import Entries
from greenhttp.server import Server
from greenhttp.testing import every_split, service_of
from tests.foreign import collecting, in_compiled_code
from tests.http.apps import answering, echo, hello, post, request, streaming
from tests.http.carriers import Message
from tests.http.test_limits import Gate, get
from tests.observe.conftest import SHORT

PLAIN = {  # bytes of the server's own answers
    400: 12, 408: 16, 413: 18, 414: 13, 417: 19, 431: 32, 500: 22, 501: 16, 503: 20, 505: 27,
}  # fmt: skip


def wait_for_ever(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    Event().wait()
    return []


# ---- bytes


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        (answering([b"abc", b"de"]), "200 5"),
        (streaming(b"abc", b"de"), "200 5"),  # chunks: without their framing
        (answering([b"abcdef"], "200 OK", ("Content-Length", "4")), "200 4"),
        (answering([b"abc"], "204 No Content"), "204 0"),
        (answering([b"abc"], "304 Not Modified"), "304 0"),
        (answering([]), "200 0"),
    ],
)
def test_bytes_are_those_of_content_put_into_the_stream(logged: Any, app: Any, expected: str) -> None:
    serving = logged(app)
    serving.ask(request())
    assert serving.entries() == [f'{expected} "GET / HTTP/1.1"']


def test_head_has_no_bytes(logged: Any) -> None:
    serving = logged(answering([b"abc"]))
    serving.ask(request(b"HEAD / HTTP/1.1"), "HEAD")
    assert serving.entries() == ['200 0 "HEAD / HTTP/1.1"']


def test_bytes_without_framing_until_close(logged: Any) -> None:
    serving = logged(streaming(b"abc", b"de"))
    serving.ask(request(b"GET / HTTP/1.0"))
    assert serving.entries() == ['200 5 "GET / HTTP/1.0"']


def test_bytes_of_a_file(logged: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](open(tmp_path / "file", "rb"))

    serving = logged(app)
    assert len(serving.ask(request()).content) == 100_000
    assert serving.entries() == ['200 100000 "GET / HTTP/1.1"']


def test_none_is_a_dash_where_the_common_format_says_so(logged: Any) -> None:
    serving = logged(answering([]), "%(b)s %(B)s")
    serving.ask(request())
    assert serving.entries() == ["- 0"]


# ---- one for each


def test_one_for_each_of_a_pipeline_in_order(logged: Any) -> None:
    serving = logged(hello)
    client = serving.connect().send(b"".join(get(f"/{n}") for n in range(40)))
    assert [client.answer().status for _ in range(40)] == [200] * 40
    assert serving.entries() == [f'200 {len(str(n)) + 1} "GET /{n} HTTP/1.1"' for n in range(40)]


def test_an_exception_before_the_head_is_500(logged: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise ValueError

    serving = logged(app)
    assert serving.ask(request()).status == 500
    assert serving.entries() == [f'500 {PLAIN[500]} "GET / HTTP/1.1"']


def fails_behind_the_head(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("201 Created", [])
    yield b"part"
    raise ValueError


def fails_behind_write(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("201 Created", [])(b"part")
    raise ValueError


def ends_short(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("201 Created", [("Content-Length", "10")])
    return [b"part"]


@pytest.mark.parametrize("app", [fails_behind_the_head, fails_behind_write, ends_short])
def test_an_answer_that_was_cut_has_the_status_that_went_out_and_is_not_complete(logged: Any, app: Any) -> None:
    serving = logged(app, "json")
    client = serving.connect().send(request())
    client.was_reset()
    (entry,) = map(json.loads, serving.entries())
    assert (entry["status"], entry["bytes"], entry["complete"]) == (201, 4, False)


def test_a_client_that_leaves_while_it_is_answered(logged: Any) -> None:
    went_on = Event()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        try:
            while True:
                yield b"x" * 100_000
        finally:
            went_on.set()

    serving = logged(app, "json")
    client = serving.connect(receive_buffer=4096).send(get("/gone"))
    serving.until(lambda: serving.count("writing"))
    client.reset()
    went_on.wait()
    (entry,) = map(json.loads, serving.entries())
    assert (entry["target"], entry["status"], entry["complete"]) == ("/gone", 200, False)
    assert entry["bytes"] >= 100_000


def test_a_client_that_leaves_the_queue(logged: Any) -> None:
    gate = Gate()
    serving = logged(gate, concurrency=1)
    first = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    second = serving.connect().send(get("/gone"))
    serving.until(lambda: serving.count("queued"))
    second.reset()
    gevent.idle()
    gate.opened.set()
    assert first.answer().status == 200
    assert sorted(serving.entries()) == ['200 10 "GET /wait HTTP/1.1"', '499 0 "GET /gone HTTP/1.1"']


def test_a_server_that_stops_at_once(logged: Any) -> None:
    serving = logged(wait_for_ever, concurrency=1)
    serving.connect().send(get("/running"))
    serving.until(lambda: serving.count("running"))
    serving.connect().send(get("/queued"))
    serving.until(lambda: serving.count("queued"))
    serving.connect().send(get("/half")[:-1])
    serving.connect()
    serving.until(lambda: serving.count("connections") == 4)
    assert sorted(serving.entries(0)) == ['503 20 "GET /queued HTTP/1.1"', '503 20 "GET /running HTTP/1.1"']


# ---- time-outs


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (b"GET /a", "-"),
        (b"GET /a HTTP/1.1\r\n", "GET /a HTTP/1.1"),
        (b"GET /a HTTP/1.1\r\nHost: example.com\r\nUser", "GET /a HTTP/1.1"),
    ],
)
def test_a_head_that_does_not_come_to_its_end(logged: Any, sent: bytes, line: str) -> None:
    serving = logged(hello, header_timeout=0.05)
    assert serving.connect().send(sent).answer().status == 408
    assert serving.entries() == [f'408 {PLAIN[408]} "{line}"']


def test_content_that_does_not_come_to_its_end(logged: Any) -> None:
    serving = logged(echo, body_timeout=0.05)
    assert serving.ask(post(b"hello")[:-1]).status == 408
    assert serving.entries() == [f'408 {PLAIN[408]} "POST / HTTP/1.1"']


def test_request_timeout(logged: Any) -> None:
    serving = logged(wait_for_ever, request_timeout=0.05)
    assert serving.ask(request()).status == 503
    assert serving.entries() == [f'503 {PLAIN[503]} "GET / HTTP/1.1"']


def test_request_timeout_behind_the_head(logged: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"part"
        Event().wait()

    serving = logged(app, request_timeout=0.05)
    assert serving.connect().send(request()).was_reset()
    assert serving.entries() == ['200 4 "GET / HTTP/1.1"']


# ---- refusals


@pytest.mark.parametrize(
    ("sent", "status", "line"),
    [
        (b"\x16\x03\x01", 400, "-"),
        (b"\x16\x03\x01\n", 400, "-"),
        (b"\r\n\r\n\r\n", 400, "-"),
        (b"GET /\r\n", 400, "GET /"),
        (b"GET /\n", 400, "GET /"),
        (b"\r\n\r\nGET /\r\n", 400, "GET /"),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "GET /a b HTTP/1.1"),
        (b"GET /a\x1bb HTTP/1.1\r\n", 400, r"GET /a\x1bb HTTP/1.1"),
        (b'GET /"\x00\r HTTP/1.1\r\n', 400, r"GET /\"\x00\r HTTP/1.1"),
        (b"GET / HTTP/2.0\r\n", 505, "GET / HTTP/2.0"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "PRI * HTTP/2.0"),
        (b"M" * 33 + b" / HTTP/1.1\r\n", 501, "M" * 33 + " / HTTP/1.1"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n", 414, "-"),
        (b"GET /" + b"x" * 9000, 414, "-"),
        (b"GET /a HTTP/1.1\r\n\r\n", 400, "GET /a HTTP/1.1"),  # no Host
        (request(b"GET /a HTTP/1.1", b"User-Agent: a\x1b[2Jb"), 400, "GET /a HTTP/1.1"),
        (request(b"GET /a HTTP/1.1", b"User-Agent: a\nb"), 400, "GET /a HTTP/1.1"),
        (request(b"GET /a HTTP/1.1", b"A: " + b"x" * 70000), 431, "GET /a HTTP/1.1"),
        (request(b"GET /a HTTP/1.1", b"Expect: b"), 417, "GET /a HTTP/1.1"),
        (request(b"TRACE /a HTTP/1.1"), 501, "TRACE /a HTTP/1.1"),
        (request(b"POST /a HTTP/1.1", b"Content-Length: 600000"), 413, "POST /a HTTP/1.1"),
    ],
)
def test_a_refused_request_has_what_is_known_of_it(logged: Any, sent: bytes, status: int, line: str) -> None:
    serving = logged(hello, limit_request_body=1000)
    assert serving.connect().send(sent).answer().status == status
    assert serving.entries() == [f'{status} {PLAIN[status]} "{line}"']


@pytest.mark.parametrize("data", [b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\nGET /\nHost: a\r\n\r\n"])
def test_a_refused_line_is_the_same_however_it_arrives(data: bytes) -> None:
    found = []
    for pieces in every_split(data):
        log: list[Any] = []
        with service_of(hello, log, {}) as service:
            entries = Entries(parse(SHORT), False, 1 << 20)
            entries.wake = lambda: None
            service.observe(entries)
            connection = connect_memory(service, MemoryStream(pieces))
            while connection.state != State.CLOSED:
                gevent.idle()
        found.append(entries.take()[0])
    assert len(found) > len(data) and len(set(found)) == 1 and b"GET /" in found[0]


def test_a_refused_line_of_another_protocol() -> None:
    log: list[Any] = []
    with service_of(hello, log, {}) as service:
        entries = Entries(parse(SHORT), False, 1 << 20)
        entries.wake = lambda: None
        service.observe(entries)
        message = Message(service, MemoryStream(), b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n")
        message.begin()
        message.finished.wait()
    assert entries.take()[0] == b'400 12 "GET /a b HTTP/1.1"\n'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"GET /a?b HTTP/1.9x", ["GET", "/a?b", "HTTP/1.9x"]),
        (b"GET /a  b HTTP/1.1", ["GET", "/a  b", "HTTP/1.1"]),
        (b"GET /a", ["GET", "/a", None]),
        (b"GET /a HTTP", ["GET", "/a HTTP", None]),
        (b"GET HTTP/1.1", ["GET", None, "HTTP/1.1"]),
        (b"HTTP/1.1", ["HTTP/1.1", None, None]),
        (b"GET", ["GET", None, None]),
        (b"GET ", ["GET", None, None]),
        (b"GET  ", ["GET", " ", None]),
        (b"GET /\xe9\" HTTP/1.1 ", ["GET", '/\xe9" HTTP/1.1 ', None]),
    ],
)
def test_the_words_of_a_line_that_was_refused(logged: Any, line: bytes, words: list[str | None]) -> None:
    serving = logged(hello, "json")
    assert serving.ask(line + b"\r\n").status == 400
    (entry,) = map(json.loads, serving.entries())
    assert [entry["method"], entry["target"], entry["version"]] == words


def test_a_refusal_behind_good_requests_of_a_pipeline(logged: Any) -> None:
    serving = logged(hello)
    client = serving.connect().send(get("/1") + get("/2") + b"bad\r\n")
    assert [client.answer().status for _ in range(3)] == [200, 200, 400]
    assert serving.entries() == ['200 2 "GET /1 HTTP/1.1"', '200 2 "GET /2 HTTP/1.1"', '400 12 "bad"']


def test_unknown_is_a_dash(logged: Any) -> None:
    atoms = ["u", "l", "m", "U", "q", "H", "f", "a", "D", "T", "M", "L", "{host}i", "{date}o", "{REMOTE_USER}e"]
    serving = logged(hello, " ".join(f"%({atom})s" for atom in atoms))
    assert serving.ask(b"\x16").status == 400
    assert serving.entries() == [" ".join("-" for _ in atoms)]


def test_unknown_is_null_in_json(logged: Any) -> None:
    serving = logged(hello, "json")
    assert serving.ask(b"\x16").status == 400
    (entry,) = map(json.loads, serving.entries())
    assert re.fullmatch("[0-9a-f]{32}", entry.pop("request_id"))
    assert entry.pop("time") and entry == {
        "peer": "127.0.0.1", "method": None, "target": None, "version": None, "tls": None, "status": 400, "bytes": 12,
        "duration": None, "complete": True, "cut": False, "referer": None, "user_agent": None,
    }  # fmt: skip


def test_no_place_in_the_queue(logged: Any) -> None:
    gate = Gate()
    serving = logged(gate, concurrency=1, queue=0)
    first = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    assert serving.ask(get("/full")).status == 503
    gate.opened.set()
    assert first.answer().status == 200
    assert serving.entries() == ['503 20 "GET /full HTTP/1.1"', '200 10 "GET /wait HTTP/1.1"']


def test_too_long_in_the_queue(logged: Any) -> None:
    gate = Gate()
    serving = logged(gate, concurrency=1, queue_timeout=0.05)
    first = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    assert serving.ask(get("/late")).status == 503
    gate.opened.set()
    assert first.answer().status == 200
    assert serving.entries() == ['503 20 "GET /late HTTP/1.1"', '200 10 "GET /wait HTTP/1.1"']


def test_what_nobody_answered_has_no_entry(logged: Any) -> None:
    serving = logged(hello)
    serving.connect().close()
    serving.connect().send(b"GET / HTTP/1.1\r\nHo").close()
    serving.connect().send(b"GET / HTTP/1.1\r\nHo").reset()
    client = serving.connect()
    assert client.ask(get("/1")).status == 200
    assert serving.entries() == ['200 2 "GET /1 HTTP/1.1"']


# ---- what stands in it

QUOTED = r'"((?:[^"\\]|\\.)*)"'
COMBINED = re.compile(rf"(\S+) - (\S+) \[([^]]+)\] {QUOTED} (\d{{3}}) (\d+|-) {QUOTED} {QUOTED}")


def test_combined_is_apaches(logged: Any) -> None:
    serving = logged(hello, "combined")
    before = datetime.now(timezone.utc).replace(microsecond=0)
    client = serving.connect()
    client.ask(request(b"GET /a?b=c HTTP/1.1", b"Referer: http://x/", b"user-agent: curl/8"))
    client.ask(request(b"GET /none HTTP/1.0"))
    first, second = serving.entries()
    peer, user, when, *rest = COMBINED.fullmatch(first).groups()  # type: ignore[union-attr]
    assert (peer, user, rest) == ("127.0.0.1", "-", ["GET /a?b=c HTTP/1.1", "200", "2", "http://x/", "curl/8"])
    assert before <= datetime.strptime(when, "%d/%b/%Y:%H:%M:%S %z") <= datetime.now(timezone.utc)
    assert second.endswith('] "GET /none HTTP/1.0" 200 5 "-" "-"')


def test_common_is_apaches(logged: Any) -> None:
    serving = logged(hello, "common")
    serving.ask(get("/a"))
    (line,) = serving.entries()
    assert re.fullmatch(r'127\.0\.0\.1 - - \[[^]]+\] "GET /a HTTP/1\.1" 200 2', line)


def test_json_is_documented(logged: Any) -> None:
    serving = logged(hello, "json")
    before = datetime.now(timezone.utc) - timedelta(milliseconds=1)
    serving.ask(request(b"GET /a?b=c HTTP/1.1", b"Referer: http://x/", b"User-Agent: curl/8"))
    (entry,) = map(json.loads, serving.entries())
    when = datetime.strptime(entry.pop("time"), "%Y-%m-%dT%H:%M:%S.%f%z")
    assert before <= when <= datetime.now(timezone.utc)
    assert 0 < entry.pop("duration") < 30
    assert re.fullmatch("[0-9a-f]{32}", entry.pop("request_id"))
    assert entry == {
        "peer": "127.0.0.1", "method": "GET", "target": "/a?b=c", "version": "HTTP/1.1", "tls": None, "status": 200,
        "bytes": 2, "complete": True, "cut": False, "referer": "http://x/", "user_agent": "curl/8",
    }  # fmt: skip


def test_each_atom(logged: Any) -> None:
    serving = logged(
        answering([b"x"], "200 OK", ("ETag", '"e"'), ("X-A", "b"), ("X-Empty", "")),
        "%(m)s|%(U)s|%(q)s|%(H)s|%(p)s|%({etag}o)s|%({X-a}o)s|%({x-empty}o)s|%({x-none}o)s|%({content-length}o)s|"
        "%({x-mine}i)s|%({accept}i)s|%({x-none}i)s|%({HTTP_X_MINE}e)s|%({REQUEST_METHOD}e)s|%({QUERY_STRING}e)s|"
        "%({RAW_URI}e)s|%({PATH_INFO}e)s|%({REMOTE_ADDR}e)s",
    )
    serving.ask(request(b"GET /p%20q?a=b HTTP/1.1", b"X-Mine: 1", b"X-Mine: 2", b"Accept: */*"))
    assert serving.entries() == [
        f'GET|/p%20q|a=b|HTTP/1.1|<{os.getpid()}>|\\"e\\"|b|-|-|1|1|*/*|-|1|GET|a=b|/p%20q?a=b|/p%20q|127.0.0.1'
    ]


def test_the_port_of_the_peer(logged: Any) -> None:
    serving = logged(hello, "%({REMOTE_PORT}e)s")
    client = serving.connect()
    client.ask(request())
    port = client.sock.getsockname()[1]
    assert serving.entries() == [str(port)]


def test_durations_are_one_in_four_units(logged: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        gevent.sleep(0.05)
        return hello(environ, start_response)

    serving = logged(app, "%(T)s %(M)s %(D)s %(L)s")
    serving.ask(request())
    (line,) = serving.entries()
    seconds, milli, micro, decimal = line.split()
    assert 49 <= int(milli) < 30_000
    assert int(micro) // 1000 == int(milli) and int(seconds) == int(milli) // 1000
    assert decimal == f"{int(micro) // 1_000_000}.{int(micro) % 1_000_000:06}"


@pytest.mark.parametrize("address", ["unix", "[::1]:0"])
def test_peers_that_are_not_ipv4(serve: Any, path: Path, tmp_path: Path, address: str) -> None:
    bind = f"unix:{tmp_path}/s" if address == "unix" else address
    other = serve(hello, access_logfile=str(tmp_path / "other.log"), access_log_format="%(h)s")
    server = Server(hello, bind=bind, access_logfile=str(path), access_log_format="%(h)s %({REMOTE_PORT}e)s")
    try:
        server.start()
    except ConfigError:
        pytest.skip("no IPv6")
    other.ask(request())  # another address in between: the one seen last is kept as text
    with socket.socket(socket.AF_UNIX if address == "unix" else socket.AF_INET6) as sock:
        sock.connect(server.address)
        sock.sendall(request())
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        port = 0 if address == "unix" else sock.getsockname()[1]
    server.stop()
    assert path.read_text() == ("- -\n" if address == "unix" else f"::1 {port}\n")


# ---- from outside


HIGH = bytes(range(0x80, 0x100))


def test_nothing_from_outside_ends_a_quotation_or_a_line(logged: Any) -> None:
    serving = logged(hello, "combined")
    serving.ask(request(b'GET /"a\\?' + HIGH + b" HTTP/1.1", b"User-Agent: \"x\" \\ \t" + HIGH, b'Referer: "'))
    (line,) = serving.entries()
    *_, got, status, size, referer, agent = COMBINED.fullmatch(line).groups()  # type: ignore[union-attr]
    high = "".join(f"\\x{byte:02x}" for byte in HIGH)
    assert got == f'GET /\\"a\\\\?{high} HTTP/1.1'
    assert agent == f'\\"x\\" \\\\ \\t{high}'
    assert referer == '\\"'


def test_json_tells_every_byte(logged: Any) -> None:
    serving = logged(hello, "json")
    serving.ask(request(b'GET /"a\\?' + HIGH + b" HTTP/1.1", b"User-Agent: \"x\" \\ \t" + HIGH))
    (entry,) = map(json.loads, serving.entries())
    assert entry["target"].encode("latin-1") == b'/"a\\?' + HIGH
    assert entry["user_agent"].encode("latin-1") == b'"x" \\ \t' + HIGH


@pytest.mark.parametrize(
    ("credentials", "shown"),
    [
        (b"Basic " + base64.b64encode(b"joe:secret"), "joe"),
        (b"basic " + base64.b64encode(b"joe"), "joe"),
        (b"Basic " + base64.b64encode(b'a b\r\n\x1b\x00"\\\xff:x'), 'a\\x20b\\r\\n\\x1b\\x00\\"\\\\\\xff'),
        (b"Basic " + base64.b64encode(b":secret"), "-"),
        (b"Basic !", "-"),
        (b"Basic a", "-"),
        (b"Basic ", "-"),
        (b"Bearer abcdefgh", "-"),
    ],
)
def test_the_name_in_basic_credentials(logged: Any, credentials: bytes, shown: str) -> None:
    serving = logged(hello, "%(u)s %(s)s")
    serving.ask(request(b"GET / HTTP/1.1", b"Authorization: " + credentials))
    assert serving.entries() == [f"{shown} 200"]


def test_a_head_that_came_in_pieces_and_content_behind_it(logged: Any) -> None:
    # The stream's buffer has moved on and been used again when the entry is written.
    serving = logged(echo, '%(s)s %(r)s %({x-a}i)s "%(a)s"')
    data = post(b"y" * 200_000, b"X-A: " + b"a" * 3000, b"User-Agent: me", path=b"/long")
    client = serving.connect()
    for start in range(0, 1000, 100):
        client.send(data[start : start + 100])
        gevent.idle()
    client.send(data[1000:])
    assert client.answer().status == 200
    assert serving.entries() == [f'200 POST /long HTTP/1.1 {"a" * 3000} "me"']


def test_keys_of_the_environ_whose_comparison_waits_tear_no_entry(logged: Any) -> None:
    """What stands in the environ is the application's: a key may be of a kind that runs code of its own."""
    gate, waiting = Event(), Event()

    class Key(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            if gevent.getcurrent() is not running[0]:
                return str.__eq__(self, other)
            waiting.set()
            gate.wait()
            return str.__eq__(self, other)

    running: list[Any] = [None]

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/slow":
            environ[Key("tenant")] = "blue"
            running[0] = gevent.getcurrent()
        else:
            environ["tenant"] = "red"
        return hello(environ, start_response)

    serving = logged(app, "<%(U)s %({tenant}e)s %(s)s>", concurrency=2)
    slow = serving.connect().send(get("/slow"))
    waiting.wait()
    for n in range(3):
        assert serving.ask(get(f"/{n}")).status == 200
    gate.set()
    assert slow.answer().status == 200
    running[0] = None
    assert sorted(serving.entries()) == ["</0 red 200>", "</1 red 200>", "</2 red 200>", "</slow blue 200>"]


# ---- foreign code while an entry is made, and while the log is taken


@in_compiled_code
def test_an_entry_is_whole_wherever_foreign_code_waits(logged: Any, path: Path) -> None:
    """At each allocation behind the application's: meanwhile another request is answered."""
    kept: list[Any] = []
    begun: list[bool] = []
    moments = 0

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/slow":
            kept.append([(i, i, i) for i in range(3000)])  # or the interpreter has a stock that no collection precedes
            kept.append([[i] for i in range(200)])
            begun.append(True)
        return hello(environ, start_response)

    user = b"Authorization: Basic " + base64.b64encode(b"joe doe:secret")
    while True:
        begun.clear()
        gate = Event()
        serving = logged(app, "<%(U)s %(u)s %(s)s>", concurrency=2)
        slow, other = serving.connect(), serving.connect()
        with collecting(gate.wait, lambda: begun != [] and isinstance(gevent.getcurrent(), Worker), moments) as hits:
            slow.send(request(b"GET /slow HTTP/1.1", user))
            for _ in range(3):
                gevent.idle()
        assert other.ask(get("/other")).status == 200
        gate.set()
        assert slow.answer().status == 200
        assert sorted(serving.entries()) == ["</other - 200>", "</slow joe\\x20doe 200>"], f"moment {moments}"
        path.unlink()
        if not hits:
            break
        moments += 1
    assert moments > 1


@in_compiled_code
def test_what_comes_while_entries_are_taken_is_in_the_next_batch(logged: Any) -> None:
    serving = logged(hello, "%(U)s")
    entries = serving.server._access.entries
    client = serving.connect()
    serving.until(lambda: not entries.held)
    running, taking = gevent.getcurrent(), False
    client.ask(get("/first"))
    with collecting(lambda: client.ask(get("/during")), lambda: taking and gevent.getcurrent() is running) as hits:
        kept = [(i, i, i, i) for i in range(5000)]  # as above
        taking = True
        lines, held, count, dropped = entries.take()
        taking = False
    del kept
    assert hits
    entries.done(held)
    written = serving.entries()  # by the log's own green thread, which takes too
    assert sorted([*lines.decode().split(), *written]) == ["/during", "/first"]
    assert (entries.held, count, dropped) == (0, len(lines.split()), 0)
