"""allowed_hosts: who asks for another host gets 421, and no application is asked."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from greenhttp.errors import ConfigError
from greenhttp.http.hosts import Hosts
from greenhttp.observe.noise import LINES
from greenhttp.settings.values import Settings
from greenhttp.testing import every_split, exchange
from tests.answers import only
from tests.http.conftest import Serving, Talk


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [environ.get("HTTP_HOST", "none").encode()]


def native(request: Any) -> str:
    return request.host or "none"


def never(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise AssertionError("the application was asked")


both = pytest.mark.parametrize("app", [wsgi, native])


def asking(host: str, target: str = "/", version: str = "1.1", *fields: str) -> bytes:
    lines = [f"GET {target} HTTP/{version}", f"Host: {host}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


RULES = [
    # allowed_hosts, Host, whether it is answered
    ("example.com", "example.com", True),
    ("example.com", "EXAMPLE.Com", True),
    ("Example.COM.", "example.com", True),
    ("example.com", "example.com:80", True),
    ("example.com", "example.com:", True),
    ("example.com", "example.com.", True),
    ("example.com", "example.com.:8443", True),
    ("example.com", "example.com..", False),
    ("example.com", "www.example.com", False),
    ("example.com", "example.com.evil.test", False),
    ("example.com", "evil-example.com", False),
    ("example.com", "example.co", False),
    ("example.com", "ex%61mple.com", False),
    ("example.com", "127.0.0.1", False),
    (".example.com", "example.com", True),
    (".example.com", "www.example.com", True),
    (".example.com", "a.b.EXAMPLE.com.:1", True),
    (".example.com", "xn--mnchen-3ya.example.com", True),
    (".example.com", "evilexample.com", False),
    (".example.com", "example.com.evil.test", False),
    (".example.com", ".example.com", False),
    (".example.com", "a..example.com", False),
    (".example.com", "x'$(id).example.com", False),
    (".example.com", "%41.example.com", False),
    ("one.test, .two.test,three.test", "three.test", True),
    ("one.test, .two.test,three.test", "a.two.test", True),
    ("one.test, .two.test,three.test", "a.one.test", False),
    ("127.0.0.1", "127.0.0.1:8000", True),
    ("127.0.0.1", "127.0.0.2", False),
    ("localhost", "localhost:1", True),
    ("[::1]", "[::1]", True),
    ("[::1]", "[::1]:8000", True),
    ("[::1]", "[0:0:0:0:0:0:0:1]:80", True),
    ("[2001:DB8:0::1]", "[2001:db8::0001]", True),
    ("[::1]", "[::2]", False),
    ("[::1]", "::1", False),
    ("[::1]", "localhost", False),
    ("*", "whatever", True),
    ("example.com, *", "[::1]:80", True),
    ("", "whatever", True),
    ("off", "whatever", True),
    ("None", "whatever", True),
    ("off,example.com", "whatever", False),
]


@both
@pytest.mark.parametrize(("allowed", "host", "answered"), RULES)
def test_hosts_that_are_answered_for(app: Any, allowed: str, host: str, answered: bool) -> None:
    outcome = exchange(app, [asking(host)], keep_open=True, allowed_hosts=allowed)
    if host == "::1":  # that is no host at all
        assert only(outcome.sent).status == 400
    elif answered:
        assert (only(outcome.sent).status, only(outcome.sent).content) == (200, host.encode())
        assert outcome.log == []
    else:
        assert only(outcome.sent).status == 421
        why = f"GET /: refused with 421: the host {host!a} is not allowed (allowed_hosts)"
        assert [(line.level, line.message) for line in outcome.log] == [("info", why)]


def test_another_host_is_refused_by_any_protocol_before_the_application_is_asked(talk: Talk) -> None:
    good, bad = asking("example.com"), asking("evil.test")
    assert sorted(talk(wsgi, good, bad, good, allowed_hosts="example.com").statuses) == [200, 200, 421]
    conversation = talk(never, bad, bad, allowed_hosts="example.com")
    assert conversation.statuses == [421, 421]
    assert b"Misdirected Request" in conversation.said


def test_the_connection_goes_on_after_a_refusal() -> None:
    """A proxy may carry requests of many clients on one."""
    data = [asking(host) for host in ("a.test", "evil.test", "a.test", "b.test", "evil.test", "a.test:1")]
    outcome = exchange(wsgi, [b"".join(data)], keep_open=True, allowed_hosts="a.test,b.test")
    parts = outcome.sent.split(b"HTTP/1.1 ")[1:]
    assert [part[:3] for part in parts] == [b"200", b"421", b"200", b"200", b"421", b"200"]
    assert outcome.ended == "open"
    assert b"Connection: close" not in outcome.sent


def test_it_is_the_same_however_the_request_arrives() -> None:
    for host, status in (("a.test", 200), ("evil.test", 421)):
        for pieces in every_split(asking(host)):
            assert only(exchange(wsgi, pieces, allowed_hosts="a.test").sent).status == status


@both
def test_a_request_without_a_host_is_refused_where_some_are_named(app: Any) -> None:
    data = b"GET / HTTP/1.0\r\n\r\n"
    outcome = exchange(app, [data], allowed_hosts="example.com")
    assert only(outcome.sent).status == 421
    assert [line.message for line in outcome.log] == ["GET /: refused with 421: no host was named (allowed_hosts)"]
    for values in ({"allowed_hosts": "*"}, {}):
        assert only(exchange(app, [data], **values).sent).content == b"none"
    data = b"GET / HTTP/1.0\r\nHost: example.com\r\n\r\n"
    assert only(exchange(app, [data], allowed_hosts="example.com").sent).status == 200


@both
@pytest.mark.parametrize(("data", "status"), [
    (b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", 200),
    (b"GET http://EXAMPLE.com:80 HTTP/1.1\r\nHost: example.com\r\n\r\n", 200),
    (b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n", 421),
    (b"GET http://evil.test/ HTTP/1.1\r\nHost: example.com\r\n\r\n", 400),
    (b"GET http://example.com/ HTTP/1.0\r\n\r\n", 200),
    (b"GET http://evil.test/ HTTP/1.0\r\n\r\n", 421),
    (b"OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n", 200),
    (b"OPTIONS * HTTP/1.1\r\nHost: evil.test\r\n\r\n", 421),
    (b"CONNECT other.test:80 HTTP/1.1\r\nHost: example.com\r\n\r\n", 200),
    (b"CONNECT example.com:80 HTTP/1.1\r\nHost: evil.test\r\n\r\n", 421),
    (b"GET / HTTP/1.1\r\nHost: evil.test\r\nX-Forwarded-Host: example.com\r\n\r\n", 421),
    (b"GET / HTTP/1.1\r\nHost: evil.test\r\nForwarded: host=example.com\r\n\r\n", 421),
])  # fmt: skip
def test_every_form_of_a_target_names_a_host(app: Any, data: bytes, status: int) -> None:
    sent = exchange(app, [data], allowed_hosts="example.com", allow_methods="CONNECT").sent
    assert sent.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(("target", "status"), [
    ("/healthz", 200), ("/healthz?full", 200), ("/healthz/", 421), ("/health", 421), ("/HEALTHZ", 421), ("/", 421),
    ("/%68ealthz", 421), ("http://10.0.0.7:8000/healthz", 200), ("http://10.0.0.7:8000/", 421),
])  # fmt: skip
def test_the_health_check_may_name_any_host_or_none(target: str, status: int) -> None:
    values = {"allowed_hosts": "example.com", "health_path": "/healthz"}
    assert only(exchange(wsgi, [asking("10.0.0.7:8000", target)], **values).sent).status == status
    if target.startswith("/"):
        data = f"GET {target} HTTP/1.0\r\n\r\n".encode()
        assert only(exchange(wsgi, [data], **values).sent).status == status


def test_content_is_not_received_for_a_host_that_is_not_answered_for() -> None:
    head = b"POST / HTTP/1.1\r\nHost: evil.test\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    outcome = exchange(never, [head], keep_open=True, allowed_hosts="example.com", gather_chunked="1m")
    assert only(outcome.sent).status == 421
    assert b"100 Continue" not in outcome.sent


def test_what_a_client_sent_is_bounded_and_escaped_in_the_log() -> None:
    outcome = exchange(never, [asking("x" * 5000 + ".test")], allowed_hosts="example.com")
    why = f"GET /: refused with 421: the host '{'x' * 100}'... is not allowed (allowed_hosts)"
    assert [line.message for line in outcome.log] == [why]
    outcome = exchange(never, [asking("a'b")], allowed_hosts="example.com")
    assert outcome.log[0].message.endswith('the host "a\'b" is not allowed (allowed_hosts)')


@both
def test_a_server_says_so_a_few_times_a_second_and_counts_the_others(
    app: Any, serve: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greenhttp.observe.noise.time", SimpleNamespace(monotonic=lambda: 100.0))  # all in one second
    caplog.set_level("INFO", "greenhttp")
    server: Serving = serve(app, allowed_hosts="example.com,.shop.test", access_logfile=None)
    client = server.connect()
    statuses = [client.ask(asking(host)).status for host in ("example.com", "a.shop.test:1", *["evil.test"] * 50)]
    assert statuses == [200, 200] + [421] * 50
    server.server.stop(5)  # which says what is still withheld
    told = [line for line in caplog.messages if "the host 'evil.test' is not allowed (allowed_hosts)" in line]
    assert len(told) == LINES
    counted = [re.search(r"and (\d+) more refusals? in", line) for line in caplog.messages]
    assert sum(int(found[1]) for found in counted if found) == 50 - LINES


def test_the_access_log_has_the_refusal(serve: Any, tmp_path: Any) -> None:
    log = tmp_path / "log"
    values = {"access_logfile": str(log), "access_log_format": "%(s)s %(r)s %({host}i)s"}
    server: Serving = serve(wsgi, allowed_hosts="example.com", **values)
    assert server.ask(asking("evil.test", "/x")).status == 421
    server.server.stop(5)
    assert log.read_text() == "421 GET /x HTTP/1.1 evil.test\n"


def test_a_host_that_was_refused_is_looked_at_again_and_an_allowed_one_is_remembered() -> None:
    """Only an allowed one is remembered, byte for byte: one that begins with it is another."""
    hosts = ("a.test", "a.tes", "a.testx", "evil.test", "evil.test", "a.test")
    outcome = exchange(wsgi, [asking(host) for host in hosts], keep_open=True, allowed_hosts="a.test")
    parts = outcome.sent.split(b"HTTP/1.1 ")[1:]
    assert [part[:3] for part in parts] == [b"200", b"421", b"421", b"421", b"421", b"200"]


@pytest.mark.parametrize(("given", "kept"), [
    ("Example.COM.", ("example.com",)), ([".Shop.test", ".shop.test"], (".shop.test",)), ("*", ("*",)),
    ("[0:0::1],[::1]", ("[::1]",)), ("my_container", ("my_container",)), ("xn--mnchen-3ya.de", ("xn--mnchen-3ya.de",)),
    ("", ("*",)), ([], ("*",)), ("OFF", ("*",)), (["no"], ("*",)), ("off,b", ("off", "b")),
])  # fmt: skip
def test_how_names_are_kept(given: Any, kept: tuple[str, ...]) -> None:
    assert Settings(allowed_hosts=given).allowed_hosts == kept
    assert Settings(allowed_hosts=kept).allowed_hosts == kept


@pytest.mark.parametrize(("given", "said"), [
    ("münchen.de", "'münchen.de' is not a host; write it as it is sent, in the xn-- form"),
    ("*.example.com", "'*.example.com' is not a host; give .example.com for all below it"),
    ("example.com:80", "'example.com:80' is not a host; give names like example.com, .example.com or [::1], without a"),
    ("http://example.com", "'http://example.com' is not a host; give names like"),
    ("::1", "'::1' is not a host; give names like"), ("[::1]:80", "'[::1]:80' is not a host"),
    ("[1.2.3.4]", "'[1.2.3.4]' is not a host"), ("[fe80::1%eth0]", "'[fe80::1%eth0]' is not a host"),
    ("[::g]", "'[::g]' is not a host"), ("a..b", "'a..b' is not a host"), ("..b", "'..b' is not a host"),
    (".", "'.' is not a host"), ("a b", "'a b' is not a host"), ("a/b", "'a/b' is not a host"),
])  # fmt: skip
def test_what_is_no_host(given: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings(allowed_hosts=given)
    assert str(caught.value).startswith(f"allowed_hosts: {said}")


def test_hosts_by_themselves() -> None:
    hosts = Hosts(("a.test", ".b.test", "[::1]"))
    assert not hosts.any
    assert [hosts.allow(host) for host in (b"a.test", b"x.b.test", b"[::1]:5")] == [True] * 3
    assert [hosts.allow(host) for host in (b"c.test", b"", b"[", b"[]", b"[x]", b"\xff.b.test")] == [False] * 6
    assert Hosts(("a.test", "*")).any


def test_a_host_takes_no_longer_than_it_is_long() -> None:
    """Quadratic, each of these would take minutes."""
    hosts = Hosts((".b.test", "[::1]"))
    many = 1_000_000
    for host in (b"a." * many + b"a", b"." * many, b"a." * many + b"b.test", b"[" + b":" * many + b"]", b"[" * many):
        assert not hosts.allow(host)
    assert hosts.allow(b"a" * 248 + b".b.test") and hosts.allow(b"a" * 248 + b".b.test.:80")
    assert not hosts.allow(b"a" * 249 + b".b.test")
