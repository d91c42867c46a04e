"""supervisor/mail.py: whole messages through a pipe whose reader may sleep."""

import contextlib
import os

import pytest

from greenhttp.supervisor.mail import Inbox, Outbox

LARGE = 300_000  # more than any pipe takes at once


@pytest.fixture
def pipe():
    """An inbox and an outbox; closed at the end."""
    theirs, ours = os.pipe()
    inbox, outbox = Inbox(theirs), Outbox(ours)
    yield inbox, outbox
    for fd in (theirs, ours):
        with contextlib.suppress(OSError):  # by the test
            os.close(fd)


def test_messages_arrive_whole_and_in_order(pipe):
    inbox, outbox = pipe
    assert inbox.read() == []
    outbox.send(b"one")
    outbox.send(b"")
    outbox.send(b"two\n" * 3)
    assert inbox.read() == [b"one", b"", b"two\n" * 3] and not inbox.begun
    assert inbox.read() == []


def test_a_message_that_the_pipe_does_not_take_at_once_arrives_whole(pipe):
    inbox, outbox = pipe
    message = os.urandom(LARGE)
    outbox.send(message)
    assert outbox.waits
    got = []
    while not got:
        got = inbox.read()
        assert bool(got) != inbox.begun
        outbox.flush()
    assert got == [message] and not outbox.waits


def test_the_newest_counts_and_what_has_begun_is_not_torn(pipe):
    inbox, outbox = pipe
    first = os.urandom(LARGE)
    outbox.send(first)
    for number in range(1000):  # a reader that is stuck costs the memory of two messages
        outbox.send(b"%d" % number * 100)
    got = []
    while outbox.waits:
        got += inbox.read()
        outbox.flush()
    got += inbox.read()
    assert got == [first, b"999" * 100]


def test_a_reader_that_has_gone_costs_nothing(pipe):
    inbox, outbox = pipe
    os.close(inbox.fd)
    outbox.send(b"x" * LARGE)
    assert not outbox.waits


def test_the_end_is_told_behind_the_last_message(pipe):
    inbox, outbox = pipe
    outbox.send(b"last")
    os.write(outbox.fd, b"\0\0")  # half of another
    outbox.close()
    assert inbox.read() == [b"last"]
    with pytest.raises(EOFError):
        inbox.read()
