"""The WebSocket clients of the measurements, those in C and the plain one, against the floor and against each other."""

import contextlib
import shutil
import socket
import subprocess
import sys
import threading

import pytest

from perf.tools import build, report, websocket, wrk
from perf.tools.window import Window

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="epoll, and clocks of other processes, are Linux's"),
    pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler"),
]


@pytest.fixture
def floor():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([build.websocket(), "serve", str(port)])
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            break
        assert process.poll() is None
    yield port
    process.kill()
    process.wait()


def loaded(port, *arguments):
    done = subprocess.run(
        [build.websocket(), "load", str(port), *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return wrk.parse(done.stdout)


@pytest.mark.parametrize("arguments", [(8, 32, 1), (4, 4096, 1), (4, 4096, 1, "text"), (1, 0, 1), (1, 60000, 1)])
def test_the_load_counts_echoes(floor, arguments):
    load = loaded(floor, *arguments)
    assert load.fault() is None
    assert load.bytes == load.requests * arguments[1]
    assert 0 < load.p50_us <= load.p99_us <= load.max_us


def test_the_plain_client_checks_echoes(floor):
    assert websocket.check(floor, 32, False, 3) is None
    assert websocket.check(floor, 4096, True, 3) is None
    assert "ConnectionRefusedError" in websocket.check(1, 32, False, 1)


class Peer:
    """A server that opens one WebSocket and answers the first frame, of less than 126 bytes, with these bytes."""

    def __init__(self, answer, again=0):
        self.listener, self.answer, self.again, self.came = socket.create_server(("127.0.0.1", 0)), answer, again, b""
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc_info):
        self.thread.join()
        self.listener.close()

    def run(self):
        client, _ = self.listener.accept()
        with client, client.makefile("rb") as source:
            while source.readline() != b"\r\n":
                pass
            client.sendall(b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: " + websocket.ACCEPT + b"\r\n\r\n")
            head = source.read(2)
            source.read(4 + (head[1] & 0x7F))
            client.sendall(self.answer)
            self.came = source.read(self.again)
            with contextlib.suppress(OSError):
                while source.read(1):
                    pass


def test_a_wrong_echo_is_counted():
    with Peer(b"\x82\x04oops") as peer:
        load = loaded(peer.port, 1, 4, 1)
    assert (load.requests, load.status, load.fault()) == (0, 1, "1 status errors, 1 read errors")


def test_no_echo_is_no_answer():
    with Peer(b"") as peer:
        assert loaded(peer.port, 1, 4, 1).fault() == "not one request was answered"


def test_a_ping_is_answered_between_echoes():
    with Peer(b"\x89\x02hi", again=8) as peer:
        loaded(peer.port, 1, 4, 1)
    assert peer.came == b"\x8a\x82\0\0\0\0hi"
    with Peer(b"\x89\x02hi\x82\x04four", again=8) as peer:
        client = websocket.Client(peer.port)
        assert client.echo(b"four")
        client.close()
    assert peer.came == b"\x8a\x82\0\0\0\0hi"


def test_a_close_frame_is_a_lost_connection():
    with Peer(b"\x88\x00") as peer:
        assert loaded(peer.port, 1, 4, 1).read == 1


def test_a_crowd_is_held_and_sends_at_its_pace(floor):
    with websocket.Held(floor, 20) as crowd:
        assert crowd.opened == "OPEN failed=0"
        crowd.tell("pace 10 32 2")
        load = wrk.parse(crowd.answer())
        assert (load.requests, load.fault()) == (20, None)


def test_a_crowd_says_whom_it_cannot_open():
    with websocket.Held(1, 3) as crowd:
        assert crowd.opened == "OPEN failed=3"


def test_websocket_rows_are_compared_with_picows():
    rows = [report.row("ws-32", name, [Window(cpu_us=each)]) for name, each in (("picows", 10.0), ("greenhttp", 9.0))]
    table = report.tables(report.with_ratios(rows))[0]
    assert (table.head[3], [line[3] for line in table.lines]) == ("x picows", ["1.00", "0.90"])
