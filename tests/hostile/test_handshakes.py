"""A thousand handshakes that do not go on, and floods of new ones: what honest clients get meanwhile, and how it ends.

Outcomes, counts and order; how long honest clients wait is measured by `python -m perf reach handshakes`.
"""

from __future__ import annotations

import os
import select
import time
from typing import Any

import gevent
import pytest

from tests.green.green import turns
from tests.hostile.crowd import enough_descriptors
from tests.http.apps import request

MANY = 1000
FLOOD = 300
LINES = 30  # of the log about any number of peers: five of a kind in a second, and how many more there were
GET = request(b"GET /asked HTTP/1.1")


@pytest.fixture
def secure(servers: Any) -> Any:
    """As `serve` of tests/tls, without the time in which each test of it ends."""
    enough_descriptors()
    return servers


def stalled(serving: Any, number: int) -> Any:
    """One that has sent nothing, a byte, half a hello, or a hello and then nothing more; by turns."""
    sock, flight = serving.half("1.2" if number % 2 else "1.3")
    sock.sendall((b"", flight.hello[:1], flight.hello[: len(flight.hello) // 2], flight.hello)[number % 4])
    return sock


def test_a_thousand_stalled_handshakes_hold_nobody_up(secure: Any) -> None:
    serving = secure()
    for number in range(MANY):
        stalled(serving, number)
        if number % 50 == 49:
            assert serving.honest.ask(GET).content == b"/asked "
            new = serving.client()
            assert new.ask(GET).content == b"/asked "
            new.close()
    serving.until(lambda: serving.count("handshaking") == MANY)
    assert serving.honest.ask(GET).content == b"/asked "  # while all of them are pending
    assert serving.count("handshaking") == MANY
    assert serving.count("connections") == MANY + 1
    assert serving.count("pool_size") < 10  # a handshake has no green thread
    serving.unharmed(LINES)


def test_stalled_handshakes_end_when_their_time_is_up(secure: Any) -> None:
    serving = secure(tls_timeout=0.5)
    socks = [stalled(serving, number) for number in range(MANY)]
    serving.until(lambda: serving.count("connections") == 1)
    assert all(ended(sock) for sock in socks)
    serving.unharmed(LINES)


def ended(sock: Any) -> bool:
    """Whether the server has closed it, whatever it had said before."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_each_byte_of_a_trickled_handshake_gains_no_time(secure: Any) -> None:
    serving = secure(tls_timeout=0.5)
    sock, flight = serving.half()
    with pytest.raises(ConnectionError):
        for byte in flight.hello * 100:
            sock.sendall(bytes([byte]))
            gevent.sleep(0.01)
    serving.unharmed(LINES)


def test_handshakes_whose_time_is_up_are_made_within_the_limits_of_a_turn(secure: Any) -> None:
    """Behind a loop that was held up: it was not the peers."""
    serving = secure(tls_timeout=1)
    silent = [serving.plain(b"\x16") for _ in range(20)]
    halves = [serving.half() for _ in range(100)]
    serving.until(lambda: serving.count("handshaking") == 120)
    for sock, flight in halves:
        sock.sendall(flight.hello)
    time.sleep(1.2)
    answered, most = set[int](), 0
    poll = select.poll()
    for sock, _ in halves:
        poll.register(sock.fileno(), select.POLLIN)

    def look() -> None:
        nonlocal most
        before = len(answered)
        for fd, _ in poll.poll(0):
            answered.add(fd)
            poll.unregister(fd)
        most = max(most, len(answered) - before)

    each_turn = gevent.get_hub().loop.check()
    each_turn.start(look)
    serving.until(lambda: len(answered) == 100)
    each_turn.stop()
    each_turn.close()
    assert most <= 16
    for sock, flight in halves[::10]:
        while not flight.done:
            reply = flight.take(sock.recv(65536))  # none was closed
        sock.sendall(reply + flight.seal(GET))
    serving.until(lambda: len(serving.seen) == 10)
    assert all(ended(sock) for sock in silent)
    serving.unharmed(LINES)


def test_a_loop_that_is_held_up_gives_time_once(secure: Any) -> None:
    serving = secure(tls_timeout=0.2)
    sock, flight = serving.half()
    sock.sendall(flight.hello[:10])
    serving.until(lambda: serving.count("handshaking") == 1)
    for at, left in (10, 1), (11, 0):
        sock.sendall(flight.hello[at : at + 1])
        time.sleep(0.3)
        turns(5)
        assert serving.count("handshaking") == left
    assert ended(sock)
    serving.unharmed(1)


def layers(serving: Any) -> list[bool]:
    """Of all in their handshake, longest first: whether OpenSSL has been asked."""
    return [arrival.stream.layer is not None for arrival in serving.server._service.handshaking.members()]


def test_a_handshake_takes_memory_once_its_first_message_is_whole(secure: Any) -> None:
    serving = secure()
    for number in range(4):
        stalled(serving, number)
    serving.until(lambda: any(layers(serving)))
    assert layers(serving) == [False, False, False, True]
    assert serving.client(send=a_byte_at_a_time).ask(GET).content == b"/asked "
    serving.unharmed(LINES)


def a_byte_at_a_time(sock: Any, data: bytes) -> None:
    for at in range(len(data)):
        sock.sendall(data[at : at + 1])
        gevent.sleep(0)


def test_the_memory_of_handshakes_is_bounded_and_the_longest_goes_first(secure: Any) -> None:
    most = 10
    serving = secure(limit_buffers=most * 49152)
    halves = []
    for number in range(2 * most):
        sock, flight = serving.half()
        halves.append((sock, flight))
        sock.sendall(flight.hello)
        serving.until(lambda: sum(layers(serving)) == min(len(halves), most))  # noqa: B023
        serving.until(lambda: serving.count("connections") == 1 + min(len(halves), most))  # noqa: B023
        if number >= most:
            assert ended(halves[number - most][0])
    assert all("the unread input of all connections" in line for line in serving.log()[:5])
    for sock, flight in halves[most:]:
        while not flight.done:
            reply = flight.take(sock.recv(65536))
        sock.sendall(reply + flight.seal(GET))
    serving.until(lambda: len(serving.seen) == most)
    # None of it counts any more.
    before = len(serving.log())
    for _ in range(2 * most):
        serving.client().ask(GET)
    assert len(serving.log()) == before
    serving.unharmed(LINES)


def test_a_handshake_that_says_it_is_long_takes_no_memory(secure: Any) -> None:
    serving = secure()
    hello = serving.half()[1].hello
    sock = serving.plain(hello[:3] + b"\0\x64\1" + (131_000).to_bytes(3, "big") + hello[9:105])
    assert sock.recv(100) == b"\x15\3\3\0\2\2\x2f"
    assert ended(sock)
    (line,) = serving.log()
    assert line.endswith(": TLS handshake failed: its ClientHello is longer than 32 KiB")
    serving.unharmed()


def test_one_who_asks_is_served_between_handshakes_that_came_before(secure: Any) -> None:
    serving = secure()
    halves = [serving.half() for _ in range(FLOOD)]
    serving.until(lambda: serving.count("handshaking") == FLOOD)
    # All of it before the loop turns again, the request last.
    for sock, flight in halves:
        sock.sendall(flight.hello)
    assert serving.honest.ask(GET).content == b"/asked "
    answered, _, _ = select.select([sock.fileno() for sock, _ in halves], [], [], 0)
    assert len(answered) < FLOOD // 2
    # And the others have their turn.
    for sock, flight in halves:
        while not flight.done:
            reply = flight.take(sock.recv(65536))
        sock.sendall(reply)
        sock.sendall(flight.seal(GET))
        got = b""
        while b"/asked " not in got:
            got += flight.unseal(sock.recv(65536))
    assert len(serving.seen) == FLOOD + 1
    serving.unharmed(0)


def test_a_flood_of_handshakes_is_taken_while_others_are_served(secure: Any) -> None:
    serving = secure()
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    made = 0

    def flood() -> None:
        nonlocal made
        while made < MANY:
            made += 1
            serving.client("1.2" if made % 2 else "1.3").close()

    flooders = [gevent.spawn(flood) for _ in range(20)]
    asked = 0
    while made < MANY:
        assert serving.honest.ask(GET).content == b"/asked "
        asked += 1
    gevent.joinall(flooders, raise_error=True)
    assert asked > 10
    serving.unharmed(LINES)
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) <= before


def test_where_connections_are_full_a_silent_handshake_goes_before_an_idle_connection(secure: Any) -> None:
    serving = secure(connections=50)
    for _ in range(200):
        serving.plain()
    serving.until(lambda: serving.count("connections") == 50)
    assert serving.client().ask(GET).content == b"/asked "
    assert serving.honest.ask(GET).content == b"/asked "
    serving.unharmed(LINES)
