"""echo.py with plain sockets."""

import signal
import threading
from contextlib import ExitStack

import pytest

from tests.examples.example import Example


@pytest.fixture
def example():
    with Example("echo.py", "127.0.0.1:0") as example:
        yield example


def test_everything_comes_back_until_the_end(example):
    with example.connect() as peer:
        peer.send(b"one\n")
        assert peer.line() == "one"
        peer.send(b"two\nthree")
        peer.end_sending()
        assert peer.file.read() == b"two\nthree"


def test_connections_are_independent(example):
    with ExitStack() as stack:
        peers = [stack.enter_context(example.connect()) for _ in range(50)]
        for number, peer in reversed(list(enumerate(peers))):
            peer.send(b"%d\n" % number)
        assert [peer.line() for peer in peers] == [str(number) for number in range(50)]


def test_a_large_echo_needs_both_directions_at_once(example):
    data = bytes(range(256)) * 65536  # 16 MiB, more than the buffers on the way hold

    def send():
        peer.send(data)
        peer.end_sending()

    with example.connect() as peer:
        sender = threading.Thread(target=send)
        sender.start()
        assert peer.file.read() == data
        sender.join()


def test_a_peer_that_vanishes_disturbs_nobody(example):
    gone, stays = example.connect(), example.connect()
    with stays:
        gone.send(b"x\n")
        assert gone.line() == "x"
        gone.reset()
        stays.send(b"y\n")
        assert stays.line() == "y"


def test_ctrl_c_ends_it_at_once_also_with_connections(example):
    with example.connect() as peer:
        peer.send(b"x\n")
        assert peer.line() == "x"
        example.stop(signal.SIGINT)
