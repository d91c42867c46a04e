"""green/acceptor.py: from a listening socket to connected descriptors."""

import os
import socket
import subprocess
import sys

import gevent
import gevent.socket
import pytest

from greenhttp.green.acceptor import Acceptor, StreamAcceptor
from greenhttp.green.listener import listen
from greenhttp.settings.address import parse_address
from tests.green.green import turn, turns, until
from tests.green.test_listener import ipv6


@pytest.fixture
def accepting(tmp_path, monkeypatch):
    """accepting(address, **options) -> (acceptor, connect(), accepted streams, lines logged)."""
    monkeypatch.chdir(tmp_path)
    opened = []

    def make(address="127.0.0.1:0", **options):
        sock = listen(parse_address(address), 512)
        streams, lines = [], []
        acceptor = StreamAcceptor(gevent.get_hub().loop, sock, lines.append, streams.append, **options)
        opened.extend([acceptor.stop, sock.close])

        def connect():
            client = socket.socket(sock.family)
            opened.append(client.close)
            client.connect(sock.getsockname())
            return client

        acceptor.start()
        opened.append(lambda: [stream.abort() for stream in streams])
        return acceptor, connect, streams, lines

    yield make
    for close in opened:
        close()


@pytest.mark.parametrize("address", ["127.0.0.1:0", pytest.param("[::1]:0", marks=ipv6)])
def test_the_address_of_the_peer_comes_with_the_connection(accepting, address):
    _, connect, streams, _ = accepting(address)
    clients = [connect() for _ in range(3)]
    until(lambda: len(streams) == 3)
    assert [stream.peer for stream in streams] == [client.getsockname()[:2] for client in clients]


@ipv6
def test_an_ipv4_peer_of_a_listener_that_takes_both_is_one(accepting):
    _, connect, streams, _ = accepting("[::]:0")
    port = connect().getpeername()[1]
    until(lambda: streams)
    with socket.create_connection(("127.0.0.1", port)) as client:
        until(lambda: len(streams) == 2)
        assert streams[1].peer == client.getsockname()


def test_a_unix_peer_has_no_address(accepting):
    _, connect, streams, _ = accepting("unix:s")
    connect()
    until(lambda: streams)
    assert streams[0].peer == ""


def test_accepted_descriptors_are_non_blocking_and_not_inherited(accepting):
    _, connect, streams, _ = accepting()
    connect()
    until(lambda: streams)
    assert not os.get_blocking(streams[0].fileno())
    assert not os.get_inheritable(streams[0].fileno())


def test_tcp_nodelay_is_inherited_from_the_listener(accepting):
    _, connect, streams, _ = accepting()
    connect()
    until(lambda: streams)
    with socket.socket(fileno=os.dup(streams[0].fileno())) as same:
        assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_base_of_acceptors_accepts_everybody_and_hangs_up():
    sock = listen(parse_address("127.0.0.1:0"), 16)
    acceptor = Acceptor(gevent.get_hub().loop, sock, print)
    assert acceptor.sock is sock
    acceptor.start()
    clients = [gevent.socket.create_connection(sock.getsockname()) for _ in range(3)]
    assert [client.recv(1) for client in clients] == [b""] * 3
    assert acceptor.accepted == 3
    acceptor.stop()
    for one in (*clients, sock):
        one.close()


def test_a_turn_accepts_no_more_than_a_batch(accepting):
    acceptor, connect, streams, _ = accepting(batch=4)
    assert acceptor.batch == 4
    for _ in range(10):
        connect()
    counts = []
    for _ in range(5):
        turn()
        counts.append(len(streams))
    assert counts == [4, 8, 10, 10, 10]
    assert acceptor.accepted == 10


def test_accepting_pauses_while_there_is_no_room(accepting):
    room = 2
    acceptor, connect, streams, lines = accepting(room=lambda: len(streams) < room)
    for _ in range(5):
        connect()
    turns()
    assert (len(streams), acceptor.paused) == (2, True)
    room = 4
    turns()
    assert len(streams) == 2  # until it is told
    acceptor.go_on()
    turns()
    assert (len(streams), acceptor.paused) == (4, True)
    room = 100
    acceptor.go_on()
    acceptor.go_on()
    turns()
    assert (len(streams), acceptor.paused) == (5, False)
    assert lines == []


def test_stop_accepts_what_is_in_the_queue_and_then_no_more(accepting):
    acceptor, connect, streams, _ = accepting(batch=2)
    clients = [connect() for _ in range(7)]
    acceptor.stop()
    assert len(streams) == 7
    connect()
    turns()
    assert len(streams) == 7
    acceptor.stop()
    acceptor.go_on()
    turns()
    assert (len(streams), len(clients)) == (7, 7)


def test_stop_ends_although_there_is_no_room(accepting):
    acceptor, connect, streams, _ = accepting(room=lambda: len(streams) < 1)
    connect()
    connect()
    acceptor.stop()
    assert len(streams) == 1


def test_a_broken_listener_is_said_once_and_not_asked_again(accepting):
    acceptor, connect, streams, lines = accepting()
    acceptor.sock.shutdown(socket.SHUT_RDWR)  # from now on it is readable for ever, and accept(2) fails with EINVAL
    until(lambda: lines)
    turns()
    (line,) = lines
    assert "a listening socket is broken" in line and "Invalid argument" in line


@pytest.mark.parametrize("spoil", [lambda sock: sock.shutdown(socket.SHUT_RDWR), lambda sock: sock.close()])
def test_stop_ends_although_the_listener_is_broken(accepting, spoil):
    acceptor, connect, streams, lines = accepting()
    spoil(acceptor.sock)
    acceptor.stop()
    (line,) = lines
    assert "a listening socket is broken" in line
    acceptor.stop()
    acceptor.go_on()
    assert len(lines) == 1


def test_a_peer_that_went_away_while_it_queued_is_accepted_like_any_other(accepting):
    acceptor, connect, streams, lines = accepting()
    connect().close()
    connect()
    until(lambda: len(streams) == 2)
    assert streams[0].read(timeout=30) == b""
    assert lines == []


EXHAUSTED = """
import os, resource, socket, sys
import gevent
from greenhttp.green.acceptor import Acceptor, StreamAcceptor
from greenhttp.green.listener import listen
from greenhttp.settings.address import parse_address

sock = listen(parse_address("127.0.0.1:0"), 128)
streams, lines = [], []
acceptor = StreamAcceptor(gevent.get_hub().loop, sock, lines.append, streams.append)
clients = [socket.socket() for _ in range(8)]
acceptor.start()
for client in clients:
    client.connect(sock.getsockname())
limit = resource.getrlimit(resource.RLIMIT_NOFILE)
spare = os.open("/dev/null", os.O_RDONLY)
os.close(spare)
resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 3, limit[1]))   # three more descriptors, then none

def wait(condition):
    # Nothing but the acceptor keeps the loop going here.
    while not condition():
        check = gevent.get_hub().loop.check(ref=False, priority=-2)
        try:
            gevent.get_hub().wait(check)
        finally:
            check.close()

wait(lambda: acceptor.backing_off)
assert len(streams) == 3, len(streams)
assert len(lines) == 1 and "out of file descriptors" in lines[0], lines
streams.pop().abort()                   # one is free: one more comes in, and it is still exhausted
wait(lambda: acceptor.accepted == 4)
assert acceptor.backing_off and len(lines) == 1, lines
resource.setrlimit(resource.RLIMIT_NOFILE, limit)
wait(lambda: not acceptor.backing_off)
assert acceptor.accepted == 8
assert len(lines) == 2 and "again" in lines[1], lines
acceptor.stop()
for stream in streams:
    stream.abort()
for client in clients:
    client.close()
sock.close()
"""


def test_out_of_descriptors_it_backs_off_says_so_once_and_recovers():
    subprocess.run([sys.executable, "-W", "error", "-c", EXHAUSTED], check=True, timeout=60)
