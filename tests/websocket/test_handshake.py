"""RFC 6455 4.2: which requests become a WebSocket, and what the others are answered."""

from __future__ import annotations

from typing import Any

import pytest

import greenhttp
from tests.websocket.client import KEY, asking

echo = greenhttp.websocket(lambda ws: [ws.send(each) for each in ws])


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("GET", "POST", 400),
        ("HTTP/1.1", "HTTP/1.0", 426),
        ("Connection: Upgrade", "Connection: close", 426),
        ("Upgrade: websocket", "Upgrade: h2c", 426),
        ("Version: 13", "Version: 12", 426),
        ("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13", 400),
        ("Sec-WebSocket-Version: 13\r\n", "", 426),
        (KEY, KEY[:-1], 400),
        (f"Sec-WebSocket-Key: {KEY}\r\n", "", 400),
        (f"Sec-WebSocket-Key: {KEY}", f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Key: {KEY}", 400),
        ("Version: 13", "Version: 13\r\nSec-WebSocket-Protocol: a b", 400),
        ("Version: 13", "Version: 13\r\nSec-WebSocket-Extensions: ;", 400),
        ("Version: 13", "Version: 13\r\nContent-Length: 1", 400),
        ("Version: 13", "Version: 13\r\nOrigin: https://x", 403),
        ("Version: 13", "Version: 13\r\nOrigin: null", 403),
    ],
)
def test_a_request_that_is_none_is_answered_as_http(serve: Any, old: str, new: str, status: int) -> None:
    request = asking().replace(old.encode(), new.encode())
    answer = serve(echo).ask(request + (b"x" if b"Content-Length" in request else b""))
    assert answer.status == status
    assert (answer.get("Upgrade"), answer.get("Sec-WebSocket-Version")) == (
        ("websocket", "13") if status == 426 else (None, None)
    )
    if status == 426:
        assert "Upgrade" in [value for name, value in answer.fields if name == "Connection"]


@pytest.mark.parametrize(
    ("origin", "allowed", "accepted"),
    [
        ("http://x", [], True),
        ("HTTP://X:80", [], True),
        ("http://x:8000", [], False),
        ("https://x", [], False),
        ("http://evil", [], False),
        ("http://x.evil", [], False),
        ("https://example.com", ["https://example.com:443"], True),
        ("https://example.com", ["http://example.com"], False),
        ("http://evil", ["*"], True),
        ("null", ["*"], True),
        ("null", ["https://example.com"], False),
        ("null", ["null"], True),
        ("http://x", ["https://example.com"], True),
    ],
)
def test_pages_of_other_origins_may_not_unless_they_are_allowed(
    talking: Any, origin: str, allowed: list[str], accepted: bool
) -> None:
    for app, settings in (
        (echo, {"websocket_origins": ",".join(allowed)}),
        (greenhttp.websocket(origins=allowed)(lambda ws: [ws.send(each) for each in ws]), {}),
    ):
        serving, connect = talking(app, **settings)
        if accepted:
            assert connect("/", f"Origin: {origin}").send("x").message() == "x"
        else:
            assert serving.ask(asking("/", f"Origin: {origin}")).status == 403


@pytest.mark.parametrize(
    ("offered", "supported", "agreed"),
    [("a, b", ["b", "a"], "b"), ("a", ["b"], None), ("", ["b"], None), ("a", [], None)],
)
def test_the_sub_protocol_that_the_application_likes_best(
    talking: Any, offered: str, supported: list[str], agreed: str | None
) -> None:
    _, connect = talking(greenhttp.websocket(protocols=supported)(lambda ws: ws.send(str(ws.protocol))))
    talk = connect("/", *([f"Sec-WebSocket-Protocol: {offered}"] if offered else []))
    assert talk.fields.get("sec-websocket-protocol") == agreed
    assert talk.message() == str(agreed)


def test_other_requests_of_the_same_handler_are_http(serve: Any) -> None:
    serving = serve(lambda request: echo(request) if request.is_websocket else "page")
    assert serving.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").content == b"page"


def test_what_is_a_list_cannot_be_a_text(serve: Any) -> None:
    for wrong in ({"protocols": "chat"}, {"origins": "https://*.example.com"}):
        with pytest.raises(TypeError, match="not a str"):
            greenhttp.websocket(**wrong)(lambda ws: None)
        serving = serve(lambda request, wrong=wrong: request.websocket(**wrong))
        assert serving.ask(asking("/", "Origin: https://evil.example")).status == 500
