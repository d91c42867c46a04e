"""RFC 6455: a WebSocket as its handler sees it, over real sockets."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.event import Event as Flag

import greenhttp
from greenhttp.errors import StreamTimeout, WebSocketClosed
from greenhttp.wire.websocket import Event, frame
from tests.websocket.client import MASK, asking, binary, close, ping, text


@greenhttp.websocket
def echo(ws: Any) -> None:
    for message in ws:
        ws.send(message)


def test_messages_go_there_and_back_as_what_they_are(talking: Any) -> None:
    _, connect = talking(echo)
    talk = connect()
    for message in ("", "one", "\N{SNOWMAN}" * 5000, "x" * 70_000):
        assert talk.send(message).message() == message
    for data in (b"", b"\0" * 100, b"y" * 4096, b"z" * 200_000):
        assert talk.send(binary(data)).message() == data
    assert talk.send(close(4000, "enough")).event() == (Event.CLOSE, (4000, ""))
    assert talk.ended()


def test_frames_behind_the_request_are_the_first_messages(talking: Any) -> None:
    _, connect = talking(echo)
    talk = connect(ahead=text("ahead") + text("of")[:3])
    assert talk.message() == "ahead"
    assert talk.send(text("of")[3:]).message() == "of"


def test_many_messages_in_one_packet_are_answered_in_order(talking: Any) -> None:
    _, connect = talking(echo)
    talk = connect()
    talk.send(*map(str, range(500)))
    assert [talk.message() for _ in range(500)] == [*map(str, range(500))]


def test_pings_are_answered_while_the_handler_does_something_else(talking: Any) -> None:
    go = Flag()
    _, connect = talking(greenhttp.websocket(lambda ws: go.wait()))
    talk = connect()
    assert talk.send(ping(b"alive?")).event() == (Event.PONG, b"alive?")
    go.set()
    assert talk.closed() == (1000, "")
    assert talk.ended()


def test_a_close_without_a_code_is_answered_without_one(talking: Any) -> None:
    seen = Flag(), []

    @greenhttp.websocket
    def handler(ws: Any) -> None:
        with pytest.raises(WebSocketClosed) as caught:
            ws.receive()
        seen[1].append((caught.value.code, caught.value.reason, ws.close_code, ws.closed))
        seen[0].set()

    _, connect = talking(handler)
    talk = connect()
    assert talk.send(close(None)).event() == (Event.CLOSE, (1005, ""))
    assert talk.ended()
    seen[0].wait()
    assert seen[1] == [(1005, "", 1005, True)]


def test_a_handler_that_raises_closes_with_1011_and_is_logged(talking: Any, caplog: Any) -> None:
    @greenhttp.websocket
    def handler(ws: Any) -> None:
        ws.receive()
        raise ZeroDivisionError

    serving, connect = talking(handler)
    talk = connect("/there?secret")
    assert talk.send("go").closed() == (1011, "")
    assert talk.ended()
    serving.until(lambda: "GET /there: ZeroDivisionError in the application" in caplog.text)
    assert "secret" not in caplog.text


@pytest.mark.parametrize("how", ["finish", "reset", "close"])
def test_a_client_that_goes_without_a_word_is_1006_and_no_error(talking: Any, caplog: Any, how: str) -> None:
    codes: list[Any] = []

    @greenhttp.websocket
    def handler(ws: Any) -> None:
        for _ in ws:
            pass
        codes.append(ws.close_code)
        ws.send("into the void")

    caplog.set_level("INFO")
    serving, connect = talking(handler)
    talk = connect()
    serving.until(lambda: serving.count("websocket") == 1)
    getattr(talk.client, how)()
    serving.until(lambda: serving.count("connections") == 0)
    assert codes == [1006]
    assert "in the application" not in caplog.text
    assert [serving.count(f"websocket{phase}") for phase in ("", "_full", "_pinged", "_choked", "_parting")] == [0] * 5


def test_both_sides_close_at_once(talking: Any) -> None:
    go, codes = Flag(), []

    @greenhttp.websocket
    def handler(ws: Any) -> None:
        ws.receive()
        ws.close(4001)
        codes.append(ws.close_code)
        go.set()

    serving, connect = talking(handler)
    talk = connect().send("x")
    go.wait()
    talk.send(close(4002))
    assert talk.event() == (Event.CLOSE, (4001, ""))
    assert talk.ended()
    serving.until(lambda: serving.count("connections") == 0)
    assert codes == [4001]


def test_what_came_before_the_close_is_received_first(talking: Any) -> None:
    go, seen = Flag(), []

    @greenhttp.websocket
    def handler(ws: Any) -> None:
        go.wait()
        seen.extend(ws)
        seen.append(ws.close_code)

    serving, connect = talking(handler)
    talk = connect().send("1", "2", close(3000))
    assert talk.event() == (Event.CLOSE, (3000, ""))
    go.set()
    serving.until(lambda: serving.count("connections") == 0)
    assert seen == ["1", "2", 3000]


@pytest.mark.parametrize(
    ("bytes_", "code"),
    [
        (frame(1, b"no mask"), 1002),
        (frame(3, b"", mask=MASK), 1002),
        (frame(1, b"\xff", mask=MASK), 1007),
        (frame(1, b"x" * 200, mask=MASK), 1009),
    ],
)
def test_who_breaks_a_rule_gets_the_code_and_no_reset(talking: Any, bytes_: bytes, code: int) -> None:
    seen: list[int] = []

    @greenhttp.websocket
    def handler(ws: Any) -> None:
        for _ in ws:
            pass
        seen.append(ws.close_code)

    serving, connect = talking(handler, websocket_max_message=150)
    talk = connect().send(bytes_, b"\xff" * 100_000)
    event = talk.event()
    assert event is not None and event[0] == Event.CLOSE and event[1][0] == code
    assert talk.ended()
    talk.client.close()
    serving.until(lambda: serving.count("connections") == 0)
    assert seen == [code]


def test_receive_waits_no_longer_than_it_is_told(talking: Any) -> None:
    @greenhttp.websocket
    def handler(ws: Any) -> None:
        with pytest.raises(StreamTimeout):
            ws.receive(timeout=0.02)
        ws.send("late")
        ws.send(ws.receive(timeout=60))

    _, connect = talking(handler)
    talk = connect()
    assert talk.message() == "late"
    assert talk.send("now").message() == "now"
    assert talk.closed() == (1000, "")


def test_two_cannot_receive_at_once_and_many_can_send(talking: Any) -> None:
    @greenhttp.websocket
    def handler(ws: Any) -> None:
        other = gevent.spawn(ws.receive)
        gevent.sleep(0)
        with pytest.raises(RuntimeError, match="another green thread waits"):
            ws.receive()
        senders = [gevent.spawn(ws.send, bytes([i]) * 50_000) for i in range(20)]
        gevent.joinall([*senders, other], raise_error=True)
        ws.send(other.value)

    _, connect = talking(handler)
    talk = connect()
    got = [talk.message() for _ in range(20)]
    assert [len(set(each)) for each in got] == [1] * 20
    assert sorted(each[0] for each in got) == [*range(20)]
    assert talk.send("done").message() == "done"


def test_send_waits_for_a_client_that_reads_slowly(talking: Any) -> None:
    sent = []

    @greenhttp.websocket
    def handler(ws: Any) -> None:
        for i in range(100):
            ws.send(bytes([i]) * 100_000)
            sent.append(i)

    serving = talking(handler)[0]
    from tests.websocket.client import Talk

    talk = Talk(serving.connect(receive_buffer=4096))
    serving.until(lambda: serving.count("websocket_choked") == 1)
    assert len(sent) < 100
    assert [talk.message() for _ in range(100)] == [bytes([i]) * 100_000 for i in range(100)]
    assert talk.closed() == (1000, "")


def test_a_sender_that_waits_is_told_of_the_close(talking: Any) -> None:
    codes: list[Any] = []

    @greenhttp.websocket
    def handler(ws: Any) -> None:
        try:
            while True:
                ws.send(b"x" * 100_000)
        except WebSocketClosed as error:
            codes.append(error.code)

    serving, connect = talking(handler)
    talk = connect()
    serving.until(lambda: serving.count("websocket_choked") == 1)
    talk.send(close(1001))
    serving.until(lambda: codes)
    while (event := talk.event()) is not None and event[0] != Event.CLOSE:
        pass
    assert event == (Event.CLOSE, (1001, ""))
    assert talk.ended()
    assert codes == [1001]


def test_who_sends_faster_than_it_is_received_waits(talking: Any) -> None:
    go = Flag()
    got: list[int] = []

    @greenhttp.websocket
    def handler(ws: Any) -> None:
        go.wait()
        got.extend(len(message) for message in ws)

    serving, connect = talking(handler)
    talk = connect()
    sender = gevent.spawn(lambda: [talk.send(binary(b"x" * 50_000)) for _ in range(400)])
    serving.until(lambda: serving.count("websocket_full") == 1)
    assert not sender.ready()
    go.set()
    sender.join()
    assert talk.send(close()).event() == (Event.CLOSE, (1000, ""))
    serving.until(lambda: serving.count("connections") == 0)
    assert got == [50_000] * 400


def test_it_gives_back_its_place_and_has_no_request_timeout(talking: Any) -> None:
    serving, connect = talking(
        lambda request: echo(request) if request.is_websocket else "plain", concurrency=1, queue=5, request_timeout=0.05
    )
    talks = [connect() for _ in range(10)]
    gevent.sleep(0.1)
    assert serving.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").content == b"plain"
    assert [talk.send(str(i)).message() for i, talk in enumerate(talks)] == [*map(str, range(10))]


def test_a_green_thread_left_behind_is_told_that_it_is_over(talking: Any) -> None:
    ends: list[int] = []

    @greenhttp.websocket
    def handler(ws: Any) -> None:
        def receives() -> None:
            with pytest.raises(WebSocketClosed) as caught:
                ws.receive()
            ends.append(caught.value.code)
            with pytest.raises(WebSocketClosed):
                ws.send("late")

        gevent.spawn(receives)
        gevent.sleep(0)

    serving, connect = talking(handler)
    assert connect().closed() == (1000, "")
    serving.until(lambda: ends)
    assert ends == [1000]


def test_a_client_that_does_not_answer_a_close_is_not_waited_for(talking: Any) -> None:
    serving, connect = talking(greenhttp.websocket(lambda ws: None), websocket_close_timeout=0.05)
    talk = connect()
    assert talk.event() == (Event.CLOSE, (1000, ""))
    assert talk.ended()
    serving.until(lambda: serving.count("connections") == 0)


def test_silence_is_asked_about_and_then_ends_it(talking: Any, caplog: Any) -> None:
    caplog.set_level("INFO")
    codes: list[Any] = []

    @greenhttp.websocket
    def handler(ws: Any) -> None:
        for _ in ws:
            pass
        codes.append(ws.close_code)

    serving, connect = talking(handler, websocket_ping_interval=0.05, websocket_ping_timeout=0.05)
    talk = connect()
    assert talk.event() == (Event.PING, b"")
    talk.send(frame(10, b"", mask=MASK))
    assert talk.event() == (Event.PING, b"")
    serving.until(lambda: serving.count("connections") == 0)
    assert codes == [1006]
    serving.until(lambda: "no answer to a ping within 0.05 s (websocket_ping_timeout)" in caplog.text)


def test_on_message_calls_in_order_one_at_a_time_and_on_close_last(talking: Any) -> None:
    log: list[Any] = []
    over = Flag()

    def said(ws: Any, message: str) -> None:
        log.append(message)
        gevent.sleep(0.001)
        log.append(message)
        ws.send(message.upper())

    def gone(ws: Any) -> None:
        log.append(ws.close_code)
        over.set()

    serving, connect = talking(lambda request: request.websocket(on_message=said, on_close=gone))
    talk = connect()
    serving.until(lambda: serving.count("pool_running") == 0)
    talk.send("a", "b", "c")
    assert [talk.message() for _ in range(3)] == ["A", "B", "C"]
    assert talk.send("d", close(3001)).event() == (Event.CLOSE, (3001, ""))  # so no answer to d can follow
    over.wait()
    assert log == ["a", "a", "b", "b", "c", "c", "d", "d", 3001]
    serving.until(lambda: serving.count("connections") == 0)


def test_on_message_that_raises_closes_with_1011(talking: Any, caplog: Any) -> None:
    def said(ws: Any, message: str) -> None:
        raise ZeroDivisionError

    serving, connect = talking(lambda request: request.websocket(on_message=said))
    talk = connect("/m")
    assert talk.send("a", "b").closed() == (1011, "")
    assert talk.ended()
    serving.until(lambda: serving.count("connections") == 0)
    serving.until(lambda: "GET /m: ZeroDivisionError in the application" in caplog.text)


def test_beyond_the_limit_there_is_503_and_later_room_again(talking: Any) -> None:
    serving, connect = talking(echo, websocket_connections=1)
    talk = connect()
    answer = serving.ask(asking())
    assert (answer.status, answer.get("Retry-After")) == (503, "10")
    talk.send(close()).event()
    serving.until(lambda: serving.count("connections") == 1)
    serving.clients[1].close()
    serving.until(lambda: serving.count("connections") == 0)
    assert connect().send("x").message() == "x"


@pytest.mark.parametrize("compression", ["shared", "takeover"])
def test_compressed_where_both_want_it(talking: Any, compression: str) -> None:
    from greenhttp.wire.handshake import agreed
    from greenhttp.wire.websocket import Codec

    _, connect = talking(echo, websocket_compression=compression)
    talk = connect("/", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    talk.codec = Codec(client=True, compression=agreed(talk.fields["sec-websocket-extensions"]))
    for _ in range(3):
        payload, small = talk.codec.outgoing("hello " * 200)
        assert small and len(payload) < 200
        assert talk.send(frame(1, payload, mask=MASK, compressed=True)).message() == "hello " * 200
