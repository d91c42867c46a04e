"""chat.py with plain sockets."""

import signal
import socket

import pytest

from tests.examples.example import TIMEOUT, Example, Peer


@pytest.fixture
def example():
    with Example("chat.py", "127.0.0.1:0") as example:
        yield example


class Member(Peer):
    def __init__(self, example, name, receive=None):
        sock = socket.socket()
        sock.settimeout(TIMEOUT)
        if receive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        sock.connect(example.address)
        super().__init__(sock)
        assert self.line() == "your name?"
        self.send(f"{name}\n".encode())


def test_a_conversation(example):
    with Member(example, "Ann") as ann, Member(example, "Bob") as bob:
        assert ann.line() == "* here: Ann"
        assert bob.line() == "* here: Ann, Bob"
        assert ann.line() == "* Bob has come"
        ann.send("grüß dich\x1b[2J\r\n".encode())
        assert bob.line() == "Ann: grüß dich[2J"
        bob.send(b"one\ntwo\n")
        assert [ann.line(), ann.line()] == ["Bob: one", "Bob: two"]
        bob.end_sending()
        assert ann.line() == "* Bob has gone"
        assert bob.line() == ""


def test_a_name_belongs_to_one(example):
    with Member(example, "Ann") as ann, Member(example, "Ann") as other:
        assert ann.line() == "* here: Ann"
        assert other.line() == "another name, please: that one is taken"
        other.send(b"\nBob\n")
        assert [other.line(), other.line()] == ["your name?", "* here: Ann, Bob"]
        assert ann.line() == "* Bob has come"
        ann.end_sending()
        assert other.line() == "* Ann has gone"
        with Member(example, "Ann") as again:
            assert again.line() == "* here: Bob, Ann"


def test_a_line_without_an_end_is_not_collected(example):
    with Member(example, "Ann") as ann:
        assert ann.line() == "* here: Ann"
        ann.send(b"x" * 1001)
        assert ann.line() == "* no more than 1000 bytes a line"
        assert ann.line() == ""


def test_a_member_that_vanishes_has_gone(example):
    with Member(example, "Ann") as ann:
        bob = Member(example, "Bob")
        ann.until("* Bob has come")
        bob.reset()
        assert ann.line() == "* Bob has gone"


def test_a_member_that_does_not_read_is_dropped_and_holds_nobody_up(example):
    batch = 100
    with Member(example, "Ann") as ann, Member(example, "Bob") as bob, Member(example, "Mute", receive=4096) as mute:
        bob.until("* Mute has come")
        for _ in range(1000):  # some 90 MB: no system holds as much for somebody who does not read
            ann.send(b"".join(b"%0900d\n" % number for number in range(batch)))
            lines = [bob.line() for _ in range(batch)]  # all in order, however full the other's buffers are
            if "* Mute has gone" in lines:
                lines.remove("* Mute has gone")
                lines.append(bob.line())
                break
            assert lines == [f"Ann: {number:0900}" for number in range(batch)]
        else:
            pytest.fail("who does not read was never dropped")
        assert lines == [f"Ann: {number:0900}" for number in range(batch)]
        with pytest.raises(ConnectionResetError):
            mute.file.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_although_somebody_chats(example, number):
    with Member(example, "Ann") as ann:
        ann.until("* here: Ann")
        example.stop(number)
