"""What is broadcast reaches everybody in the group, once, and nobody else; who does not keep up goes by the policy."""

from __future__ import annotations

from typing import Any

import pytest

import greenhttp
from greenhttp.wire.handshake import agreed
from greenhttp.wire.websocket import Codec, Event
from greenhttp.websockets.groups import broadcast
from tests.websocket.client import Talk, close

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


@greenhttp.websocket
def room(ws: Any) -> None:
    name = ws.request.query["room"]
    ws.join(name)
    ws.send("joined")
    for message in ws:
        broadcast(name, message, exclude=ws)


def test_all_others_in_the_group_get_it(talking: Any) -> None:
    serving, connect = talking(room)
    talks = [connect(f"/?room={name}") for name in "aaab"]
    assert [talk.message() for talk in talks] == ["joined"] * 4
    talks[0].send("hello", "x" * 10_000)
    for talk in talks[1:3]:
        assert (talk.message(), talk.message()) == ("hello", "x" * 10_000)
    talks[1].send(close()).event()
    serving.until(lambda: broadcast("a", "again") == 2)
    assert talks[0].message() == talks[2].message() == "again"
    assert broadcast("b", b"alone") == 1
    assert talks[3].message() == b"alone"
    for talk in talks:
        talk.client.reset()
    serving.until(lambda: serving.count("connections") == 0)
    assert broadcast("a", "nobody") == broadcast("b", "nobody") == broadcast("never", "") == 0


def test_compressed_once_for_those_who_can_read_it(talking: Any, monkeypatch: Any) -> None:
    _, connect = talking(room, websocket_compression="shared")
    talks = [connect("/?room=c", *fields) for fields in ((DEFLATE,), (), (DEFLATE,))]
    for talk in talks:
        assert talk.message() == "joined"
        if "sec-websocket-extensions" in talk.fields:
            talk.codec = Codec(client=True, compression=agreed(talk.fields["sec-websocket-extensions"]))
    assert broadcast("c", "hello " * 1000) == 3
    assert [talk.message() for talk in talks] == ["hello " * 1000] * 3


@pytest.mark.parametrize("slow", ["drop", "close"])
def test_who_does_not_keep_up_goes_by_the_policy(talking: Any, slow: str) -> None:
    serving, connect = talking(room, websocket_slow=slow, websocket_backlog=100_000)
    quick, lazy = connect("/?room=d"), Talk(serving.connect(receive_buffer=4096), "/?room=d")
    assert quick.message() == lazy.message() == "joined"
    sent = 0
    while broadcast("d", str(sent).rjust(50_000)) == 2:
        assert quick.message() == str(sent).rjust(50_000)
        sent += 1
    assert quick.message() == str(sent).rjust(50_000)
    assert [lazy.message() for _ in range(sent)] == [str(i).rjust(50_000) for i in range(sent)]
    if slow == "close":
        assert lazy.closed() == (1008, "too slow")
        assert lazy.ended()
    else:
        serving.until(lambda: serving.count("websocket_choked") == 0)
        assert broadcast("d", "back") == 2
        assert lazy.message() == "back"


def test_a_group_ends_with_its_last_member(talking: Any) -> None:
    left = []

    @greenhttp.websocket
    def handler(ws: Any) -> None:
        ws.join("e")
        ws.join("e")
        left.append(broadcast("e", "1"))
        ws.leave("e")
        ws.leave("never")
        left.append(broadcast("e", "2"))

    _, connect = talking(handler)
    talk = connect()
    assert talk.message() == "1"
    assert talk.event() == (Event.CLOSE, (1000, ""))
    assert left == [1, 0]
    with pytest.raises(ValueError, match="give drop or close"):
        broadcast("e", "x", slow="wait")  # type: ignore[arg-type]
