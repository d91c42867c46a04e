"""http/request.pyx: what a native handler is told of its request, now and long after."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from greenhttp.errors import BodyError, HTTPError
from greenhttp.http.request import Headers, Request
from greenhttp.http.values import Values
from greenhttp.testing import every_split, exchange
from tests.answers import answers, only
from tests.http.apps import chunks, post, request
from tests.http.conftest import Talk


@pytest.fixture
def told(talk: Talk) -> Callable[..., Any]:
    """told(data, look, **settings): what `look(request)` finds, called in the handler."""

    def tell(data: bytes, look: Any, **settings: Any) -> Any:
        seen: list[Any] = []

        def handler(request: Any) -> str:
            seen.append(look(request))
            return "seen"

        conversation = talk(handler, data, **settings)
        assert conversation.log == []
        assert conversation.only.content in (b"seen", b"")
        return seen[0]

    return tell


def get(target: bytes, *fields: bytes) -> bytes:
    return request(b"GET " + target + b" HTTP/1.1", *fields)


# ---- the request line


@pytest.mark.parametrize(
    ("target", "path", "query_string", "query"),
    [
        (b"/", "/", "", []),
        (b"/a/b", "/a/b", "", []),
        (b"/a?", "/a", "", []),
        (b"/a?b=c&d", "/a", "b=c&d", [("b", "c"), ("d", "")]),
        (b"/a?b=1&b=2&&=3", "/a", "b=1&b=2&&=3", [("b", "1"), ("b", "2"), ("", "3")]),
        (b"/a%20b%2Fc", "/a b/c", "", []),
        (b"/%C3%A9?%C3%A9=%C3%A9+%2B", "/é", "%C3%A9=%C3%A9+%2B", [("é", "é +")]),
        (b"/%ff%zz%4", "/\ufffd%zz%4", "", []),
        (b"/a?b=%ff&c=%zz", "/a", "b=%ff&c=%zz", [("b", "\ufffd"), ("c", "%zz")]),
        ("/a?b=é".encode(), "/a", "b=Ã©", [("b", "é")]),
        (b"/a?b=\xff", "/a", "b=ÿ", [("b", "\ufffd")]),
        (b"/a?b=c?d", "/a", "b=c?d", [("b", "c?d")]),
        (b"//a//b/../c", "//a//b/../c", "", []),
        (b"/%00", "/\x00", "", []),
        (b"http://example.com", "/", "", []),
        (b"http://example.com?a=b", "/", "a=b", [("a", "b")]),
        (b"http://example.com/a%20b?c", "/a b", "c", [("c", "")]),
    ],
)
def test_the_target_and_its_parts(
    target: bytes, path: str, query_string: str, query: list[tuple[str, str]], told: Any
) -> None:
    def look(request: Any) -> Any:
        for _ in range(2):
            found = request.target, request.path, request.query_string, list(request.query.pairs)
        assert isinstance(request.query, Values) and request.query is request.query
        return found

    assert told(get(target), look) == (target.decode("latin-1"), path, query_string, query)


def test_targets_that_are_no_paths(told: Any) -> None:
    def look(request: Any) -> Any:
        return request.target, request.path, request.query_string, request.host

    assert told(request(b"OPTIONS * HTTP/1.1"), look) == ("*", "*", "", "example.com")
    connect = b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n"
    assert told(connect, look, allow_methods=["CONNECT"]) == ("h:1", "", "", "h:1")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "get", "M-SEARCH"])
def test_the_method_as_sent(method: str, told: Any) -> None:
    assert told(request(f"{method} / HTTP/1.1".encode()), lambda request: request.method) == method


@pytest.mark.parametrize(("sent", "version"), [(b"1.1", "HTTP/1.1"), (b"1.0", "HTTP/1.0"), (b"1.9", "HTTP/1.1")])
def test_version_and_scheme(sent: bytes, version: str, told: Any) -> None:
    found = told(request(b"GET / HTTP/" + sent), lambda request: (request.version, request.scheme))
    assert found == (version, "http")


def test_host(told: Any) -> None:
    def look(request: Any) -> Any:
        return request.host

    assert told(b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", look) == "[::1]:80"
    assert told(b"GET http://a:1/ HTTP/1.1\r\nHost: a:1\r\n\r\n", look) == "a:1"
    assert told(b"GET / HTTP/1.0\r\n\r\n", look) == ""


def test_the_peer(serve: Any, told: Any) -> None:
    serving = serve(lambda request: repr((request.peer, request.peer)))
    client = serving.connect()
    assert client.ask(get(b"/")).content == repr((client.sock.getsockname(),) * 2).encode()
    assert told(get(b"/"), lambda request: request.peer) == ""


def test_it_says_what_it_is_and_is_made_by_connections_only(told: Any) -> None:
    assert told(get(b"/a?b"), repr) == "<Request GET /a?b>"
    for kind in (Request, Headers):
        with pytest.raises(TypeError, match="only"):
            kind()


def test_it_does_not_change(told: Any) -> None:
    def look(request: Any) -> str:
        for name in ("method", "target", "path", "headers", "body", "peer"):
            with pytest.raises(AttributeError):
                setattr(request, name, "x")
        return "same"

    assert told(get(b"/"), look) == "same"


# ---- fields

FIELDS = (b"X-One: 1", b"x-two:  2 ", b"X-TWO: \xe9", b"Cookie: a=b", b"cookie: c=d", b"Accept:", b"X-two: 2")


def test_headers_are_a_mapping_in_any_case(told: Any) -> None:
    def look(request: Any) -> str:
        headers = request.headers
        assert headers is request.headers
        assert headers["x-one"] == headers["X-ONE"] == headers.get("X-One") == "1"
        assert headers["X-Two"] == "2, é, 2"
        assert headers["Cookie"] == "a=b; c=d"
        assert (headers["accept"], headers.get("Accept", "*/*"), "accept" in headers) == ("", "", True)
        assert headers.get_all("X-Two") == ["2", "é", "2"]
        assert headers.get_all("cookie") == ["a=b", "c=d"]
        names = ["host", "x-one", "x-two", "cookie", "accept"]
        assert list(headers) == headers.keys() == names and len(headers) == 5
        assert headers.values() == [headers[name] for name in names]
        assert headers.items() == list(dict(headers).items()) == list(zip(names, headers.values(), strict=True))
        assert headers.pairs == [
            ("Host", "example.com"), ("X-One", "1"), ("x-two", "2"), ("X-TWO", "é"), ("Cookie", "a=b"),
            ("cookie", "c=d"), ("Accept", ""), ("X-two", "2"),
        ]  # fmt: skip
        assert repr(headers) == f"Headers({headers.pairs!r})"
        return "looked"

    assert told(get(b"/", *FIELDS), look) == "looked"


@pytest.mark.parametrize("name", [b"Transfer-Encoding", b"TRANSFER-ENCODING"])
def test_a_coding_that_is_undone_is_no_field(name: bytes, told: Any) -> None:
    """RFC 9110 7.6.1: it is about one connection, and the body has no coding any more."""

    def look(request: Any) -> Any:
        headers = request.headers
        assert "transfer-encoding" not in headers and headers.get("Transfer-Encoding", "?") == "?"
        assert headers.get_all("transfer-encoding") == [] and "transfer-encoding" not in dict(headers)
        with pytest.raises(KeyError):
            headers["Transfer-Encoding"]
        return headers.pairs, list(headers), headers.values(), request.body.read()

    data = request(b"POST / HTTP/1.1", b"A: b", name + b": chunked", b"C: d", content=chunks(b"abc"))
    pairs = [("Host", "example.com"), ("A", "b"), ("C", "d")]
    assert told(data, look) == (pairs, ["host", "a", "c"], ["example.com", "b", "d"], b"abc")
    other = request(b"POST / HTTP/1.1", b"Transfer-Encodin: chunked", b"Content-Length: 3", content=b"abc")
    assert told(other, lambda request: request.headers["transfer-encodin"]) == "chunked"


def test_a_field_that_is_not_there(told: Any) -> None:
    def look(request: Any) -> str:
        headers = request.headers
        assert (headers.get("X"), headers.get("X", 7), headers.get_all("X"), "X" in headers) == (None, 7, [], False)
        assert "" not in headers and "é" not in headers and "€" not in headers and 7 not in headers
        with pytest.raises(KeyError, match="X-Not"):
            _ = headers["X-Not"]
        for wrong in (None, 7, b"host"):
            with pytest.raises(TypeError):
                headers.get(wrong)
        return "looked"

    assert told(get(b"/"), look) == "looked"


# ---- the body


def framed(content: bytes, coded: bool, *fields: bytes) -> bytes:
    if not coded:
        return post(content, *fields)
    pieces = [content[:3], content[3:]] if len(content) > 3 else [content] if content else []
    return request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", *fields, content=chunks(*pieces))


READERS = {
    "read": lambda body: body.read(),
    "read None": lambda body: body.read(None),
    "read by 1": lambda body: b"".join(iter(lambda: body.read(1), b"")),
    "read_some": lambda body: b"".join(iter(body.read_some, b"")),
    "readline": lambda body: b"".join(iter(body.readline, b"")),
    "readlines": lambda body: b"".join(body.readlines()),
    "lines": b"".join,
    "iter": lambda body: b"".join(body.iter()),
    "iter by 2": lambda body: b"".join(body.iter(2)),
}


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("reader", READERS)
def test_a_body_is_read_however_it_arrives(reader: str, coded: bool, talk: Talk) -> None:
    content = b"one\n\ntwo\r\nthree"

    def handler(request: Any) -> Any:
        read = READERS[reader](request.body)
        assert (request.body.read(), request.body.readline(), request.body.done) == (b"", b"", True)
        return read

    for pieces in every_split(framed(content, coded)):
        conversation = talk(handler, pieces, get(b"/"))
        assert (conversation.contents, conversation.log) == ([content, b""], [])


def test_lines_and_pieces(told: Any) -> None:
    def look(request: Any) -> Any:
        body = request.body
        return body.readline(2), body.readline(), body.read(1), list(body.iter(3)), body.read()

    assert told(post(b"one\ntwo three"), look) == (b"on", b"e\n", b"t", [b"wo ", b"thr", b"ee"], b"")


def test_an_answer_can_be_made_of_the_body_while_it_comes(talk: Talk) -> None:
    """Echoed piece by piece: reading and sending take turns."""
    for pieces in every_split(post(b"hello")):
        assert talk(lambda request: request.body.iter(), pieces, get(b"/")).contents == [b"hello", b""]


# ---- json


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("value", [{"a": [1, None, "é"]}, [], 0, None, "x" * 100])
def test_json(value: Any, coded: bool, told: Any) -> None:
    def look(request: Any) -> Any:
        found = request.json()
        assert request.json() is found
        return found

    for encoding in ("utf-8", "utf-16"):
        data = json.dumps(value, ensure_ascii=False).encode(encoding)
        assert told(framed(data, coded), look) == value
        assert told(framed(data, coded, b"Content-Type: text/plain"), look) == value


@pytest.mark.parametrize("content", [b"", b"{", b"{'a': 1}", b"\xff\xfe\xff", b"1 2", b"[" * 100_000, b"9" * 5000])
def test_what_is_not_json_is_400(content: bytes, talk: Talk) -> None:
    outcome = talk(lambda request: request.json(), framed(content, True))
    assert (outcome.statuses, outcome.log) == ([400], [])


@pytest.mark.parametrize("coded", [False, True])
def test_json_is_limited(coded: bool, told: Any, talk: Talk) -> None:
    data = json.dumps("x" * 8).encode()

    def look(request: Any) -> Any:
        return request.json(limit=10)

    assert told(framed(data, coded), look) == "x" * 8
    outcome = talk(lambda request: look(request), framed(json.dumps("x" * 9).encode(), coded), get(b"/"))
    assert (outcome.statuses, outcome.log) == ([413, 400], [])


def test_json_that_is_caught_leaves_a_request_to_answer(talk: Talk) -> None:
    def handler(request: Any) -> str:
        with pytest.raises(HTTPError) as caught:
            request.json()
        return f"{caught.value.status} {request.path}"

    assert talk(handler, post(b"{", path=b"/p")).contents == [b"400 /p"]


def test_json_of_a_body_that_breaks_off() -> None:
    outcome = exchange(lambda request: request.json(), [post(b'{"a": 1}')[:-1]])
    assert only(outcome.sent).status == 400
    assert [record.level for record in outcome.log] == ["info"]


# ---- kept beyond the answer


def state(request: Any) -> tuple[Any, ...]:
    """Everything that a request says about itself, its body and peer apart."""
    headers = request.headers
    return (
        request.method, request.target, request.path, request.query_string, list(request.query.pairs), request.host,
        request.version, headers.pairs, headers.get("x-number"), headers.get_all("x-number"), repr(request),
    )  # fmt: skip


def numbered(n: int) -> bytes:
    """A request unlike its neighbours: in method, sizes, number of fields and content."""
    fields = [b"X-Number: %d" % n, *(b"X-%d: %s" % (i, b"v" * (n % 7)) for i in range(n % 5)), b"x-number: %d" % -n]
    target = b"/%d%%20%s?n=%d&long=%s" % (n, b"p" * (n % 11), n, b"q" * (n % 13 * 20))
    if n % 3 == 0:
        return request(b"GET " + target + b" HTTP/1.1", *fields)
    return post(b"c" * (n % 17 + 1), *fields, path=target)


def expected(n: int) -> tuple[Any, ...]:
    """What request `n` says while its handler runs and nothing else has happened."""
    found: list[Any] = []
    exchange(lambda request: found.append(state(request)) or "", [numbered(n)])
    return found[0]


COUNT = 60
EXPECTED = {n: expected(n) for n in range(COUNT)}
WAYS = {
    "one piece": [b"".join(numbered(n) for n in range(COUNT))],
    "one by one": [numbered(n) for n in range(COUNT)],
    "cut through": [
        b"".join(numbered(n) for n in range(COUNT))[at : at + 997]
        for at in range(0, sum(len(numbered(n)) for n in range(COUNT)), 997)
    ],
}


def number_of(request: Any) -> int:
    return int(request.headers["X-Number"].partition(",")[0])


def check(kept: dict[int, Any], say: Any = state) -> None:
    for n, each in kept.items():
        assert say(each) == EXPECTED[n], n


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.parametrize("every", [1, 2, 7])
def test_a_kept_request_tells_the_truth_about_itself(way: str, looked: bool, every: int) -> None:
    kept: dict[int, Any] = {}
    turn = iter(range(COUNT))

    def handler(request: Any) -> str:
        n = next(turn)
        if looked:
            state(request)
        if n % every == 0:
            kept[n] = request
        check(kept)
        return "kept"

    outcome = exchange(handler, WAYS[way])
    assert len(answers(outcome.sent)) == COUNT and outcome.log == []
    gc.collect()
    assert len(kept) == len(range(0, COUNT, every))
    check(kept)


@pytest.mark.parametrize("way", WAYS)
def test_kept_headers_alone_tell_the_truth(way: str) -> None:
    kept: dict[int, Any] = {}
    names: dict[int, Any] = {}
    turn = iter(range(COUNT))

    def handler(request: Any) -> str:
        n = next(turn)
        if n % 3 == 0:
            kept[n] = request.headers
        elif n % 3 == 1:
            names[n] = request.headers.get  # a bound method keeps what it is bound to
        return "kept"

    exchange(handler, WAYS[way])
    gc.collect()
    assert {n: headers.pairs for n, headers in kept.items()} == {n: EXPECTED[n][7] for n in kept}
    assert {n: get("X-Number") for n, get in names.items()} == {n: f"{n}, {-n}" for n in names}


@pytest.mark.parametrize("how", ["generator", "iterator", "error", "http error", "refused"])
def test_a_request_is_kept_by_whatever_way_it_is_answered(how: str, talk: Talk) -> None:
    kept: dict[int, Any] = {}
    turn = iter(range(COUNT))

    class Pieces:
        def __init__(self, request: Any) -> None:
            self.request = request

        def __iter__(self) -> Any:
            return iter([b"a", b"b"])

    def pieces(n: int, request: Any) -> Any:
        yield b"a"
        kept[n] = request
        yield b"b"

    def handler(request: Any) -> Any:
        n = next(turn)
        if how == "generator":
            return pieces(n, request)
        kept[n] = request
        if how == "iterator":
            return Pieces(request)
        if how == "error":
            raise RuntimeError(n)
        if how == "http error":
            raise HTTPError(404)
        return None

    assert len(talk(handler, *[numbered(n) for n in range(COUNT)]).answers) == COUNT
    gc.collect()
    assert len(kept) == COUNT
    check(kept)


def test_a_request_kept_by_its_own_exception_or_a_cycle(talk: Talk) -> None:
    class Own(Exception):
        pass

    turn = iter(range(COUNT))
    errors: dict[int, Own] = {}
    cycles: dict[int, list[Any]] = {}

    def handler(request: Any) -> Any:
        n = next(turn)
        if n % 2:
            errors[n] = Own(request)
            raise errors[n]
        cycle: list[Any] = [request]
        cycle.append(cycle)
        cycles[n] = cycle
        return "kept"

    talk(handler, *[numbered(n) for n in range(COUNT)])
    check({n: error.args[0] for n, error in errors.items()})
    check({n: cycle[0] for n, cycle in cycles.items()})


def test_a_green_thread_left_behind_looks_at_its_request_later(serve: Any) -> None:
    """With other requests on this connection and on others in between."""
    gate, found = gevent.event.Event(), {}

    def later(n: int, request: Any) -> None:
        gate.wait()
        found[n] = state(request)

    threads = []

    def handler(request: Any) -> str:
        if request.path != "/other":
            threads.append(gevent.spawn(later, number_of(request), request))
        return "answered"

    serving = serve(handler)
    client, others = serving.connect(), [serving.connect() for _ in range(5)]
    for n in range(0, COUNT, 4):
        client.send(b"".join(numbered(m) for m in range(n, n + 4)))
        for other in others:
            assert other.ask(get(b"/other")).content == b"answered"
        for m in range(n, n + 4):
            assert client.answer(EXPECTED[m][0]).content == b"answered"
    client.finish()
    assert client.ended()
    assert len(threads) == COUNT and found == {}
    gate.set()
    gevent.joinall(threads, raise_error=True)
    assert found == EXPECTED


def test_requests_on_many_connections_do_not_get_mixed_up(serve: Any) -> None:
    kept: dict[int, Any] = {}
    order = []

    def handler(request: Any) -> str:
        n = number_of(request)
        if n % 2:
            kept[n] = request
        gevent.sleep(0)
        order.append(n)
        return str(state(request) == EXPECTED[n])

    serving = serve(handler)
    clients = [serving.connect() for _ in range(6)]
    for k, client in enumerate(clients):
        client.send(b"".join(numbered(n) for n in range(k, COUNT, 6)))
    for k, client in enumerate(clients):
        for n in range(k, COUNT, 6):
            assert client.answer(EXPECTED[n][0]).content == b"True"
    assert sorted(order) == list(range(COUNT))
    assert len(kept) == COUNT // 2
    check(kept)
    serving.server.stop(0)
    check(kept)


def test_the_peer_of_a_kept_request_is_still_its_own(serve: Any) -> None:
    kept: list[Any] = []
    serving = serve(lambda request: kept.append(request) or "kept")
    clients = [serving.connect() for _ in range(5)]
    names = [client.sock.getsockname() for client in clients]
    for client in clients:
        client.ask(get(b"/"))
        client.close()
    serving.until(lambda: serving.count("connections") == 0)
    assert [request.peer for request in kept] == names


def test_a_request_that_nobody_keeps_goes_away(serve: Any) -> None:
    def handler(request: Any) -> str:
        return state(request)[0]

    serving = serve(handler)
    client = serving.connect()
    for n in range(COUNT):
        client.ask(numbered(n), EXPECTED[n][0])
    gc.collect()
    before = sum(type(each) is Request for each in gc.get_objects())
    for n in range(COUNT):
        client.ask(numbered(n), EXPECTED[n][0])
    gc.collect()
    after = sum(type(each) is Request for each in gc.get_objects())
    assert before == after


# ---- the body of a kept request


LATE = {
    "read": lambda request: request.body.read(),
    "read_some": lambda request: request.body.read_some(),
    "readline": lambda request: request.body.readline(),
    "iter": lambda request: list(request.body.iter()),
    "lines": lambda request: list(request.body),
    "json": lambda request: request.json(),
}


@pytest.mark.parametrize("coded", [False, True])
@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("before", [0, 2])
def test_an_unread_body_raises_after_the_answer(late: str, coded: bool, before: int, talk: Talk) -> None:
    kept: list[Any] = []

    def handler(request: Any) -> str:
        for each in kept:
            with pytest.raises(BodyError, match="the request is over"):
                LATE[late](each)
        if request.method == "POST":
            request.body.read(before)
            kept.append(request)
        return "kept"

    content = framed(b"content", coded)
    for each in (content, [content[n : n + 1] for n in range(len(content))]):
        kept.clear()
        outcome = talk(handler, each, each, get(b"/"), each, get(b"/"))
        assert outcome.contents == [b"kept"] * 5
        assert (len(kept), outcome.log) == (3, [])
        for each in kept:
            with pytest.raises(BodyError, match="the request is over"):
                LATE[late](each)


@pytest.mark.parametrize("coded", [False, True])
def test_a_form_that_was_not_read_raises_after_the_answer(coded: bool, talk: Talk) -> None:
    kept: list[Any] = []
    data = framed(b"a=1", coded, b"Content-Type: application/x-www-form-urlencoded")
    talk(lambda request: kept.append(request) or "", data)
    with pytest.raises(BodyError, match="the request is over"):
        kept[0].form()


def test_what_was_read_in_time_stays(talk: Talk) -> None:
    kept: list[Any] = []

    def handler(request: Any) -> str:
        request.json()
        kept.append(request)
        return "kept"

    talk(handler, post(b'{"n": 1}'), post(b'{"n": 2}'), get(b"/"))
    assert [each.json() for each in kept] == [{"n": 1}, {"n": 2}]
    assert [each.body.read() for each in kept] == [b"", b""]


def test_a_request_without_content_has_an_empty_body_for_ever(talk: Talk) -> None:
    kept: list[Any] = []
    talk(lambda request: kept.append(request) or "", get(b"/"), post(b""), get(b"/"))
    assert [each.body.read() for each in kept] == [b""] * 3


def test_a_green_thread_left_behind_does_not_read_the_next_request() -> None:
    results: list[Any] = []

    def reader(request: Any) -> None:
        try:
            results.append(request.body.read())
        except BodyError as error:
            results.append(error)

    def handler(request: Any) -> str:
        gevent.spawn(reader, request)
        gevent.sleep(0)
        return "left behind"

    outcome = exchange(handler, [post(b"content")[:-3], b"ent" + get(b"/secret")])
    assert [each.content for each in answers(outcome.sent)][0] == b"left behind"
    assert len(results) >= 1
    assert all(b"secret" not in each for each in results if isinstance(each, bytes))
    assert isinstance(results[0], BodyError)
