"""logs/pipe.py: messages go through a pipe whole or not at all, never wait, and what is lost is counted."""

import os
import threading

import pytest

from greenhttp.logs import pipe as pipes
from greenhttp.logs.pipe import HEAD, LONGEST, MAGIC, RECORD, ROOM, TO_STDERR, LogPipe, Reader


@pytest.fixture
def pipe():
    made = LogPipe()
    os.set_blocking(made.reading, False)
    yield made
    made.close()


def taken(pipe, reader=None, everything=False):
    """What comes out of it now: pairs of flags and text."""
    reader = reader or Reader()
    messages = []
    while True:
        try:
            data = os.read(pipe.reading, 65536)
        except BlockingIOError:
            break
        if not data:
            break
        messages += reader.feed(data)
    if everything:
        messages += reader.overdue(everything=True)
    return [(message.flags & ~pipes.LAST, message.data.decode()) for message in messages]


def fill(pipe):
    """Until there is no room for anything."""
    while pipe.put("x" * 3000 + "\n"):
        pass
    while pipe._send(b"x\n", 0):
        pass


@pytest.mark.parametrize("size", [0, 1, ROOM - 1, ROOM, ROOM + 1, 3 * ROOM, 100_000, LONGEST])
def test_a_message_of_any_size_comes_as_it_was(pipe, size):
    reader, came = Reader(), []
    text = "".join(chr(ord("a") + n % 26) for n in range(size))
    thread = threading.Thread(target=lambda: pipe.put(text) or came.append("lost"))
    thread.start()  # the pipe may be smaller than the message
    thread.join()
    got = taken(pipe, reader)
    if not came:
        assert got == ([(0, text)] if size else [])


def test_what_is_too_long_is_cut_and_says_so(pipe):
    os.set_blocking(pipe.writing, True)  # the pipe holds less
    thread = threading.Thread(target=pipe.put, args=("y" * (LONGEST + 10),))
    thread.start()
    os.set_blocking(pipe.reading, True)
    reader, got = Reader(), []
    while not got:
        got += reader.feed(os.read(pipe.reading, 65536))
    thread.join()
    assert got[0].data == b"y" * LONGEST + b" ... (cut)\n"


def test_flags_come_with_it(pipe):
    pipe.put("a\n", TO_STDERR)
    pipe.put("{}", RECORD)
    assert taken(pipe) == [(TO_STDERR, "a\n"), (RECORD, "{}")]


def test_any_text_is_taken(pipe):
    pipe.put("\udc80 \N{SNOWMAN}\n")
    assert taken(pipe) == [(0, "\\udc80 \N{SNOWMAN}\n")]


def test_every_split_of_what_is_read_gives_the_same(pipe):
    pipe.put("one\n")
    pipe.put("two" * ROOM + "\n")
    data = os.read(pipe.reading, 1 << 20)
    for at in range(0, len(data), 97):
        reader = Reader()
        messages = [*reader.feed(data[:at]), *reader.feed(data[at:])]
        assert [message.data for message in messages] == [b"one\n", b"two" * ROOM + b"\n"]


def test_messages_of_several_writers_are_not_mixed(pipe):
    """Their packets are: A1 B1 A2 B2."""
    packets = []
    for pid, letter in ((1, b"a"), (2, b"b")):
        packets += [HEAD.pack(MAGIC, pid, 7, 3, 0) + letter * 3, HEAD.pack(MAGIC, pid, 7, 1, pipes.LAST) + b"\n"]
    reader = Reader()
    got = [*reader.feed(packets[0] + packets[2] + packets[3] + packets[1])]
    assert [message.data for message in got] == [b"bbb\n", b"aaa\n"]


def test_a_full_pipe_loses_and_counts_and_says_so_when_there_is_room(pipe):
    fill(pipe)
    lost = pipe.lost
    assert lost
    assert [pipe.put("lost\n") for _ in range(3)] == [False] * 3
    assert pipe.lost >= lost + 3
    count = pipe.lost
    taken(pipe)
    assert pipe.put("there is room\n")
    assert pipe.lost == 0
    assert taken(pipe) == [
        (0, f"greenhttp: {count} log messages were lost: {pipes.WHY_LOST}\n"), (0, "there is room\n")
    ]  # fmt: skip


def test_a_message_whose_end_was_lost_is_shown_as_far_as_it_came(pipe):
    fill(pipe)
    reader = Reader()
    assert [*reader.feed(os.read(pipe.reading, 8 * 4096))]  # room for some packets
    assert not pipe.put("z" * 20 * ROOM)
    got = taken(pipe, reader, everything=True)
    assert got[-1][1].startswith("zzz")
    assert got[-1][1].endswith("z ... (the rest was lost)\n")


def test_a_closed_pipe_loses(pipe):
    pipe.close()
    assert not pipe.put("gone\n")
    assert pipe.lost == 1


@pytest.mark.parametrize("rubbish", [b"what is this\n" * 5, b"\x00" * 40, MAGIC + b"\xff" * 40])
def test_what_somebody_else_writes_into_it_disturbs_no_message(pipe, rubbish):
    pipe.put("one\n")
    os.write(pipe.writing, rubbish)
    pipe.put("two\n")
    got = [text for _, text in [*taken_bytes(pipe)]]
    assert got[0] == b"one\n"
    assert got[-1] == b"two\n"
    assert b"".join(got[1:-1]) == rubbish


def taken_bytes(pipe):
    return [(message.flags, message.data) for message in Reader().feed(os.read(pipe.reading, 1 << 20))]


def test_parts_without_an_end_are_bounded(pipe):
    reader = Reader()
    packets = b"".join(HEAD.pack(MAGIC, 1, serial, 1, 0) + b"x" for serial in range(pipes.MOST_PARTS + 5))
    assert len([*reader.feed(packets)]) == 5


def test_the_end_is_meant_for_one_reader_or_for_any(pipe):
    for process, ended in ((0, True), (os.getpid(), True), (os.getpid() + 1, False)):
        reader = Reader()
        pipe.end(process)
        assert taken(pipe, reader) == []
        assert reader.ended is ended
