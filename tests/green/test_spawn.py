"""green/spawn.pyx: a green thread per connection, for any protocol, over real sockets."""

from __future__ import annotations

import contextlib
import logging
import os
import socket as constants
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import gevent.monkey
import pytest
from gevent import socket
from gevent.event import Event

import greenhttp
from greenhttp.errors import StreamClosed, StreamTimeout
from greenhttp.server import Server
from tests.green.green import turn, until

BIG = b"x" * 3_000_000  # more than two sockets hold
SLOW_READER = ": the peer read nothing for 0.05 s (write_timeout); its connection was aborted"


class Peer:
    """A client over a plain socket; its methods suspend one green thread."""

    def __init__(self, address: Any, receive_buffer: int | None = None) -> None:
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        if receive_buffer:
            self.sock.setsockopt(constants.SOL_SOCKET, constants.SO_RCVBUF, receive_buffer)
        try:
            self.sock.connect(address)
        except OSError:
            self.sock.close()
            raise

    def send(self, data: bytes) -> Peer:
        self.sock.sendall(data)
        return self

    def receive(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end."""
        data = b""
        while len(data) < size and (piece := self.sock.recv(size - len(data))):
            data += piece
        return data

    def rest(self) -> bytes:
        """Everything up to the end in good order; ConnectionResetError if it is another."""
        pieces = []
        while piece := self.sock.recv(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)

    def was_reset(self) -> bool:
        try:
            self.rest()
        except ConnectionResetError:
            return True
        return False

    def finish(self) -> Peer:
        self.sock.shutdown(constants.SHUT_WR)
        return self

    def reset(self) -> None:
        self.sock.setsockopt(constants.SOL_SOCKET, constants.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


class Serving:
    """A started server of a stream handler, its clients, and its log once it was written."""

    def __init__(self, server: Server, caplog: pytest.LogCaptureFixture) -> None:
        self.server = server
        self.caplog = caplog
        self.peers: list[Peer] = []

    def connect(self, **options: Any) -> Peer:
        self.peers.append(Peer(self.server.address, **options))
        return self.peers[-1]

    def count(self, name: str) -> int:
        return self.server.statistics()[name]

    def until(self, **counts: int) -> None:
        """Let the loop go on until the statistics say so."""
        until(lambda: counts.items() <= self.server.statistics().items())

    def log(self, entries: int) -> list[tuple[str, str]]:
        """(level, message) of all entries, once there are that many."""
        until(lambda: len(self.caplog.records) >= entries)
        return [(record.levelname, record.getMessage()) for record in self.caplog.records]


@pytest.fixture(params=["tcp", "unix"])
def serve(
    request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Serving]]:
    """serve(handler, **settings) -> Serving"""
    caplog.set_level(logging.INFO, "greenhttp")
    started: list[Serving] = []

    def start(handler: Any, **settings: Any) -> Serving:
        bind = "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/s{len(started)}"
        server = Server(handler, interface="stream", bind=bind, **settings)
        server.start()
        started.append(Serving(server, caplog))
        return started[-1]

    yield start
    for serving in started:
        for peer in serving.peers:
            peer.sock.close()
        serving.server.stop(0)
    gevent.idle()


@pytest.fixture
def tcp(request: pytest.FixtureRequest) -> bool:
    return bool(request.node.callspec.params["serve"] == "tcp")


def echo(stream: Any) -> None:
    for line in stream:
        stream.write(line)


# ---- while it goes well


def test_a_dialogue_as_if_it_blocked(serve: Any) -> None:
    def handler(stream: Any) -> None:
        stream.write(b"name?\n")
        name = stream.readline()
        stream.write(b"hello " + name)

    serving = serve(handler)
    peer = serving.connect()
    assert peer.receive(6) == b"name?\n"
    peer.send(b"you\n")
    assert peer.rest() == b"hello you\n"
    peer.sock.close()
    serving.until(connections=0, served=1, running=0)
    assert serving.log(0) == []


def test_fifty_handlers_are_inside_at_once(serve: Any) -> None:
    inside, everybody = [], Event()

    def handler(stream: Any) -> None:
        inside.append(stream)
        if len(inside) == 50:
            everybody.set()
        everybody.wait()
        stream.write(b"%d" % len(inside))

    serving = serve(handler)
    peers = [serving.connect() for _ in range(50)]
    assert [peer.rest() for peer in peers] == [b"50"] * 50


def test_what_was_sent_at_once_and_byte_by_byte(serve: Any) -> None:
    serving = serve(echo)
    data = b"one\ntwo\n\nthree"
    assert serving.connect().send(data).finish().rest() == data
    peer = serving.connect()
    for n in range(len(data)):
        peer.send(data[n : n + 1])
    assert peer.finish().rest() == data


def test_a_stream_says_who_its_peer_is(serve: Any, tcp: bool) -> None:
    serving = serve(lambda stream: stream.write(repr(stream.peer).encode()))
    peer = serving.connect()
    assert peer.rest() == repr(peer.sock.getsockname() if tcp else "").encode()


def test_connections_follow_each_other_in_few_green_threads(serve: Any) -> None:
    serving = serve(echo)
    for n in range(50):
        assert serving.connect().send(b"%d" % n).finish().rest() == b"%d" % n
    serving.until(connections=0, served=50)
    assert serving.count("pool_started") <= 2


# ---- the handler returns


@pytest.mark.parametrize("unread", [b"", b"never read", b"x" * 100_000])
@pytest.mark.parametrize("size", [0, 1, 60_000, 100_000, len(BIG)])
def test_the_peer_gets_all_and_an_end_also_if_it_has_sent_unread_bytes(serve: Any, size: int, unread: bytes) -> None:
    def handler(stream: Any) -> None:
        stream.readline()
        stream.write(BIG[:size])

    serving = serve(handler)
    peer = serving.connect().send(b"go\n" + unread)
    assert len(peer.rest()) == size
    peer.sock.close()
    serving.until(connections=0)
    assert serving.log(0) == []


def test_a_slow_reader_after_the_return_costs_no_green_thread(serve: Any) -> None:
    def handler(stream: Any) -> None:
        stream.write(BIG[:60_000])
        fill(stream)

    serving = serve(handler)
    peers = [serving.connect(receive_buffer=4096) for _ in range(3)]
    serving.until(flushing=3, running=0)
    assert serving.count("connections") == 3
    for peer in peers:
        assert peer.rest().rstrip(b"y") == BIG[:60_000]
        peer.sock.close()
    serving.until(connections=0, flushing=0)
    assert serving.log(0) == []


def fill(stream: Any) -> None:
    """Leave as much unsent output as a handler can without waiting: the system's buffer is full, 64 KiB are ours."""
    while True:
        stream.write(b"y" * 60_000)
        gevent.sleep(0)  # what was written is sent at the end of the turn
        if stream.unsent:
            return


def test_a_last_write_that_was_to_leave_at_the_end_of_the_turn(serve: Any) -> None:
    sent = 0

    def handler(stream: Any) -> None:
        nonlocal sent
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += os.write(stream.fileno(), b"y" * 60_000)  # behind its back: the system's buffer is full now
        stream.write(b"z" * 60_000)

    serving = serve(handler, write_timeout=3600)
    peer = serving.connect(receive_buffer=4096)
    serving.until(flushing=1, running=0)
    assert len(peer.rest()) == sent + 60_000
    peer.sock.close()
    serving.until(connections=0)
    assert serving.log(0) == []


def test_a_slow_reader_after_the_return_is_aborted_by_write_timeout(serve: Any, tcp: bool) -> None:
    serving = serve(fill, write_timeout=0.05)
    peer = serving.connect(receive_buffer=4096)
    ((level, message),) = serving.log(1)
    assert level == "INFO" and message.endswith(SLOW_READER)
    serving.until(connections=0)
    assert peer.was_reset() is tcp


def test_a_slow_reader_during_the_handler_is_no_error_of_the_handler(serve: Any, tcp: bool) -> None:
    def handler(stream: Any) -> None:
        stream.write(BIG)
        stream.write(BIG)

    serving = serve(handler, write_timeout=0.05)
    peer = serving.connect(receive_buffer=4096)
    ((level, message),) = serving.log(1)
    assert level == "INFO" and message.endswith(SLOW_READER)
    serving.until(connections=0)
    assert peer.was_reset() is tcp


@pytest.mark.parametrize("waits", [True, False], ids=["written", "left to the loop"])
def test_a_peer_that_takes_all_it_is_given_is_not_slow_because_the_loop_stands_still(
    serve: Any, tcp: bool, waits: bool
) -> None:
    if tcp:
        pytest.skip("the system takes too much at once")
    content = b"x" * 600_000  # a third of it fits
    sleep = gevent.monkey.get_original("time", "sleep")

    def handler(stream: Any) -> None:
        if not waits:
            with contextlib.suppress(StreamTimeout):
                stream.write(content, timeout=0)
            return
        stream.write(content)

    serving = serve(handler, write_timeout=1, write_min_rate=1 << 30, min_rate_after=1)
    peer = serving.connect()
    got = 0

    until(lambda: serving.count("writing") or serving.count("flushing"))
    while got < len(content) and serving.count("connections"):
        with contextlib.suppress(BlockingIOError):
            while data := os.read(peer.sock.fileno(), 1 << 20):
                got += len(data)
        sleep(1.1)  # the loop stands still
        turn()
    assert got == len(content)


def test_a_peer_that_keeps_sending_after_the_return_is_given_up(serve: Any) -> None:
    serving = serve(lambda stream: stream.write(b"enough"), linger_timeout=0.05)
    peer = serving.connect()
    assert peer.receive(100) == b"enough"
    serving.until(lingering=1, running=0)
    serving.until(connections=0)
    assert serving.log(0) == []


def test_a_flood_after_the_return_is_given_up(serve: Any) -> None:
    serving = serve(lambda stream: None, linger_timeout=3600, limit_linger=8 << 20)
    peer = serving.connect()
    with pytest.raises(OSError):
        while True:
            peer.send(BIG)
    serving.until(connections=0)
    assert "(limit_linger)" in serving.log(1)[0][1]


def test_who_looks_for_what_was_written_behind_a_long_message_gets_it(serve: Any) -> None:
    serving = serve(lambda stream: stream.write(b"no, thank you"))
    peer = serving.connect()
    for _ in range(24):
        peer.send(bytes(1 << 20))
    assert peer.rest() == b"no, thank you"


def test_without_lingering_a_return_closes_at_once(serve: Any) -> None:
    serving = serve(lambda stream: stream.write(b"bye"), linger_timeout=0)
    peer = serving.connect()
    assert peer.rest() == b"bye"
    serving.until(connections=0, lingering=0)


# ---- the handler raises


def test_an_exception_resets_and_is_logged_once_with_the_peer(serve: Any, tcp: bool) -> None:
    def handler(stream: Any) -> None:
        stream.write(b"half")
        stream.flush()
        raise KeyError("inside")

    serving = serve(handler)
    peer = serving.connect()
    name = f"127.0.0.1:{peer.sock.getsockname()[1]}" if tcp else f"a UNIX peer (process {os.getpid()})"
    assert peer.was_reset() or not tcp  # a UNIX socket knows no reset as long as nothing was unread
    assert serving.log(1) == [("ERROR", f"{name}: KeyError in the handler")]
    kind, error, traceback = serving.caplog.records[0].exc_info
    assert (kind, error.args) == (KeyError, ("inside",))
    names = []
    while traceback:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert names[-1] == "handler"
    serving.until(connections=0)


@pytest.mark.parametrize("kind", [gevent.Timeout, SystemExit, OSError, ConnectionResetError, EOFError, StreamTimeout])
def test_other_exceptions_of_the_handler_are_errors_too(serve: Any, kind: type[BaseException]) -> None:
    def handler(stream: Any) -> None:
        raise kind(1)

    serving = serve(handler)
    serving.connect()
    ((level, message),) = serving.log(1)
    assert level == "ERROR" and message.endswith(f": {kind.__name__} in the handler")
    serving.until(connections=0)


def test_greenlet_exit_ends_a_connection_and_says_nothing(serve: Any) -> None:
    def handler(stream: Any) -> None:
        if stream.readline() == b"raise\n":
            raise gevent.GreenletExit
        gevent.getcurrent().kill()
        stream.readline()

    serving = serve(handler)
    for line in (b"raise\n", b"kill\n"):
        serving.connect().send(line)
    serving.until(served=2, connections=0)
    assert serving.log(0) == []


def test_ctrl_c_in_a_handler_reaches_the_program(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    hub = gevent.get_hub()
    monkeypatch.setattr(hub, "handle_system_error", lambda kind, value: told.append(kind))

    def handler(stream: Any) -> None:
        raise KeyboardInterrupt

    serving = serve(handler)
    serving.connect()
    until(lambda: told == [KeyboardInterrupt])
    serving.until(connections=0)


# ---- the peer goes


def test_a_peer_that_resets_is_information_only(serve: Any, tcp: bool) -> None:
    waits = Event()

    def handler(stream: Any) -> None:
        waits.set()
        stream.read_some()
        while True:
            stream.write(BIG)

    serving = serve(handler)
    peer = serving.connect()
    waits.wait()
    peer.reset()
    ((level, message),) = serving.log(1)
    assert level == "INFO" and " disconnected (" in message
    serving.until(connections=0)


def test_a_peer_that_ends_in_the_middle_of_a_message_is_information_only(serve: Any) -> None:
    serving = serve(lambda stream: stream.readexactly(10))
    serving.connect().send(b"half").finish()
    ((level, message),) = serving.log(1)
    assert level == "INFO" and message.endswith("disconnected (EOFError)")
    serving.until(connections=0)


def test_a_peer_that_goes_while_the_rest_is_sent(serve: Any) -> None:
    serving = serve(fill)
    peer = serving.connect(receive_buffer=4096)
    serving.until(flushing=1)
    peer.reset()
    ((level, message),) = serving.log(1)
    assert level == "INFO" and " disconnected (" in message
    serving.until(connections=0)


def test_output_larger_than_all_buffers_does_not_wait_for_a_peer_that_first_sends_everything(serve: Any) -> None:
    serving = serve(fill, write_timeout=3600, linger_timeout=3600)
    peer = serving.connect(receive_buffer=4096)
    serving.until(flushing=1)
    for _ in range(400):
        peer.send(bytes(65536))
    peer.finish().rest()
    serving.until(connections=0)


# ---- how many


def test_connections_bounds_what_is_accepted(serve: Any) -> None:
    inside = []

    def handler(stream: Any) -> None:
        inside.append(stream)
        stream.readline()
        stream.write(b"done")

    serving = serve(handler, connections=3)
    peers = [serving.connect().send(b"%d" % n) for n in range(5)]
    serving.until(running=3)
    for _ in range(10):
        gevent.sleep(0.001)
        assert (len(inside), serving.count("connections")) == (3, 3)
    for k, peer in enumerate(peers):
        peer.send(b"\n")
        assert peer.rest() == b"done"
        peer.sock.close()
        until(lambda: len(inside) == min(5, 4 + k))  # noqa: B023
    serving.until(connections=0, served=5)
    assert serving.log(0) == []


# ---- stop


def test_stop_waits_for_the_handlers(serve: Any) -> None:
    serving = serve(echo)
    peer, address = serving.connect(), serving.server.address
    serving.until(running=1)
    stopping = gevent.spawn(serving.server.stop, 30)
    until(lambda: serving.server._stopping)
    with pytest.raises(OSError):
        Peer(address)
    assert peer.send(b"still here\n").receive(11) == b"still here\n"
    assert not stopping.ready()
    assert peer.finish().rest() == b""
    assert stopping.get() is True
    assert serving.server.statistics() == {}


@pytest.mark.parametrize("timeout", [0, 0.02])
@pytest.mark.parametrize("kind", ["reading", "sleeping", "flushing", "lingering"])
def test_stop_cuts_at_its_timeout(serve: Any, kind: str, timeout: float) -> None:
    ended: list[Any] = []

    def handler(stream: Any) -> None:
        try:
            if kind == "reading":
                stream.read()
            elif kind == "sleeping":
                gevent.sleep(3600)
            elif kind == "flushing":
                fill(stream)
        except BaseException as error:
            ended.append(type(error))
            raise

    serving = serve(handler, linger_timeout=3600)
    peer = serving.connect(receive_buffer=4096)
    serving.until(**{kind if kind in ("flushing", "lingering") else "running": 1})
    assert serving.server.stop(timeout) is False
    assert serving.server.statistics() == {}
    if kind in ("reading", "sleeping"):
        until(lambda: ended)
        assert ended == [StreamClosed if kind == "reading" else gevent.GreenletExit]
    with contextlib.suppress(ConnectionResetError):
        peer.rest()
    said = serving.log(0)
    assert [level for level, _ in said] == ([] if kind == "lingering" else ["WARNING" if timeout else "INFO"])
    assert all("1 connection cut: " in message for _, message in said)


def test_stop_in_the_turn_of_a_new_connection(serve: Any) -> None:
    """It was accepted, and its green thread has not begun."""
    serving = serve(echo)
    address = serving.server.address
    with constants.socket(constants.AF_UNIX if isinstance(address, str) else constants.AF_INET) as peer:
        peer.settimeout(30)
        peer.connect(address)  # blocks this thread, so the loop does not turn
        assert serving.count("connections") == 0
        serving.server.stop(0)
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(1) == b""


def test_a_server_starts_again(serve: Any) -> None:
    serving = serve(echo)
    for _ in range(2):
        assert serving.connect().send(b"a").finish().rest() == b"a"
        assert serving.server.stop(30) is True
        serving.server.start()


# ---- what a handler may do with its stream


def test_a_handler_closes_the_stream_itself(serve: Any) -> None:
    done = Event()

    def handler(stream: Any) -> None:
        stream.write(b"bye")
        stream.close()
        assert serving.count("connections") == 1
        done.wait()

    serving = serve(handler)
    assert serving.connect().rest() == b"bye"
    done.set()
    serving.until(connections=0)
    assert serving.log(0) == []


def test_a_handler_closes_the_stream_in_a_with_block(serve: Any) -> None:
    def handler(stream: Any) -> None:
        with stream:
            stream.write(b"bye")

    serving = serve(handler)
    assert serving.connect().rest() == b"bye"
    serving.until(connections=0)
    assert serving.log(0) == []


def test_a_handler_aborts_the_stream_itself(serve: Any, tcp: bool) -> None:
    serving = serve(lambda stream: stream.abort())
    assert serving.connect().was_reset() is tcp
    serving.until(connections=0)
    assert serving.log(0) == []


def test_a_handler_uses_its_stream_after_it_has_closed_it(serve: Any) -> None:
    def handler(stream: Any) -> None:
        stream.close()
        stream.write(b"late")

    serving = serve(handler)
    serving.connect().rest()
    ((level, message),) = serving.log(1)
    assert level == "INFO" and message.endswith("disconnected (StreamClosed)")
    serving.until(connections=0)


def test_a_handler_shuts_its_side_and_reads_on(serve: Any) -> None:
    read = []

    def handler(stream: Any) -> None:
        stream.write(b"that was all")
        stream.shutdown()
        read.append(stream.read())

    serving = serve(handler)
    peer = serving.connect()
    assert peer.rest() == b"that was all"
    peer.send(b"mine too").finish()
    serving.until(connections=0)
    assert (read, serving.log(0)) == ([b"mine too"], [])


def test_two_green_threads_share_a_stream_while_the_handler_waits(serve: Any) -> None:
    def handler(stream: Any) -> None:
        def say() -> None:
            for n in range(100):
                stream.write(b"%d\n" % n)
                gevent.sleep(0)

        speaker = gevent.spawn(say)
        assert stream.readline() == b"stop\n"
        speaker.join()

    serving = serve(handler)
    expected = b"".join(b"%d\n" % n for n in range(100))
    peer = serving.connect().send(b"stop\n")
    assert peer.rest() == expected
    peer.sock.close()
    serving.until(connections=0)
    assert serving.log(0) == []


@pytest.mark.parametrize("how", ["reading", "writing"])
def test_a_green_thread_left_behind_loses_the_stream(serve: Any, how: str) -> None:
    found: list[Any] = []

    def user(stream: Any) -> None:
        try:
            while True:
                if how == "reading":
                    stream.read_some()
                else:
                    stream.write(BIG)
        except OSError as error:
            found.append(error)

    def handler(stream: Any) -> None:
        gevent.spawn(user, stream)
        gevent.sleep(0)

    serving = serve(handler)
    peer = serving.connect()
    until(lambda: found)
    assert isinstance(found[0], StreamClosed) and "returned" in str(found[0])
    peer.rest()
    peer.sock.close()
    serving.until(connections=0)
    assert serving.log(0) == []


def test_a_tcp_proxy_of_ten_lines(serve: Any, tcp: bool) -> None:
    backend = serve(lambda stream: pump(stream, stream))

    def pump(source: Any, target: Any) -> None:
        while data := source.read_some():
            target.write(data)
        target.shutdown()

    def proxy(stream: Any) -> None:
        address = backend.server.address
        where = f"127.0.0.1:{address[1]}" if tcp else f"unix:{address}"
        with greenhttp.connect(where) as beyond:
            back = gevent.spawn(pump, beyond, stream)
            pump(stream, beyond)
            back.get()

    front = serve(proxy)
    peers = [front.connect() for _ in range(10)]
    lines = [b"%d %s\n" % (n, b"z" * 200_000) for n in range(10)]
    writers = [gevent.spawn(lambda p, d: p.send(d).finish(), *pair) for pair in zip(peers, lines, strict=True)]
    readers = [gevent.spawn(peer.rest) for peer in peers]
    gevent.joinall(writers, raise_error=True)
    assert [reader.get() for reader in readers] == lines
    front.until(connections=0, served=10)
    backend.until(connections=0, served=10)
    assert front.log(0) == []


def test_a_refused_backend_is_an_error_of_the_handler(serve: Any) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{nobody.getsockname()[1]}"
        serving = serve(lambda stream: greenhttp.connect(where))
        serving.connect()
        ((level, message),) = serving.log(1)
    assert level == "ERROR" and message.endswith("ConnectionRefusedError in the handler")


def test_what_a_write_in_vain_has_left_is_sent_while_the_handler_does_something_else(serve: Any) -> None:
    done, data = Event(), BIG * 6

    def handler(stream: Any) -> None:
        with pytest.raises(StreamTimeout):
            stream.write(data, timeout=0)
        done.wait()

    serving = serve(handler)
    peer = serving.connect(receive_buffer=4096)
    assert peer.receive(len(data)) == data  # before the handler returns
    assert serving.count("running") == 1
    done.set()
    assert peer.rest() == b""


def test_a_stream_that_a_green_thread_left_behind_closes_is_not_waited_for(serve: Any) -> None:
    left = []

    def handler(stream: Any) -> None:
        left.append(stream)
        with pytest.raises(StreamTimeout):
            stream.write(BIG * 6, timeout=0)

    serving = serve(handler)
    serving.connect(receive_buffer=4096)
    serving.until(flushing=1)
    left[0].abort()
    serving.until(connections=0)
