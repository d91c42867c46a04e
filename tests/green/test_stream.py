"""green/stream.py and green/transport.py: one suite for every kind of stream."""

import errno
import fcntl
import gc
import os
import socket
import subprocess
import sys
import threading
import weakref
from contextlib import suppress

import gevent
import pytest
from gevent.event import Event
from hypothesis import given, settings
from hypothesis import strategies as st

from greenhttp.errors import GreenError, LineTooLong, StreamClosed, StreamTimeout
from greenhttp.green.stream import Stream
from greenhttp.green.transport import MemoryStream, SocketStream, connect
from greenhttp.testing import every_split
from tests.green.green import KINDS, SOCKETS, Background, listener, open_stream, turn, turns, until
from tests.green.test_listener import ipv6

HIGH_WATER = 65536
SHARE_BYTES = 262144


def marked(kinds):
    return [pytest.param(kind, marks=ipv6 if kind.startswith("tcp6") else ()) for kind in kinds]


every_kind = pytest.mark.parametrize("kind", marked(KINDS))
every_socket = pytest.mark.parametrize("kind", marked(SOCKETS))


@pytest.fixture(autouse=True)
def in_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def noise(size: int) -> bytes:
    """Bytes in which a misplaced one shows."""
    return b"".join(b"%07d," % i for i in range(size // 8 + 1))[:size]


# ---- reading


@every_kind
def test_read_waits_for_all_it_was_asked_for(kind):
    with open_stream(kind, [b"ab", b"c", b"defg"]) as (stream, _):
        assert stream.read(4) == b"abcd"
        assert stream.read(0) == b""
        assert stream.read(10) == b"efg"
        assert stream.read(10) == b""


@every_kind
def test_read_without_a_size_reads_to_the_end(kind):
    data = noise(300_000)
    with open_stream(kind, [data[:5], data[5:]]) as (stream, _):
        assert stream.read() == data
        assert stream.read() == b""
        assert stream.read(-1) == b""


@every_kind
def test_read_some_returns_what_is_there(kind):
    with open_stream(kind, [b"abc", b"de"]) as (stream, _):
        assert stream.read_some(2) == b"ab"
        assert stream.buffered == 1
        assert stream.read_some(0) == b""
        assert stream.read_some(2) == b"c"
        assert stream.read_some() == b"de"
        assert stream.read_some() == b""


@every_kind
def test_lines_whatever_way_they_arrive(kind):
    data = b"a\n\nlong line\r\nlast"
    for pieces in every_split(data):
        with open_stream(kind, pieces) as (stream, _):
            assert list(stream) == [b"a\n", b"\n", b"long line\r\n", b"last"], pieces
            assert stream.readline() == b""


@every_kind
def test_readuntil_a_separator_that_is_split_over_reads(kind):
    data = b"a\r\n\r\n\r\rb\r\n\r\n\r\n"
    for pieces in every_split(data):
        with open_stream(kind, pieces) as (stream, _):
            got = [stream.readuntil(b"\r\n\r\n") for _ in range(4)]
            assert got == [b"a\r\n\r\n", b"\r\rb\r\n\r\n", b"\r\n", b""], pieces


@every_kind
def test_readexactly_whatever_way_it_arrives(kind):
    data = b"0123456789"
    for pieces in every_split(data):
        with open_stream(kind, pieces) as (stream, _):
            assert stream.readexactly(3) == b"012", pieces
            assert stream.readexactly(0) == b""
            with pytest.raises(EOFError, match="after 7 of 8 bytes"):
                stream.readexactly(8)
            assert stream.readexactly(7) == b"3456789", pieces
            with pytest.raises(EOFError, match="after 0 of 1 bytes"):
                stream.readexactly(1)


@every_kind
def test_a_line_that_is_too_long_stays_readable(kind):
    for pieces in every_split(b"0123456789\nab\n"):
        with open_stream(kind, pieces) as (stream, _):
            for _ in range(2):
                with pytest.raises(LineTooLong, match="within 10 bytes"):
                    stream.readline(10)
            assert stream.readline(11) == b"0123456789\n", pieces
            assert stream.readline(3) == b"ab\n"


@every_kind
def test_a_line_longer_than_a_buffer(kind):
    line = b"x" * 100_000 + b"\n"
    with open_stream(kind, [line, b"y\n"]) as (stream, _):
        with pytest.raises(LineTooLong):
            stream.readline()
        assert stream.readline(200_000) == line
        assert stream.readline() == b"y\n"


@every_kind
def test_readuntil_needs_a_separator(kind):
    with open_stream(kind) as (stream, _), pytest.raises(ValueError, match="empty"):
        stream.readuntil(b"")


OPERATIONS = st.one_of(
    st.tuples(st.just("read"), st.integers(0, 40)),
    st.tuples(st.just("read_some"), st.integers(1, 40)),
    st.tuples(st.just("readexactly"), st.integers(0, 40)),
    st.tuples(st.just("readline"), st.integers(1, 40)),
    st.tuples(st.just("readuntil"), st.sampled_from([b"\n", b"ab", b"aab", b"\n\n"]), st.integers(1, 40)),
)


def expected(rest: bytes, operation: str, *arguments):
    """The model: what an operation on unread input `rest` gives, or the error it raises."""
    if operation == "read":
        return rest[: arguments[0]]
    if operation == "readexactly":
        return rest[: arguments[0]] if len(rest) >= arguments[0] else EOFError
    separator, limit = arguments if operation == "readuntil" else (b"\n", *arguments)
    at = rest.find(separator)
    if at >= 0 and at + len(separator) <= limit:
        return rest[: at + len(separator)]
    return LineTooLong if len(rest) >= limit else rest


@pytest.mark.parametrize("kind", ["memory", "socketpair"])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    pieces=st.lists(st.text("ab\n", min_size=1, max_size=30).map(str.encode), min_size=1, max_size=6),
    operations=st.lists(OPERATIONS, max_size=12),
)
def test_reading_agrees_with_a_model(kind, pieces, operations):
    rest = b"".join(pieces)
    with open_stream(kind, pieces) as (stream, _):
        for name, *arguments in operations:
            if name == "read_some":
                got = stream.read_some(*arguments)
                assert rest.startswith(got) and len(got) <= arguments[0] and bool(got) == bool(rest)
            else:
                want = expected(rest, name, *arguments)
                if isinstance(want, type):
                    with pytest.raises(want):
                        getattr(stream, name)(*arguments)
                    continue
                got = getattr(stream, name)(*arguments)
                assert got == want, (name, arguments)
            rest = rest[len(got) :]
        assert stream.read() == rest


# ---- writing


@every_kind
def test_written_bytes_arrive_in_order(kind):
    pieces = [b"a" * 10, b"b" * 5000, bytearray(b"c" * 10), memoryview(b"d" * 9000), b"", b"e"]
    with open_stream(kind) as (stream, peer):
        for piece in pieces:
            stream.write(piece)
        stream.writelines(pieces)
        stream.writelines(iter([b"f", b"g"]))
        stream.flush()
        assert stream.unsent == 0
        whole = b"".join(bytes(piece) for piece in pieces)
        assert peer.receive(2 * len(whole) + 2) == 2 * whole + b"fg"


@every_kind
def test_what_can_change_is_copied(kind):
    with open_stream(kind) as (stream, peer):
        small, large = bytearray(b"a" * 10), bytearray(b"b" * 9000)
        stream.writelines([small, memoryview(large)])
        small[:] = b"x" * 10
        large[:] = b"y" * 9000
        stream.flush()
        assert peer.receive(9010) == b"a" * 10 + b"b" * 9000


@every_kind
def test_more_pieces_than_one_call_sends(kind):
    # Past the limit of pieces per call, small ones between large ones: 3,000 chained pieces.
    pieces = [noise(4097) if i % 2 else b"%d|" % i for i in range(3000)]
    with open_stream(kind) as (stream, peer):
        sending = Background(lambda: (stream.writelines(pieces), stream.flush()))
        whole = b"".join(pieces)
        assert peer.receive(len(whole)) == whole
        sending.result()


@every_kind
@pytest.mark.parametrize("size", [1, 4096, 4097, 16384, 16385, 65536, 65537, 1_000_000])
def test_one_write_of_any_size(kind, size):
    data = noise(size)
    with open_stream(kind) as (stream, peer):
        sending = Background(stream.write, data)
        assert peer.receive(size) == data
        sending.result()
        turn()
        assert stream.unsent == 0


@every_kind
def test_only_bytes_can_be_written(kind):
    with open_stream(kind) as (stream, peer):
        for wrong in ("text", None, 5):
            with pytest.raises(TypeError):
                stream.write(wrong)
            with pytest.raises(TypeError):
                stream.writelines([wrong])
        with pytest.raises(TypeError, match=r"a stream takes bytes, not str; give text.encode\(\)"):
            stream.write("text")
        stream.write(b"ok")
        assert peer.receive(2) == b"ok"


@every_kind
def test_output_leaves_at_the_end_of_the_turn(kind):
    with open_stream(kind) as (stream, peer):
        stream.write(b"a")
        stream.write(b"b")
        assert stream.unsent == 2
        turn()
        assert stream.unsent == 0
        assert peer.receive(2) == b"ab"


@every_kind
def test_output_leaves_before_a_read_suspends(kind):
    with open_stream(kind) as (stream, peer):
        reading = Background(lambda: (stream.write(b"question"), stream.read(6)))
        assert peer.receive(8) == b"question"
        peer.send(b"answer")
        assert reading.result()[1] == b"answer"


@every_socket
def test_output_leaves_by_itself_after_a_flush_that_took_over(kind):
    with open_stream(kind, small=True) as (stream, peer):
        size = 0
        while not stream.unsent:  # until the system takes no more and the loop pushes the rest
            stream.write(b"x" * 60_000)
            size += 60_000
            turn()
        flushing = Background(stream.flush)
        turn()
        assert not flushing.ended
        assert peer.receive(size) == b"x" * size
        flushing.result()
        stream.write(b"end")
        turns()
        assert stream.unsent == 0
        assert peer.receive(3) == b"end"


@every_socket
def test_back_pressure_begins_beyond_64_kib(kind):
    with open_stream(kind, small=True) as (stream, peer):
        sending = Background(stream.write, b"x" * 8_000_000)
        turns()
        assert not sending.ended
        assert stream.unsent > HIGH_WATER
        before = stream.unsent
        assert len(peer.receive(8_000_000 - HIGH_WATER)) == 8_000_000 - HIGH_WATER
        sending.result()
        assert stream.unsent <= HIGH_WATER < before
        # What is less leaves without anybody waiting.
        assert peer.receive(HIGH_WATER) == b"x" * HIGH_WATER
        until(lambda: stream.unsent == 0)


def test_a_write_waits_only_beyond_64_kib():
    stream = MemoryStream(keep_open=True, window=0)
    stream.write(b"x" * HIGH_WATER)
    assert stream.unsent == HIGH_WATER
    with pytest.raises(StreamTimeout):
        stream.write(b"x", timeout=0)
    assert stream.unsent == HIGH_WATER + 1
    with pytest.raises(StreamTimeout):
        stream.flush(timeout=0)
    stream.abort()


@every_socket
def test_what_a_timed_out_write_left_leaves_when_the_peer_reads_again(kind):
    data = noise(8_000_000)
    with open_stream(kind, small=True) as (stream, peer):
        with pytest.raises(StreamTimeout):
            stream.write(data, timeout=0)
        assert stream.unsent
        assert peer.receive(len(data)) == data
        until(lambda: stream.unsent == 0)


def test_small_pieces_that_fill_more_than_one_buffer():
    with open_stream("memory") as (stream, _):
        pieces = [noise(4000)[i:] for i in range(10)]
        stream.writelines(pieces)
        stream.flush()
        assert stream.outgoing == b"".join(pieces)
        assert stream.gives == 1


def test_output_that_nobody_waited_for_and_that_was_lost_is_told_to_the_next_writer():
    with open_stream("socketpair") as (stream, peer):
        peer.close()
        stream.write(b"lost")
        until(lambda: stream.unsent == 0)
        for operation in (lambda: stream.write(b"x"), stream.flush):
            with pytest.raises(StreamClosed, match="nothing more can be sent"):
                operation()


def test_the_same_when_the_peer_goes_while_the_loop_pushes():
    with open_stream("socketpair", small=True) as (stream, peer):
        with pytest.raises(StreamTimeout):
            stream.write(b"x" * 8_000_000, timeout=0)
        before = stream.unsent
        peer.receive(2_000_000)
        until(lambda: stream.unsent < before)
        assert stream.unsent
        peer.close()
        until(lambda: stream.unsent == 0)
        with pytest.raises(StreamClosed, match="nothing more can be sent"):
            stream.write(b"x")


def test_more_streams_than_there_are_buffers_to_keep():
    streams = [MemoryStream([b"%d\n" % i, b"rest"]) for i in range(300)]
    for stream in streams:
        stream.write(b"x")
    assert [stream.readline() for stream in streams] == [b"%d\n" % i for i in range(300)]
    assert [stream.read() for stream in streams] == [b"rest"] * 300
    for stream in streams:
        stream.close()
    assert [bytes(stream.outgoing) for stream in streams] == [b"x"] * 300


# ---- files


@pytest.fixture
def file(tmp_path):
    data = noise(1_500_000)
    (tmp_path / "f").write_bytes(data)
    with open(tmp_path / "f", "rb") as file:
        yield file, data


@every_kind
def test_sendfile_sends_a_range_between_writes(kind, file):
    file, data = file
    with open_stream(kind) as (stream, peer):

        def send():
            stream.write(b"<")
            assert stream.sendfile(file, 10, 20) == 20
            stream.write(b"|")
            assert stream.sendfile(file, 1_000_000) == 500_000
            assert stream.sendfile(file, 1_499_990, 1000) == 10
            assert stream.sendfile(file, 0, 0) == 0
            assert stream.sendfile(file, 2_000_000) == 0
            assert stream.sendfile(file, 2_000_000, 5) == 0
            stream.write(b">")
            stream.flush()

        sending = Background(send)
        whole = b"<" + data[10:30] + b"|" + data[1_000_000:] + data[1_499_990:] + b">"
        assert peer.receive(len(whole)) == whole
        sending.result()
        assert file.tell() == 0


@every_kind
def test_sendfile_to_a_slow_reader(kind, file):
    file, data = file
    with open_stream(kind, small=True) as (stream, peer):
        sending = Background(stream.sendfile, file)
        received = b""
        while len(received) < len(data):
            received += peer.receive(min(50_000, len(data) - len(received)))
        assert received == data
        assert sending.result() == len(data)
        assert stream.unsent == 0


@every_kind
def test_sendfile_of_a_file_that_shrinks(kind, tmp_path):
    path = tmp_path / "shrinks"
    path.write_bytes(b"x" * 16_000_000)
    with open(path, "rb") as file, open_stream(kind, small=True) as (stream, peer):
        sending = Background(stream.sendfile, file)
        turn()
        assert not sending.ended
        os.truncate(path, 1000)
        receiving = Background(peer.receive_all)
        with pytest.raises(StreamClosed, match="the file ended before all announced"):
            sending.result()
        stream.abort()
        with suppress(ConnectionResetError):
            receiving.result()


@pytest.mark.skipif(sys.platform != "linux", reason="how Linux refuses a sendfile is used")
@pytest.mark.parametrize("kind", ["socketpair", "tcp4 connected"])
def test_where_sendfile_cannot_be_the_file_is_read_instead(kind, file):
    file, data = file
    with open_stream(kind) as (stream, peer):
        flags = fcntl.fcntl(stream.fileno(), fcntl.F_GETFL)
        fcntl.fcntl(stream.fileno(), fcntl.F_SETFL, flags | os.O_APPEND)  # EINVAL, says sendfile(2)
        sending = Background(stream.sendfile, file, 10, 100_000)
        assert peer.receive(100_000) == data[10:100_010]
        assert sending.result() == 100_000


def test_sendfile_to_a_peer_that_has_gone(file):
    with open_stream("socketpair") as (stream, peer):
        peer.close()
        with pytest.raises(ConnectionError):
            stream.sendfile(file[0])
        assert stream.failed


@every_kind
def test_sendfile_without_a_file(kind):
    with open_stream(kind) as (stream, _), pytest.raises(AttributeError):
        stream.sendfile(b"bytes")


# ---- the end


@every_kind
def test_half_closed_is_still_readable(kind):
    with open_stream(kind) as (stream, peer):
        stream.write(b"last words")
        stream.shutdown()
        assert peer.receive_all() == b"last words"
        peer.send(b"answer")
        assert stream.read(6) == b"answer"


@every_kind
def test_closing_sends_what_is_left_and_is_idempotent(kind):
    with open_stream(kind) as (stream, peer):
        stream.write(b"last words")
        stream.close()
        assert stream.closed
        stream.close()
        stream.abort()
        assert peer.receive_all() == b"last words"


@every_socket
def test_closing_waits_for_a_slow_reader(kind):
    data = noise(4_000_000)
    with open_stream(kind, small=True) as (stream, peer):
        closing = Background(lambda: (stream.writelines([data]), stream.close()))
        assert peer.receive_all() == data
        closing.result()


@every_socket
def test_abort_is_seen_as_a_reset(kind):
    with open_stream(kind) as (stream, peer):
        stream.write(b"lost")
        stream.abort()
        assert stream.closed
        assert stream.fileno() == -1
        stream.abort()
        stream.close()
        if kind == "socketpair" or kind.startswith("unix"):
            assert peer.receive_all() == b""  # a UNIX socket knows no reset
        else:
            with pytest.raises(ConnectionResetError):
                peer.receive_all()


def test_memory_remembers_how_it_ended():
    for end, how in [("close", (False, False)), ("abort", (False, True)), ("shutdown", (True, False))]:
        stream = MemoryStream()
        getattr(stream, end)()
        assert (stream.hung_up, stream.reset) == how
        stream.close()


@every_socket
def test_a_reset_of_the_peer_is_raised_where_it_is_met(kind):
    with open_stream(kind) as (stream, peer):
        reading = Background(stream.read, 1)
        turn()
        peer.send(b"")
        peer.reset()
        if kind == "socketpair" or kind.startswith("unix"):
            assert reading.result() == b""
        else:
            with pytest.raises(ConnectionResetError):
                reading.result()
            assert stream.failed
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(3):
                stream.write(b"x")
                stream.flush()
        assert stream.failed


CLOSED = {
    "read": lambda stream: stream.read(1),
    "read to the end": lambda stream: stream.read(),
    "read_some": lambda stream: stream.read_some(),
    "readexactly": lambda stream: stream.readexactly(1),
    "readline": lambda stream: stream.readline(),
    "readuntil": lambda stream: stream.readuntil(b"x"),
    "next": next,
    "write": lambda stream: stream.write(b"x"),
    "write nothing": lambda stream: stream.write(b""),
    "writelines": lambda stream: stream.writelines([b"x"]),
    "flush": lambda stream: stream.flush(),
    "shutdown": lambda stream: stream.shutdown(),
}


@every_kind
@pytest.mark.parametrize("ended", [False, True], ids=["silent peer", "peer has finished"])
@pytest.mark.parametrize("operation", CLOSED)
def test_nothing_goes_through_a_closed_stream(kind, operation, ended):
    with open_stream(kind, [b"abc\n"], end=ended) as (stream, _):
        assert stream.read(4) == b"abc\n"
        if ended:
            assert stream.read() == b""
        stream.close()
        with pytest.raises(StreamClosed):
            CLOSED[operation](stream)
        assert (stream.buffered, stream.unsent) == (0, 0)


@every_kind
def test_sendfile_on_a_closed_stream_keeps_nothing_of_the_file(kind, file):
    file, _ = file
    with open_stream(kind) as (stream, _):
        stream.close()
        with pytest.raises(StreamClosed):
            stream.sendfile(file)
        assert stream.unsent == 0


@every_kind
def test_with_closes_at_the_end_and_aborts_on_an_error(kind):
    with open_stream(kind) as (stream, peer):
        with stream as same:
            assert same is stream
            stream.write(b"said")
        assert stream.closed
        assert peer.receive_all() == b"said"
    with open_stream(kind) as (stream, peer):
        with pytest.raises(KeyError), stream:
            stream.write(b"not said")
            raise KeyError
        assert stream.closed
        with suppress(ConnectionResetError):
            assert peer.receive_all() == b""


@every_kind
@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("size", [3, 100_000])
def test_a_reader_is_woken_when_another_green_thread_closes(kind, end, size):
    with open_stream(kind) as (stream, _):
        reading = Background(stream.read, size)
        turn()
        getattr(stream, end)()
        with pytest.raises(StreamClosed):
            reading.result()


@every_socket
def test_a_writer_is_woken_when_another_green_thread_aborts(kind):
    with open_stream(kind, small=True) as (stream, _):
        writing = Background(stream.write, b"x" * 8_000_000)
        turns()
        assert not writing.ended
        stream.abort()
        with pytest.raises(StreamClosed):
            writing.result()


@every_socket
def test_reader_and_writer_are_both_woken(kind):
    with open_stream(kind, small=True) as (stream, _):
        writing = Background(stream.write, b"x" * 8_000_000)
        turns()
        reading = Background(stream.read)
        turns()
        stream.abort()
        for side in (reading, writing):
            with pytest.raises(StreamClosed):
                side.result()


@pytest.mark.parametrize("waited", [False, True])
def test_a_dropped_stream_closes_its_descriptor(waited):
    ours, theirs = socket.socketpair()
    with theirs:
        stream = SocketStream(ours)
        fd = stream.fileno()
        if waited:
            with pytest.raises(StreamTimeout):
                stream.read(1, timeout=0)
            theirs.send(b"x")
            turns()  # nobody is interested: the watcher, which holds the stream, is stopped
        del stream
        gc.collect()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
        # libuv: nothing is left that the next owner of this descriptor would be given.
        assert fd not in getattr(gevent.get_hub().loop, "_io_watchers", {})


@every_kind
def test_the_peer(kind):
    with open_stream(kind) as (stream, peer):
        if kind.startswith("tcp"):
            assert stream.peer == peer.sock.getsockname()[:2]
        else:
            assert stream.peer == ""
        before = stream.peer
        stream.close()
        assert stream.peer == before


def test_a_stream_is_made_of_a_connected_socket():
    with pytest.raises(TypeError, match="connect"):
        SocketStream()
    ours, theirs = socket.socketpair()
    stream = SocketStream(ours)
    assert ours.fileno() == -1
    assert not os.get_blocking(stream.fileno())
    assert isinstance(stream, Stream)
    stream.close()
    theirs.close()


def test_a_stream_of_a_socket_that_is_not_connected_has_no_peer_and_says_why_it_cannot_read():
    with SocketStream(socket.socket()) as stream:
        assert stream.peer == ""
        with pytest.raises(OSError) as caught:
            stream.read(1)
        assert caught.value.errno == errno.ENOTCONN


def test_the_base_of_streams_leads_nowhere():
    stream = Stream()
    for operation in (stream.read, stream.shutdown, lambda: stream.write(b"x") or stream.flush()):
        with pytest.raises(NotImplementedError):
            operation()
    with pytest.raises(NotImplementedError):
        stream.abort()


def test_what_is_sent_to_a_closed_stream_in_memory_does_not_arrive():
    stream = MemoryStream(keep_open=True)
    stream.send(b"late")
    stream.abort()
    turns()
    assert stream.buffered == 0
    with pytest.raises(StreamClosed):
        stream.read(1)


# ---- timeouts


@every_kind
@pytest.mark.parametrize("way", ["argument", "attribute"])
@pytest.mark.parametrize(
    "operation",
    [
        lambda stream, **kw: stream.read(10, **kw),
        lambda stream, **kw: stream.read(1_000_000, **kw),
        lambda stream, **kw: stream.read(**kw),
        lambda stream, **kw: stream.readexactly(10, **kw),
        lambda stream, **kw: stream.readline(**kw),
        lambda stream, **kw: stream.readuntil(b"xx", **kw),
    ],
    ids=["read", "read large", "read to the end", "readexactly", "readline", "readuntil"],
)
def test_a_timed_out_read_loses_nothing(kind, operation, way):
    with open_stream(kind) as (stream, peer):
        peer.send(b"ab")
        assert stream.read(1) == b"a"
        peer.send(b"cd")
        if way == "attribute":
            stream.timeout = 0.001
        for _ in range(2):
            with pytest.raises(StreamTimeout) as caught:
                operation(stream, **({"timeout": 0.001} if way == "argument" else {}))
            assert isinstance(caught.value, (GreenError, TimeoutError))
        stream.timeout = None
        peer.send(b"ef")
        assert stream.read(5) == b"bcdef"


@every_kind
def test_the_argument_overrides_the_attribute(kind):
    with open_stream(kind) as (stream, peer):
        stream.timeout = 1e-9
        reading = Background(stream.read_some, timeout=60)
        turns()
        assert not reading.ended
        peer.send(b"x")
        assert reading.result() == b"x"
        with pytest.raises(StreamTimeout):
            next(stream)


@every_kind
def test_what_is_buffered_needs_no_time(kind):
    with open_stream(kind, [b"a\nb\n"], end=False) as (stream, _):
        assert stream.readline() == b"a\n"
        assert stream.readline(timeout=0) == b"b\n"
        with pytest.raises(StreamTimeout):
            stream.readline(timeout=0)


@every_kind
def test_a_foreign_timeout_loses_nothing_either(kind):
    with open_stream(kind, [b"ab"], end=False) as (stream, peer):
        reading = Background(stream.read, 1_000_000)
        turns(10)
        reading.interrupt(gevent.Timeout())
        with pytest.raises(gevent.Timeout):
            reading.result()
        peer.send(b"cd")
        assert stream.read(4) == b"abcd"


def test_a_read_interrupted_while_it_lets_others_go_first_loses_nothing():
    data = noise(2_000_000)
    stream = MemoryStream([data])
    reading = Background(stream.read)
    # It has read 256 KiB, lets others run, and one of these interrupts it.
    gevent.sleep(0)
    assert not reading.ended
    reading.interrupt(gevent.Timeout())
    with pytest.raises(gevent.Timeout):
        reading.result()
    assert stream.read() == data


# ---- two at a time


@every_kind
def test_two_readers_are_an_error_and_the_first_is_not_disturbed(kind):
    with open_stream(kind) as (stream, peer):
        reading = Background(stream.read, 4)
        turn()
        for second in (stream.read, stream.read_some, stream.readline):
            with pytest.raises(RuntimeError, match="already reading"):
                second()
        peer.send(b"abcd")
        assert reading.result() == b"abcd"


@every_kind
def test_a_second_reader_does_not_take_the_deadline_of_the_first(kind):
    with open_stream(kind) as (stream, _):
        reading = Background(stream.read, 4, timeout=0.02)
        turn()
        with pytest.raises(RuntimeError):
            stream.read(1)
        with pytest.raises(StreamTimeout):
            reading.result()


@every_socket
def test_a_second_writer_does_not_take_the_deadline_of_the_first(kind):
    with open_stream(kind, small=True) as (stream, _):
        writing = Background(stream.write, b"x" * 8_000_000, timeout=0.3)
        turns()
        for second in (lambda: stream.write(b"y"), stream.flush):
            with pytest.raises(RuntimeError, match="already writing"):
                second()
        with pytest.raises(StreamTimeout):
            writing.result()


@every_socket
def test_a_reader_and_a_writer_at_the_same_time(kind):
    data = noise(3_000_000)
    with open_stream(kind, small=True) as (stream, peer):
        reading = Background(stream.read, len(data))
        writing = Background(lambda: (stream.write(data), stream.flush()))
        sending = Background(peer.send, data)
        assert peer.receive(len(data)) == data
        assert reading.result() == data
        writing.result()
        sending.result()


# ---- sharing the loop


@every_kind
def test_only_the_running_green_thread_waits(kind):
    with open_stream(kind) as (stream, peer):
        reading = Background(stream.read, 1)
        with open_stream("socketpair", [b"progress"]) as (other, _):
            assert other.read() == b"progress"
        assert not reading.ended
        peer.send(b"x")
        assert reading.result() == b"x"


def test_a_reader_of_much_lets_others_go_first():
    """Also those whose descriptors have become ready, for which the loop must poll."""
    stream = MemoryStream([b"x" * 100_000_000])
    read = 0

    def reader():
        nonlocal read
        while data := stream.read_some():
            read += len(data)

    with open_stream("socketpair", end=False) as (other, peer):
        waiting = Background(lambda: (other.read(1), read)[1])
        turns()
        reading = Background(reader)
        peer.sock.send(b"x")
        at = waiting.result()
        assert at <= 3 * SHARE_BYTES
        reading.greenlet.kill()


def test_a_writer_of_much_lets_others_go_first():
    stream = MemoryStream(keep_open=True)
    written = 0

    def writer():
        nonlocal written
        while True:
            stream.write(b"x" * 10_000)
            written += 10_000
            stream.outgoing.clear()

    with open_stream("socketpair", end=False) as (other, peer):
        waiting = Background(lambda: (other.read(1), written)[1])
        turns()
        writing = Background(writer)
        peer.sock.send(b"x")
        assert waiting.result() <= 3 * SHARE_BYTES
        writing.greenlet.kill()


def test_sixteen_operations_then_others_run():
    """Many small ones count as much as few large ones."""
    stream = MemoryStream(keep_open=True)
    flushed = 0

    def writer():
        nonlocal flushed
        while True:
            stream.write(b"x")
            stream.flush()
            flushed += 1

    with open_stream("socketpair", end=False) as (other, peer):
        waiting = Background(lambda: (other.read(1), flushed)[1])
        turns()
        writing = Background(writer)
        peer.sock.send(b"x")
        assert 0 < waiting.result() <= 3 * 16
        writing.greenlet.kill()


# ---- in the hub


@every_kind
def test_a_callback_of_the_loop_cannot_wait(kind):
    caught = []

    def callback():
        for operation in (stream.read_some, lambda: stream.write(b"x" * 16_000_000)):
            with pytest.raises(RuntimeError, match="callback of the loop"):
                operation()
            caught.append(operation)

    with open_stream(kind, small=True) as (stream, _):
        if kind == "memory":
            stream.abort()
            stream = MemoryStream(keep_open=True, window=0)
        gevent.get_hub().loop.run_callback(callback)
        until(lambda: len(caught) == 2)
        stream.abort()


def test_a_callback_that_need_not_wait_reads_all_that_is_there():
    got = []

    def callback():
        for _ in range(100):
            got.append(stream.read(1))

    stream = MemoryStream([b"x" * 100], keep_open=True)
    gevent.get_hub().loop.run_callback(callback)
    until(lambda: got)
    assert got == [b"x"] * 100
    stream.abort()


# ---- the main green thread

ALONE = """
import socket, subprocess, sys
from greenhttp.green.transport import SocketStream
ours, theirs = socket.socketpair()
begin = "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); sys.stdin.read(1)\\n"
command = [sys.executable, "-c", begin + sys.argv[1], str(theirs.fileno())]
with subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.PIPE) as peer:
    theirs.close()
    stream = SocketStream(ours)
    peer.stdin.write(b"x")
    peer.stdin.flush()
    exec(sys.argv[2])
"""


@pytest.mark.parametrize(
    ("peer", "ours"),
    [
        ("s.sendall(b'hello')", "assert stream.read() == b'hello'"),
        ("n = 0\nwhile n < 8000000: n += len(s.recv(65536))", "stream.write(b'x' * 8000000); stream.flush()"),
    ],
    ids=["read", "write"],
)
def test_a_wait_keeps_the_loop_going_though_nothing_else_does(peer, ours):
    """A script that has one stream and nothing else must not be told that it would block forever."""
    subprocess.run([sys.executable, "-W", "error", "-c", ALONE, peer, ours], check=True, timeout=60)


# ---- connect


@pytest.fixture
def serving():
    """listener(kind), closed at the end."""
    opened = []

    def serve(kind):
        sock, name = listener(kind, ".")
        opened.append(sock)
        return sock, name

    yield serve
    for sock in opened:
        sock.close()


@pytest.mark.parametrize("kind", marked(["tcp4", "tcp6", "unix"]))
def test_connect(kind, serving):
    sock, name = serving(kind)
    with connect(name) as stream:
        other, address = sock.accept()
        with other:
            other.sendall(b"hello")
            assert stream.read(5) == b"hello"
            assert stream.peer == ("" if kind == "unix" else sock.getsockname()[:2])
            if kind != "unix":
                with socket.socket(fileno=os.dup(stream.fileno())) as same:
                    assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                    assert not same.get_inheritable()


def test_connect_resolves_names_through_the_hub(serving):
    sock, name = serving("tcp4")
    with connect(name.replace("127.0.0.1", "localhost"), timeout=30) as stream:
        assert stream.peer == sock.getsockname()


@pytest.mark.parametrize("address", ["", "host", "host:", ":80", "host:x", "host:٣", "host:-1", "[::1]"])
def test_connect_to_what_is_no_address(address):
    with pytest.raises(ValueError, match="give host:port"):
        connect(address)


@pytest.mark.parametrize("kind", marked(["tcp4", "tcp6", "unix"]))
def test_connect_is_refused(kind, serving):
    sock, name = serving(kind)
    sock.close()
    with pytest.raises(ConnectionRefusedError) as caught:
        connect(name)
    assert caught.value.errno == errno.ECONNREFUSED
    with pytest.raises(FileNotFoundError):
        connect("unix:nowhere")


class Resolver:
    """Answers what it was told; or waits until an event is set."""

    def __init__(self, answers, event=None):
        self.answers, self.event, self.asked = answers, event, []

    def getaddrinfo(self, host, port, family=0, socktype=0, proto=0, flags=0):
        self.asked.append((host, port))
        if self.event is not None:
            self.event.wait()
        return [(family, socktype, 6, "", address) for family, address in self.answers]


@pytest.fixture
def resolver(monkeypatch):
    def install(*arguments):
        made = Resolver(*arguments)
        monkeypatch.setattr(gevent.get_hub(), "resolver", made)
        return made

    return install


def test_connect_tries_every_address_in_turn(serving, resolver):
    refused, _ = serving("tcp4")
    sock, _ = serving("tcp4")
    addresses = [(socket.AF_INET, refused.getsockname()), (socket.AF_INET, sock.getsockname())]
    refused.close()
    asked = resolver(addresses).asked
    with connect("many.example:80") as stream:
        assert stream.peer == sock.getsockname()
    assert asked == [("many.example", 80)]
    resolver(addresses[:1] * 2)
    with pytest.raises(ConnectionRefusedError, match=r"many\.example:80"):
        connect("many.example:80")


def test_resolving_counts_towards_the_timeout_and_blocks_nobody_else(resolver):
    event = gevent.event.Event()
    resolver([], event)
    with pytest.raises(StreamTimeout, match=r"slow\.example:80 took more than 0\.01 s"):
        connect("slow.example:80", timeout=0.01)
    connecting = Background(connect, "slow.example:80")
    with open_stream("socketpair", [b"progress"]) as (other, _):
        assert other.read() == b"progress"
    assert not connecting.ended
    connecting.greenlet.kill()


@pytest.fixture
def full(serving):
    """A listener whose queue is full: the system drops what else would connect."""
    sock, name = serving("tcp4")
    sock.listen(0)
    clients = []
    for _ in range(4):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(sock.getsockname())
        clients.append(client)
    yield sock, name
    for client in clients:
        client.close()


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a full queue does")


@linux
def test_connect_times_out(full):
    _, name = full
    with pytest.raises(StreamTimeout, match="took more than"):
        connect(name, timeout=0.01)


@linux
def test_the_timeout_is_for_all_addresses_together(full, serving, resolver):
    sock, _ = full
    good, _ = serving("tcp4")
    resolver([(socket.AF_INET, sock.getsockname()), (socket.AF_INET, good.getsockname())])
    with pytest.raises(StreamTimeout):
        connect("many.example:80", timeout=0.01)


@linux
def test_a_unix_socket_whose_queue_is_full_is_waited_for(serving):
    sock, name = serving("unix")
    sock.listen(0)
    clients = []
    try:
        while True:
            client = socket.socket(socket.AF_UNIX)
            clients.append(client)
            client.setblocking(False)
            if client.connect_ex(sock.getsockname()):
                break
        with pytest.raises(StreamTimeout):
            connect(name, timeout=0.01)
        connecting = Background(connect, name)
        turns()
        assert not connecting.ended
        for _ in clients[:-1]:
            sock.accept()[0].close()
        with connecting.result() as stream:
            other, _ = sock.accept()
            with other:
                other.sendall(b"x")
                assert stream.read(1) == b"x"
    finally:
        for client in clients:
            client.close()


def test_nothing_is_left_of_streams():
    """Hundreds of streams that waited on both sides: no object and no descriptor stays."""
    gc.collect()
    descriptors = len(os.listdir("/dev/fd"))
    kept = []
    for _ in range(300):
        with open_stream("socketpair", [b"li", b"ne\n"]) as (stream, peer):
            reading = Background(stream.readline, timeout=60)
            stream.write(b"x")
            assert peer.receive(1) == b"x"
            assert reading.result() == b"line\n"
            kept.append(weakref.ref(reading.greenlet))
    del stream, peer, reading
    turns()
    gc.collect()
    assert not any(reference() for reference in kept)
    assert not [thing for thing in gc.get_objects() if type(thing) is SocketStream]
    assert len(os.listdir("/dev/fd")) == descriptors


def test_a_stream_closed_in_another_thread_leaves_that_threads_streams_alone():
    def pair():
        ours, theirs = socket.socketpair()
        return SocketStream(ours), theirs

    def read_after_waiting(stream, theirs):
        reading = Background(stream.read_some, timeout=30)
        turns()
        theirs.send(b"x")
        return reading.result()

    kept = []

    def other():
        stream, theirs = pair()
        assert read_after_waiting(stream, theirs) == b"x"
        kept.append((stream, theirs, gevent.get_hub()))  # with its loop, and the watcher in it

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    first, second = pair(), pair()
    assert read_after_waiting(*first) == b"x"
    ((stream, theirs, _),) = kept
    stream.close()
    assert read_after_waiting(*second) == b"x"
    for stream, peer in (first, second):
        stream.close()
        peer.close()
    theirs.close()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the collector runs between instructions of Python only")
def test_a_writer_that_begins_to_wait_while_a_reader_is_about_to_is_not_forgotten():
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    stream = SocketStream(ours)
    written = Event()
    size = 4_000_000

    class Slow:
        """Garbage whose end waits, as that of a database connection may."""

        def __init__(self):
            self.me = self

        def __del__(self):
            gc.set_threshold(*before)
            writer = Background(write)
            turns()
            assert not writer.ended

    def write():
        stream.write(b"x" * size)
        stream.flush()
        written.set()

    def read():
        gc.collect()
        gc.disable()
        Slow()
        gc.enable()
        gc.set_threshold(1)  # the next object that the collector knows: what the stream needs to wait
        return stream.read_some()

    before = gc.get_threshold()
    try:
        reader = Background(read)
        received = 0
        while not written.is_set() or received != size:
            with suppress(BlockingIOError):
                received += len(theirs.recv(1 << 20))
            assert received <= size
            turn()
        theirs.send(b"y")
        assert reader.result() == b"y"
    finally:
        gc.set_threshold(*before)
        stream.close()
        theirs.close()
