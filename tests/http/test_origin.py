"""Whether a request came by https is what a trusted proxy says, by gunicorn's rules; others: test_forwarded.py."""

import gevent
import pytest
from gevent import socket

from greenhttp.errors import ConfigError
from greenhttp.server import Server
from greenhttp.settings.values import Settings
from greenhttp.testing import exchange

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [environ["wsgi.url_scheme"].encode()]


def native(request):
    return request.scheme


CASES = [
    ([], b"http"),
    ([b"X-Forwarded-Proto: https"], b"https"),
    ([b"X-Forwarded-Proto: http"], b"http"),
    ([b"X-Forwarded-Proto: HTTPS"], b"http"),
    ([b"X-Forwarded-Proto:"], b"http"),
    ([b"x-forwarded-ssl: on"], b"https"),
    ([b"X-Forwarded-Protocol: ssl"], b"https"),
    ([b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: on"], b"https"),
    ([b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: https"], b"https"),
    ([b"X-Forwarded-Proto: http", b"X-Forwarded-Ssl: off"], b"http"),
    ([b"X_Forwarded_Proto: https"], b"http"),
    ([b"X-Scheme: https"], b"http"),
]


def asked(app, lines, **settings):
    data = HEAD + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    return exchange(app, [data], keep_open=True, **settings)


@pytest.mark.parametrize("app", [wsgi, native])
@pytest.mark.parametrize(("lines", "scheme"), CASES)
def test_the_scheme_is_what_the_fields_say(app, lines, scheme):
    assert asked(app, lines).sent.endswith(b"\r\n\r\n" + scheme)


@pytest.mark.parametrize("app", [wsgi, native])
@pytest.mark.parametrize("lines", [
    [b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: off"],
    [b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: http"],
    [b"X-Forwarded-Proto: http", b"X-Forwarded-Protocol: ssl"],
])  # fmt: skip
def test_fields_that_contradict_each_other_are_refused(app, lines):
    outcome = asked(app, lines)
    assert outcome.sent.startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_contradiction_never_reaches_a_wsgi_application_and_ends_the_connection():
    def never(environ, start_response):
        raise AssertionError

    lines = [b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: off"]
    data = HEAD + b"\r\n".join(lines) + b"\r\n\r\n"
    outcome = exchange(never, [data + HEAD + b"\r\n"], keep_open=True, server_header="off")
    assert outcome.sent.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close\r\n" in outcome.sent and outcome.sent.endswith(b"\r\n\r\nBad Request\n")
    why = "the fields that tell the scheme contradict each other (secure_scheme_headers)"
    assert [(line.level, line.message) for line in outcome.log] == [("info", f"GET /: refused with 400: {why}")]


def test_after_a_contradiction_the_next_connection_is_served_as_ever():
    """The answer's object serves again, and must be one of WSGI."""
    server = Server(wsgi, bind="127.0.0.1:0", log_level="critical")
    server.start()
    try:
        bad = HEAD + b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n"
        for data, end in ((bad, b"Bad Request\n"), (HEAD + b"Connection: close\r\n\r\n", b"\r\n\r\nhttp")) * 3:
            assert said(server, data).endswith(end)
    finally:
        server.stop(0)


@pytest.mark.parametrize("app", [wsgi, native])
def test_other_fields_can_be_set_known_ones_and_others(app):
    settings = {"secure_scheme_headers": {"X-Scheme": "https", "X-My-Edge": "tls=1, yes"}}
    assert asked(app, [b"X-Forwarded-Proto: https"], **settings).sent.endswith(b"\r\n\r\nhttp")
    assert asked(app, [b"X-Scheme: https"], **settings).sent.endswith(b"\r\n\r\nhttps")
    assert asked(app, [b"x-my-edge: tls=1, yes"], **settings).sent.endswith(b"\r\n\r\nhttps")
    assert asked(app, [b"x-my-edge: tls=1"], **settings).sent.endswith(b"\r\n\r\nhttp")
    assert asked(app, [b"X-My-Edge: tls=1", b"X-Scheme: https"], **settings).sent.startswith(b"HTTP/1.1 400 ")
    assert asked(app, [b"X-Forwarded-Proto: https"], secure_scheme_headers="off").sent.endswith(b"\r\n\r\nhttp")


@pytest.mark.parametrize(
    "settings", [{"secure_scheme_headers": "x-my-edge=on"}, {"root_path_header": "X-My-Edge"}, {"allowed_hosts": "*"}]
)
def test_a_request_without_such_a_field_is_not_looked_at_whatever_its_name(settings):
    made = []

    def app(request):
        made.append(request.origin is not None)
        return ""

    for lines in ([], [b"X-My-Edgy: on"], [b"X-My-Edg: on", b"X-My-Other: /a"], [b"x-mY-edge: /on"]):
        assert asked(app, lines, **settings).sent.startswith(b"HTTP/1.1 200 ")
    assert made == [False, False, False, "allowed_hosts" not in settings]


def said(server, data, source=None):
    address = server.address
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with gevent.Timeout(10), socket.socket(family) as peer:
        if source:
            peer.bind((source, 0))
        peer.connect(address)
        peer.sendall(data)
        answer = b""
        while part := peer.recv(4096):
            answer += part
        return answer


@pytest.mark.parametrize("app", [wsgi, native])
@pytest.mark.parametrize(("allowed", "scheme"), [
    ("127.0.0.1,::1", b"https"), ("*", b"https"), ("127.0.0.0/8", b"https"), ("10.0.0.0/8, 127.0.0.1", b"https"),
    ("10.0.0.1", b"http"), ("::1", b"http"), ("", b"http"),
])  # fmt: skip
def test_only_trusted_peers_may_say_it(app, allowed, scheme):
    server = Server(app, bind="127.0.0.1:0", forwarded_allow_ips=allowed)
    server.start()
    try:
        answer = said(server, HEAD + b"X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n")
        assert answer.endswith(b"\r\n\r\n" + scheme)
    finally:
        server.stop(0)


@pytest.mark.parametrize("app", [wsgi, native])
def test_trust_is_that_of_each_peer_not_of_the_one_before(app):
    server = Server(app, bind="127.0.0.1:0", forwarded_allow_ips="127.0.0.2")
    server.start()
    try:
        data = HEAD + b"X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
        answers = [said(server, data, f"127.0.0.{last}") for last in (1, 2, 1, 2, 2, 3)]
        assert [answer.rpartition(b"\r\n")[2] for answer in answers] == [
            b"http", b"https", b"http", b"https", b"https", b"http",
        ]  # fmt: skip
    finally:
        server.stop(0)


def test_who_is_not_trusted_cannot_contradict_either():
    server = Server(wsgi, bind="127.0.0.1:0", forwarded_allow_ips="10.0.0.1")
    server.start()
    try:
        fields = b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\nConnection: close\r\n\r\n"
        assert said(server, HEAD + fields).endswith(b"\r\n\r\nhttp")
    finally:
        server.stop(0)


@pytest.mark.parametrize("app", [wsgi, native])
@pytest.mark.parametrize(("values", "scheme"), [
    ({}, b"https"), ({"forwarded_allow_ips": "10.0.0.1, unix"}, b"https"), ({"forwarded_allow_ips": "*"}, b"https"),
    ({"forwarded_allow_ips": "10.0.0.1, ::/0, 0.0.0.0/0"}, b"http"),
])  # fmt: skip
def test_who_connects_over_a_unix_socket_is_trusted_if_that_is_named(app, values, scheme, tmp_path):
    server = Server(app, bind=f"unix:{tmp_path}/s", **values)
    server.start()
    try:
        data = HEAD + b"X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
        assert said(server, data).endswith(b"\r\n\r\n" + scheme)
    finally:
        server.stop(0)


def test_a_request_that_is_kept_tells_its_scheme_afterwards():
    kept = []

    def handler(request):
        kept.append(request)
        return "ok"

    asked(handler, [b"X-Forwarded-Proto: https"])
    assert kept[0].scheme == "https"


@pytest.mark.parametrize(("values", "said"), [
    ({"forwarded_allow_ips": "10.0.0.1/8"}, "forwarded_allow_ips: '10.0.0.1/8' is not a network; give 10.0.0.0/8"),
    ({"forwarded_allow_ips": "proxy"}, "forwarded_allow_ips: 'proxy' is not an address; names are not looked up"),
    ({"secure_scheme_headers": {"X Y": "on"}}, "secure_scheme_headers: 'X Y' is not a field name"),
    ({"secure_scheme_headers": ["X-Y=\n"]}, "secure_scheme_headers: '\\n' is not a field value"),
])  # fmt: skip
def test_settings_that_cannot_be(values, said):
    with pytest.raises(ConfigError) as caught:
        Settings(**values)
    assert str(caught.value).startswith(said)


def test_an_entry_of_the_access_log_tells_what_only_the_environ_knows(tmp_path):
    def app(environ, start_response):
        environ["shop.user"] = 'Ann "x"'
        environ["shop.count"] = 3
        environ["shop.object"] = object()
        return wsgi(environ, start_response)

    log = tmp_path / "log"
    form = "%({wsgi.url_scheme}e)s|%({SHOP.user}e)s|%({shop.count}e)s|%({shop.object}e)s|%({none}e)s|%({remote_addr}e)s"
    server = Server(app, bind="127.0.0.1:0", access_logfile=str(log), access_log_format=form)
    server.start()
    said(server, HEAD + b"X-Forwarded-Proto: https\r\nConnection: close\r\n\r\n")
    server.stop(5)
    assert log.read_text() == 'https|Ann \\"x\\"|3|-|-|127.0.0.1\n'
