"""forwarded_strip: the application sees of the fields of proxies only those that are believed."""

from __future__ import annotations

import json
from typing import Any

import gevent
import pytest
from gevent import socket

from greenhttp.server import Server
from greenhttp.testing import exchange

FIELDS = {
    "Forwarded": "for=192.0.2.66", "X-Forwarded-For": "192.0.2.66", "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "81", "X-Forwarded-Ssl": "on", "X-Forwarded-Prefix": "/a",
    "X-Forwarded-Server": "a", "X-Forwarded-Anything": "a", "X-Real-IP": "192.0.2.66", "X-Request-Id": "a",
    "X-Forwarded": "for=192.0.2.66", "X-Original-Forwarded-For": "192.0.2.66", "X-Client-IP": "192.0.2.66",
    "X-Cluster-Client-IP": "192.0.2.66", "True-Client-IP": "192.0.2.66", "CF-Connecting-IP": "192.0.2.66",
    "X-Scheme": "https", "X-Url-Scheme": "https", "Front-End-Https": "on", "X-Original-Host": "evil.example",
    "X-Original-URL": "/a", "X-Rewrite-URL": "/a",
    "X-My-Edge": "on", "X-My-Prefix": "/a", "X-My-Id": "a",
}  # fmt: skip
OWN = {"Host": "x", "User-Agent": "a", "X-Forwarding": "a", "X-Other": "a", "Accept": "*/*"}


def request(underscores: bool = False) -> bytes:
    fields = list(FIELDS.items())
    if underscores:
        fields = [(name.upper().replace("-", "_"), value) for name, value in fields]
    pairs = [*list(OWN.items())[:2], *fields[:7], *list(OWN.items())[2:], *fields[7:]]
    return b"GET / HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in pairs).encode() + b"\r\n"


def native(request: Any) -> str:
    assert request.headers.get("X-Other") == "a"
    return json.dumps(sorted(name.lower().replace("_", "-") for name in request.headers))


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    assert environ["HTTP_X_OTHER"] == "a"
    return [json.dumps(sorted(key[5:].lower().replace("_", "-") for key in environ if key[:5] == "HTTP_")).encode()]


def left(names: str = "") -> list[str]:
    """What the application has, beside what is no proxy's: fields by name."""
    return sorted(name.lower() for name in (*OWN, *names.split()))


APPS = pytest.mark.parametrize("app", [native, wsgi])
SETTINGS: Any = {
    "secure_scheme_headers": {"X-Forwarded-Proto": "https", "X-My-Edge": "on"}, "root_path_header": "X-My-Prefix",
    "request_id_header": "X-My-Id", "server_header": "off",
}  # fmt: skip
CASES: list[tuple[dict[str, Any], str]] = [  # of a trusted peer
    ({}, "x-forwarded-for x-forwarded-proto x-my-edge x-my-prefix x-my-id"),
    ({"forwarded_host": True},
     "x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port x-my-edge x-my-prefix x-my-id"),
    ({"forwarded_field": "forwarded"}, "forwarded x-my-prefix x-my-id"),
    ({"forwarded_field": "none"}, "x-my-prefix x-my-id"),
    ({"secure_scheme_headers": {"X-Scheme": "https", "Front-End-Https": "on"}},
     "x-forwarded-for x-scheme front-end-https x-my-edge x-my-prefix x-my-id"),
    ({"root_path_header": "off", "request_id_header": "off", "secure_scheme_headers": "off"},
     "x-forwarded-for x-request-id x-my-edge x-my-prefix x-my-id"),
]  # fmt: skip


@APPS
@pytest.mark.parametrize(("values", "names"), CASES)
def test_of_a_trusted_peer_what_is_believed_stays(app: Any, values: dict[str, Any], names: str) -> None:
    outcome = exchange(app, [request()], keep_open=True, forwarded_strip=True, **{**SETTINGS, **values})
    assert json.loads(outcome.sent.partition(b"\r\n\r\n")[2]) == left(names)


def asked(app: Any, data: bytes, **settings: Any) -> Any:
    server = Server(app, bind="127.0.0.1:0", forwarded_allow_ips="10.0.0.1", **{**SETTINGS, **settings})
    server.start()
    try:
        with gevent.Timeout(10), socket.create_connection(server.address) as peer:  # type: ignore[arg-type]
            peer.sendall(data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            received = b""
            while part := peer.recv(4096):
                received += part
        names: list[str] = json.loads(received.partition(b"\r\n\r\n")[2])
        names.remove("connection")
        return names
    finally:
        server.stop(0)


@APPS
@pytest.mark.parametrize("values", [case for case, _ in CASES[:4]])
def test_of_a_stranger_nothing_stays(app: Any, values: dict[str, Any]) -> None:
    assert asked(app, request(), forwarded_strip=True, **values) == left()


@APPS
def test_names_with_underscores_that_are_let_through_are_the_same_fields(app: Any) -> None:
    """In an environ they have one key."""
    allowed = ",".join(name.replace("-", "_") for name in FIELDS)
    assert asked(app, request(True), forwarded_strip=True, allow_headers=allowed) == left()


@pytest.mark.parametrize("lines", [
    b"X-Forwarded-For: 203.0.113.7\r\nX_Forwarded_For: 6.6.6.6",
    b"X_Forwarded_For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.7",
    b"X_Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.7",
])  # fmt: skip
def test_a_name_that_only_looks_like_a_believed_one_in_an_environ_is_removed(lines: bytes) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["HTTP_X_FORWARDED_FOR"].encode()]

    sent = exchange(app, [b"GET / HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n\r\n"], keep_open=True, forwarded_strip=True,
                    allow_headers="x_forwarded_for,x_forwarded-for").sent  # fmt: skip
    assert sent.partition(b"\r\n\r\n")[2] == b"203.0.113.7"


UNDERSCORED: list[dict[str, Any]] = [
    {"secure_scheme_headers": "x_scheme=https"}, {"root_path_header": "X_Prefix"}, {"request_id_header": "X_My_Id"},
]


@APPS
@pytest.mark.parametrize("values", UNDERSCORED)
def test_a_setting_may_name_a_field_with_underscores(app: Any, values: dict[str, Any]) -> None:
    name = {"root_path_header": "X_Prefix", "request_id_header": "X_My_Id"}.get(*values, "X_Scheme")
    start = b"GET / HTTP/1.1\r\nHost: x\r\nX-Other: a\r\n"
    value = {"X_Scheme": "https", "X_Prefix": "/a", "X_My_Id": "a"}[name]
    data = start + f"{name}: {value}\r\n{name.replace('_', '-')}: b\r\n\r\n".encode()
    values = {**values, "forwarded_strip": True, "allow_headers": name.lower()}
    assert asked(app, data, **values) == ["host", "x-other"]
    sent = exchange(app, [data], keep_open=True, **values).sent
    assert json.loads(sent.partition(b"\r\n\r\n")[2]) == sorted(["host", "x-other", name.lower().replace("_", "-")])


@APPS
def test_by_default_all_fields_reach_the_application(app: Any) -> None:
    assert asked(app, request()) == left(" ".join(FIELDS))


def test_what_is_removed_is_removed_for_every_reader_of_the_head(serve: Any, tmp_path: Any) -> None:
    kept: list[Any] = []

    def handler(request: Any) -> str:
        kept.append(request)
        return "ok"

    path = tmp_path / "log"
    serving = serve(handler, forwarded_allow_ips="10.0.0.1", forwarded_strip=True, access_logfile=str(path),
                    access_log_format="%({x-forwarded-for}i)s %({user-agent}i)s", **SETTINGS)  # fmt: skip
    answer = serving.ask(request() + b"")
    assert answer.status == 200
    serving.server.stop(5)
    assert path.read_text() == "- a\n"
    headers = kept[0].headers
    assert "x-forwarded-for" not in headers and headers.get_all("Forwarded") == [] and headers.get("x-other") == "a"
    assert [name for name, _ in headers.pairs] == [*OWN]


def test_a_request_without_any_is_left_alone() -> None:
    data = b"GET / HTTP/1.1\r\nHost: x\r\nX-Other: a\r\n\r\n"
    for app in (native, wsgi):
        sent = exchange(app, [data], keep_open=True, forwarded_strip=True).sent
        assert json.loads(sent.partition(b"\r\n\r\n")[2]) == ["host", "x-other"]
