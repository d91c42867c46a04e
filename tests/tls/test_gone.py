"""Request.gone over TLS, where the peer's goodbye lies before the end of its connection, and has to be decrypted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp import Request
from tests.http.apps import post, request
from tests.http.test_gone import WAIT, Watching, until_gone
from tests.tls.running import Servers


@pytest.fixture
def watch(serve: Servers) -> Callable[..., Any]:
    """watch(look) -> a Watching, and a client's connection to it"""

    def watch(look: Callable[[Any], Any], **client: Any) -> Any:
        watching = Watching(look)

        def app(request: Request) -> str:
            return watching(request) if request.path == "/wait" else f"{request.path} "

        return watching, serve(app=app, interface="native").client(**client)

    return watch


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("leave", ["goodbye", "goodbye and end", "end"])
def test_a_client_that_leaves_has_gone(watch: Any, version: str, leave: str) -> None:
    watching, client = watch(lambda request: [request.gone, until_gone(request)], version=version)
    client.write(WAIT)
    watching.running.wait()
    if leave == "goodbye":
        client.sock.sendall(client.flight.goodbye())
    else:
        client.finish(notify=leave != "end")
    assert watching.sees()[1] is True
    assert client.answer().content == b"seen"  # half-closed: it looks the same, and gets its answer all the same


def test_a_client_that_waits_has_not_gone(watch: Any) -> None:
    watching, client = watch(lambda request: request.gone)
    client.write(WAIT)
    watching.running.wait()
    client.sock.sendall(b"\x17\x03\x03\x40\x00" + bytes(100))  # part of a record: not known what it will be
    assert watching.sees() is False


def test_content_that_is_still_to_be_read_hides_the_end_and_is_not_lost(watch: Any) -> None:
    def look(request: Request) -> list[Any]:
        gone = [request.gone for _ in range(3)]
        return [*gone, request.body.read(), until_gone(request)]

    watching, client = watch(look)
    whole = post(b"hello" * 10_000, path=b"/wait")
    client.write(whole[:-40_000])
    watching.running.wait()
    client.write(whole[-40_000:]).finish(notify=True)
    assert watching.sees() == [False, False, False, b"hello" * 10_000, True]
    assert client.answer().content == b"seen"


def test_a_request_sent_ahead_hides_the_end_and_is_not_lost(watch: Any) -> None:
    watching, client = watch(lambda request: [request.gone for _ in range(3)])
    client.write(WAIT)
    watching.running.wait()
    client.write(request(b"GET /next HTTP/1.1")).finish(notify=True)
    assert watching.sees() == [False] * 3
    assert [client.answer().content for _ in range(2)] == [b"seen", b"/next "]


def test_who_reads_meanwhile_is_robbed_of_nothing(watch: Any) -> None:
    def look(request: Request) -> tuple[bool, bytes]:
        reader = gevent.spawn(request.body.read)
        gevent.sleep(0)
        reading.set()
        while not reader.ready():
            seen.append(request.gone)
            gevent.sleep(0)
        return False, reader.get()

    reading = Event()
    seen: list[bool] = []
    watching, client = watch(look)
    whole = post(b"hello", path=b"/wait")
    client.write(whole[:-5])
    watching.running.wait()
    watching.now.set()
    reading.wait()
    client.write(whole[-5:])
    watching.done.wait()
    assert watching.seen == [(False, b"hello")]
    assert client.answer().content == b"seen"
    assert seen
    assert not any(seen)


def test_a_client_that_sends_what_cannot_be_decrypted_has_gone(watch: Any) -> None:
    watching, client = watch(until_gone)
    client.write(WAIT)
    watching.running.wait()
    client.sock.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))
    assert watching.sees() is True
