"""root_path and root_path_header: the prefix of an application's paths, set by the operator or said by a proxy."""

from __future__ import annotations

from typing import Any

import pytest

from greenhttp.errors import ConfigError
from greenhttp.server import Server
from greenhttp.testing import Client, every_split, exchange
from tests.answers import only
from tests.http.conftest import Serving, Talk


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return ["|".join(environ[name] for name in ("SCRIPT_NAME", "PATH_INFO", "RAW_URI")).encode("latin-1")]


def native(request: Any) -> str:
    return f"{request.root_path}|{request.path}|{request.target}"


def never(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise AssertionError("the application was asked")


both = pytest.mark.parametrize("app", [wsgi, native])


def get(target: str, *fields: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/{version}", "Host: a.test", *fields, "", ""]).encode("latin-1")


def told(app: Any, data: bytes, **settings: Any) -> tuple[int, str]:
    answer = only(exchange(app, [data], keep_open=True, **settings).sent)
    return answer.status, answer.content.decode()


# ---- the setting

PATHS = [
    # root_path, target as sent, the path that is left; None: 404
    ("/below", "/below", ""),
    ("/below", "/below/", "/"),
    ("/below/", "/below/x", "/x"),
    ("/below", "/below/x/y?z=/below", "/x/y"),
    ("/below", "/below?x", ""),
    ("/below", "/below//x", "//x"),
    ("/below", "/below/below", "/below"),
    ("/below", "/", None),
    ("/below", "/x", None),
    ("/below", "/belowX", None),
    ("/below", "/below.x/y", None),
    ("/below", "/belo", None),
    ("/below", "/Below", None),
    ("/below", "//below", None),
    ("/below", "/x/below", None),
    ("/below", "/./below", None),
    ("/below", "/x/../below", None),
    # escapes: of unreserved bytes they mean nothing, of all others they are other bytes
    ("/below", "/b%65low/x", "/x"),
    ("/below", "/%62%65%6C%6f%77", ""),
    ("/below", "/%62elow/%78", "/x"),
    ("/a-b._~1", "/%61%2Db%2E%5f%7E%31/x", "/x"),
    ("/below", "/below%2Fx", None),
    ("/below", "%2Fbelow", None),
    ("/below", "/%2Fbelow", None),
    ("/below", "/below%", None),
    ("/below", "/below%2", None),
    ("/below", "/belo%7", None),
    ("/below", "/belo%", None),
    ("/below", "/belo%zz", None),
    ("/below", "/below%00", None),
    ("/below", "/b%2565low", None),
    ("/a/b", "/a/b/c%2Fd", "/c/d"),
    ("/a/b", "/a%2Fb/c", None),
    ("/a/b", "/a/b", ""),
    ("/a/b", "/a", None),
    ("/a/b", "/a/bc", None),
    ("/a/b", "/a//b", None),
    ("/a(1)", "/a(1)/x", "/x"),
    ("/a(1)", "/a%281)/x", None),  # a bracket is not unreserved
    ("/below", "/below/caf%C3%A9", "/café"),
    ("/", "/x", "/x"),
    ("off", "/x", "/x"),
]


@both
@pytest.mark.parametrize(("root_path", "target", "path"), PATHS)
def test_paths_below_it_are_cut_and_others_are_not_found(
    app: Any, root_path: str, target: str, path: str | None
) -> None:
    status, text = told(app, get(target), root_path=root_path)
    if target[0] != "/":  # no target at all
        assert status == 400
    elif path is None:
        assert (status, text) == (404, "Not Found\n")
    else:
        assert status == 200
        prefix = "" if root_path == "off" else root_path.rstrip("/")
        assert text == f"{prefix}|{path}|{target}"


@both
@pytest.mark.parametrize(("line", "answer"), [
    ("GET http://a.test/below/x HTTP/1.1", "/below|/x|http://a.test/below/x"),
    ("GET http://a.test/below HTTP/1.1", "/below||http://a.test/below"),
    ("GET HTTP://a.test/b%65low?x HTTP/1.1", "/below||HTTP://a.test/b%65low?x"),
    ("GET http://a.test HTTP/1.1", None),
    ("GET http://a.test?/below HTTP/1.1", None),
    ("GET http://a.test/x HTTP/1.1", None),
    ("OPTIONS * HTTP/1.1", "*"),
    ("OPTIONS /below HTTP/1.1", "/below||/below"),
    ("OPTIONS / HTTP/1.1", None),
    ("CONNECT a.test:80 HTTP/1.1", "/below||a.test:80"),
])  # fmt: skip
def test_every_form_of_a_target(app: Any, line: str, answer: str | None) -> None:
    data = f"{line}\r\nHost: a.test\r\n\r\n".encode()
    sent = exchange(app, [data], root_path="/below", allow_methods="CONNECT").sent
    assert sent.startswith(b"HTTP/1.1 404 " if answer is None else b"HTTP/1.1 200 ")
    if answer == "*":  # which is no path, and so not below anything
        answer = "/below||*" if app is wsgi else "/below|*|*"
    assert answer is None or sent.endswith(b"\r\n\r\n" + answer.encode())


def test_what_is_outside_is_refused_by_any_protocol_before_the_application_is_asked(talk: Talk) -> None:
    inside, outside = get("/below/x"), get("/x")
    assert sorted(talk(wsgi, inside, outside, inside, root_path="/below").statuses) == [200, 200, 404]
    assert talk(never, outside, outside, root_path="/below").statuses == [404, 404]


def test_the_connection_goes_on_and_the_log_says_why() -> None:
    data = get("/below/x") + get("/x") + get("/below") + get("/y?z") + get("/below/z")
    outcome = exchange(wsgi, [data], keep_open=True, root_path="/below")
    parts = outcome.sent.split(b"HTTP/1.1 ")[1:]
    assert [part[:3] for part in parts] == [b"200", b"404", b"200", b"404", b"200"]
    why = "refused with 404: the path is not below /below (root_path)"
    assert [(line.level, line.message) for line in outcome.log] == [
        ("info", f"GET /x: {why}"), ("info", f"GET /y: {why}"),
    ]  # fmt: skip


def test_it_is_the_same_however_the_request_arrives() -> None:
    for target, status in (("/b%65low/x", 200), ("/belowx", 404)):
        for pieces in every_split(get(target)):
            assert only(exchange(wsgi, pieces, root_path="/below").sent).status == status


def test_content_is_not_received_for_a_path_outside() -> None:
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    outcome = exchange(never, [head], keep_open=True, root_path="/below", gather_chunked="1m")
    assert only(outcome.sent).status == 404
    assert b"100 Continue" not in outcome.sent


@both
@pytest.mark.parametrize(("health_path", "target", "answer"), [
    ("/healthz", "/healthz", "|/healthz|/healthz"),
    ("/healthz", "/healthz?x", "|/healthz|/healthz?x"),
    ("/healthz", "/healthz/x", None),
    ("/healthz", "/below/healthz", "/below|/healthz|/below/healthz"),
    ("/below/healthz", "/below/healthz", "/below|/healthz|/below/healthz"),
    ("/belowz", "/belowz", "|/belowz|/belowz"),
    ("/", "/", "|/|/"),
])  # fmt: skip
def test_the_health_check_may_be_outside(app: Any, health_path: str, target: str, answer: str | None) -> None:
    status, text = told(app, get(target), root_path="/below", health_path=health_path)
    assert status == (404 if answer is None else 200)
    assert answer is None or text == answer
    # and it leaves nothing behind for the next request
    data = get(target) + get("/below/next")
    sent = exchange(app, [data], root_path="/below", health_path=health_path).sent
    assert sent.endswith(b"\r\n\r\n/below|/next|/below/next")


@both
def test_other_things_that_a_request_is_asked_are_as_they_were_sent(app: Any) -> None:
    """The access log and the error log tell what the client sent; so do the query and RAW_URI."""
    seen: list[Any] = []

    def asked(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append((environ["PATH_INFO"], environ["QUERY_STRING"], environ["RAW_URI"]))
        raise RuntimeError("on purpose")

    def asked_too(request: Any) -> str:
        seen.append((request.path, request.query_string, request.target))
        raise RuntimeError("on purpose")

    outcome = exchange(asked if app is wsgi else asked_too, [get("/below/x?y=/below")], root_path="/below")
    assert seen == [("/x", "y=/below", "/below/x?y=/below")]
    assert outcome.log[0].message == "GET /below/x: RuntimeError in the application"


def test_a_request_that_is_kept_tells_it_afterwards() -> None:
    kept: list[Any] = []

    def handler(request: Any) -> str:
        kept.append(request)
        return "ok"

    fields = ("X-Forwarded-Prefix: /edge",)
    exchange(handler, [get("/below/x", *fields)], root_path="/below", root_path_header="X-Forwarded-Prefix")
    exchange(handler, [get("/below/%C3%A9")], root_path="/below")
    assert [(request.root_path, request.path) for request in kept] == [("/edge/below", "/x"), ("/below", "/é")]


def test_a_server_in_a_program_and_the_client_for_tests_know_it(serve: Any, tmp_path: Any) -> None:
    log = tmp_path / "log"
    values = {"access_logfile": str(log), "access_log_format": "%(s)s %(U)s %(r)s"}
    server: Serving = serve(native, root_path="/below", **values)
    assert server.ask(get("/below/x")).content == b"/below|/x|/below/x"
    assert server.ask(get("/x")).status == 404
    server.server.stop(5)
    assert log.read_text() == "200 /below/x GET /below/x HTTP/1.1\n404 /x GET /x HTTP/1.1\n"
    with Client(wsgi, root_path="/below") as client:
        assert client.get("/below/x").text == "/below|/x|/below/x"
        assert client.get("/x").status == 404


def test_a_field_that_is_called_script_name_decides_nothing() -> None:
    fields = ("SCRIPT_NAME: /evil", "Script-Name: /evil")
    for values in ({}, {"allow_headers": "SCRIPT_NAME"}):
        assert told(wsgi, get("/x", *fields), **values) == (200, "|/x|/x")
        assert told(wsgi, get("/below/x", *fields), root_path="/below", **values) == (200, "/below|/x|/below/x")
        assert told(native, get("/x", *fields), **values) == (200, "|/x|/x")


# ---- the field of a proxy

FIELD = "X-Forwarded-Prefix"

SAID = [
    # what a trusted proxy says, the prefix; None: 400
    ("/edge", "/edge"),
    ("/edge/", "/edge"),
    ("/a/b-c_d.e~1", "/a/b-c_d.e~1"),
    ("/@v1:(x)!$&'*+;=", "/@v1:(x)!$&'*+;="),
    ("/...", "/..."),
    ("/.well-known/..x", "/.well-known/..x"),
    ("/", ""),
    ("", ""),
    ("/" + "x" * 255, "/" + "x" * 255),
    ("/" + "x" * 256, None),
    ("edge", None),
    ("//edge", None),
    ("/edge//x", None),
    ("/edge//", None),
    ("//", None),
    ("\\edge", None),
    ("/\\evil.test", None),
    ("/edge\\x", None),
    ("/.", None),
    ("/..", None),
    ("/./x", None),
    ("/x/../y", None),
    ("/x/..", None),
    ("/x/../", None),
    ("/%2e%2e/x", None),
    ("/x/%2E", None),
    ("/a%2Fb", None),
    ("/a%5Cb", None),
    ("/a%00b", None),
    ("/a%0d%0aSet-Cookie:x", None),
    ("/a%20b", None),
    ("/caf%C3%A9", None),
    ("/caf\xe9", None),
    ("/a%", None),
    ("/a b", None),
    ("/a\tb", None),
    ("/a, /b", None),
    ("/a,/b", None),
    ("/a?b", None),
    ("/a#b", None),
    ("/<script>", None),
    ('/"x', None),
    ("https://evil.test/", None),
]


@both
@pytest.mark.parametrize(("value", "prefix"), SAID)
def test_the_prefix_that_a_trusted_proxy_has_removed(app: Any, value: str, prefix: str | None) -> None:
    data = get("/x", f"{FIELD}: {value}")
    outcome = exchange(app, [data], keep_open=True, root_path_header=FIELD)
    if prefix is None:
        assert outcome.sent.startswith(b"HTTP/1.1 400 ")
        (line,) = outcome.log
        assert line.level == "info" and line.message.isascii() and len(line.message) < 300
        assert line.message.startswith("GET /x: refused with 400: x-forwarded-prefix is not a path prefix: '")
        assert line.message.endswith(" (root_path_header)")
    else:
        assert only(outcome.sent).content.decode() == f"{prefix}|/x|/x"


@both
@pytest.mark.parametrize(("settings", "target", "answer"), [
    # nothing is cut for it: the proxy has done that
    ({}, "/edge/x", "/edge|/edge/x|/edge/x"),
    ({"root_path": "/below"}, "/below/x", "/edge/below|/x|/below/x"),
    ({"root_path": "/below"}, "/below", "/edge/below||/below"),
    ({"root_path": "/below"}, "/edge/below/x", None),
    ({"root_path": "/below"}, "/x", None),
    ({"root_path": "/edge"}, "/edge/x", "/edge/edge|/x|/edge/x"),
    ({"root_path": "/below", "health_path": "/healthz"}, "/healthz", "/edge|/healthz|/healthz"),
    ({"root_path_header": "off"}, "/x", "|/x|/x"),
    ({"root_path_header": "X-Script-Name"}, "/x", "|/x|/x"),
    ({"root_path_header": "x-forwarded-PREFIX"}, "/x", "/edge|/x|/x"),
])  # fmt: skip
def test_it_is_put_before_the_root_path(app: Any, settings: Any, target: str, answer: str | None) -> None:
    status, text = told(app, get(target, f"{FIELD}: /edge"), **{"root_path_header": FIELD, **settings})
    assert status == (404 if answer is None else 200)
    assert answer is None or text == answer


@both
@pytest.mark.parametrize("name", [FIELD, "X-Script-Name", "X-My.Prefix"])  # one known and others
def test_any_field_can_be_named_and_it_may_come_once(app: Any, name: str) -> None:
    values = {"root_path_header": name}
    assert told(app, get("/x", f"{name.upper()}: /a"), **values) == (200, "/a|/x|/x")
    assert told(app, get("/x", "X-Other-Field: /b", f"{name}: /a", "X-Script-Nam2: /c"), **values) == (200, "/a|/x|/x")
    assert told(app, get("/x"), **values) == (200, "|/x|/x")
    for other in ("/b", "/a", ""):
        data = get("/x", f"{name}: /a", f"{name}: {other}")
        outcome = exchange(app, [data], keep_open=True, **values)
        assert outcome.sent.startswith(b"HTTP/1.1 400 ")
        why = f"more than one {name.lower()} (root_path_header)"
        assert [line.message for line in outcome.log] == [f"GET /x: refused with 400: {why}"]


@both
def test_one_request_leaves_nothing_behind_for_the_next(app: Any) -> None:
    sent = ["/a", "/b", None, "/a", "/a", "", "/ab"]
    data = [get("/x", *([] if value is None else [f"{FIELD}: {value}"])) for value in sent]
    outcome = exchange(app, [b"".join(data)], keep_open=True, root_path_header=FIELD)
    answers = [part.rpartition(b"\r\n\r\n")[2].decode() for part in outcome.sent.split(b"HTTP/1.1 ")[1:]]
    assert answers == [f"{value or ''}|/x|/x" for value in sent]


@both
@pytest.mark.parametrize(("trusted", "prefix"), [("127.0.0.1", "/edge"), ("10.0.0.1", ""), ("", ""), ("*", "/edge")])
def test_a_stranger_decides_nothing(app: Any, trusted: str, prefix: str, serve: Any) -> None:
    server: Serving = serve(app, forwarded_allow_ips=trusted, root_path_header=FIELD, root_path="/below")
    assert server.ask(get("/below/x", f"{FIELD}: /edge")).content.decode() == f"{prefix}/below|/x|/below/x"
    for bad in ("//evil.test", "/..", "evil"):
        assert server.ask(get("/below/x", f"{FIELD}: {bad}")).status == (400 if prefix else 200)
    twice = get("/below/x", f"{FIELD}: /a", f"{FIELD}: /b")
    assert server.ask(twice).status == (400 if prefix else 200)


@pytest.mark.parametrize("settings", [{"root_path_header": "X Y"}, {"root_path_header": "X:"}])
def test_a_field_that_cannot_be(settings: Any) -> None:
    with pytest.raises(ConfigError, match="root_path_header: .* is not a field name"):
        Server(wsgi, **settings)


# ---- every path, the cheap way and the thorough one


def test_a_path_is_below_if_it_begins_with_the_same_segments() -> None:
    """All paths of few bytes, each byte as it is and escaped, against the rule written down in another way."""
    from itertools import product

    root = "/a/b"
    spelled = [("/", "/"), ("a", "a"), ("%61", "a"), ("b", "b"), ("%2F", None)]
    with Client(wsgi, root_path=root) as client:
        for size in range(3, 6):
            for parts in product(spelled, repeat=size):
                path = "/" + "".join(part for part, _ in parts)
                if not path.startswith(("/a", "/%61")):
                    continue
                meant = ["/"] + [byte for _, byte in parts]  # None: a byte that is none of the others
                below = meant[:4] == list(root) and (len(meant) == 4 or meant[4] == "/")
                assert client.get(path).status == (200 if below else 404), path
