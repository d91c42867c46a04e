"""A server process under attack, looked at from outside: its memory, its descriptors, its log, its turns.

Work is bounded by counts: the bytes that are taken, the requests that are served, and that the loop comes to rest.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from tests.hostile.process import Process, needs_proc
from tests.hostile.served import LARGE, PIECE
from tests.hostile.test_bounds import CHUNKED, MIB, TAKEN, offer
from tests.http.apps import post, request
from tests.http.test_limits import get

pytestmark = needs_proc

# A head, the input and output buffers of a few connections, what the allocator keeps of them. A GiB is offered, and
# what is taken of it at most is BODY.
GROWTH = 4 * MIB
BODY = 64 * MIB
LENGTH = b"Content-Length: 1073741824"
PATIENT = {"header_timeout": 0, "body_timeout": 0, "write_timeout": 0, "write_min_rate": 0, "linger_timeout": 3600}


@pytest.fixture(scope="module")
def patient(tmp_path_factory: Any) -> Iterator[Process]:
    """A server without a time-out: what ends an attack is a limit."""
    log = tmp_path_factory.mktemp("patient") / "log"
    with Process(log, limit_request_body=BODY, limit_linger=MIB, log_level="warning", **PATIENT) as process:
        yield process


@pytest.fixture
def process(patient: Process) -> Iterator[Process]:
    yield patient
    patient.hang_up()


ENDLESS = {
    "header bomb, one field": (b"GET / HTTP/1.1\r\nHost: a\r\nA: ", b"b", 431, 0),
    "header bomb, many fields": (b"GET / HTTP/1.1\r\nHost: a\r\n", b"A: b\r\n", 431, 0),
    "chunk extension": (CHUNKED + b"1;a=", b"b", 400, 0),
    "chunk extensions": (CHUNKED, b"1;a=b\r\nx\r\n", 400, 0),
    "empty chunks": (CHUNKED, b"0\r\n\r\n", 200, 0),  # the first is the last: 200, and the second is no request
    "one-byte chunks nobody reads": (CHUNKED.replace(b"/", b"/unread", 1), b"1\r\nx\r\n", 200, 0),
    "trailer": (CHUNKED + b"0\r\nA: ", b"b", 431, 0),
    "trailers": (CHUNKED + b"0\r\n", b"A: b\r\n", 431, 0),
    "body of known length": (request(b"POST / HTTP/1.1", LENGTH), b"x", 413, 0),
    "body of known length nobody reads": (request(b"POST /unread HTTP/1.1", LENGTH), b"x", 413, 0),
    "body in one chunk": (CHUNKED + b"40000000\r\n", b"x", 413, BODY),
    "body in chunks": (CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n", 413, BODY),
    "body in chunks nobody reads": (
        CHUNKED.replace(b"/", b"/unread", 1), b"10000\r\n" + b"x" * 65536 + b"\r\n", 200, 0
    ),
}  # fmt: skip


@pytest.mark.parametrize(("begin", "more", "status", "allowed"), ENDLESS.values(), ids=ENDLESS)
def test_a_gigabyte_is_offered_and_memory_stays(
    process: Process, begin: bytes, more: bytes, status: int, allowed: int
) -> None:
    before, read = process.resident(), process.told()["read"]
    client = process.connect().send(begin)
    offering = gevent.spawn(offer, client, more)
    assert client.answer().status == status
    assert offering.get() < allowed + TAKEN
    assert process.told()["read"] - read <= BODY
    assert process.peak() - before < GROWTH
    assert process.rests()


def test_a_million_chunks_of_one_byte_cost_no_memory(process: Process) -> None:
    count, before, told = 1_000_000, process.resident(), process.told()
    assert process.connect().ask(CHUNKED + b"1\r\nx\r\n" * count + b"0\r\n\r\n").status == 200
    now = process.told()
    assert now["read"] - told["read"] == count
    assert now["pieces"] - told["pieces"] == -(-count // PIECE)  # gathered, not handed over one by one
    assert process.peak() - before < GROWTH


def test_a_pipelining_flood_that_never_reads_is_no_longer_read(process: Process) -> None:
    kept, before = process.connect(), process.resident()
    served = process.told(kept)["requests"]
    floods = [process.connect(receive_buffer=4096) for _ in range(10)]
    sending = [gevent.spawn(flood.sock.sendall, get("/large") * 500_000) for flood in floods]
    last = 0

    def settled() -> bool:
        """Whether nobody but us was served since this was asked last."""
        nonlocal last
        last, previous = process.told(kept)["requests"], last
        gevent.sleep(0.05)
        return last == previous + 1

    process.until(settled)
    assert process.rests(kept)
    assert (last - served) * LARGE < len(floods) * 16 * MIB  # what the system's buffers hold
    assert process.peak() - before < GROWTH + len(floods) * 256 * 1024
    for client in (kept, process.connect()):
        assert [client.ask(get(f"/{n}")).content for n in range(50)] == [b"/%d" % n for n in range(50)]
    assert not any(one.ready() for one in sending)
    gevent.killall(sending)


# ---- descriptors and connections


def leave_free(process: Process, count: int) -> None:
    """Lower the process's limit of descriptors so that `count` more can be had."""
    used, limit = set(map(int, os.listdir(f"/proc/{process.pid}/fd"))), 0
    while count or limit <= max(used):
        count -= limit not in used
        limit += 1
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def test_out_of_descriptors_it_waits_says_so_once_serves_who_is_there_and_recovers(tmp_path: Any) -> None:
    with Process(tmp_path / "log", connections=1000, log_level="warning") as process:
        kept = [process.connect() for _ in range(3)]
        assert [client.ask(get("/kept")).status for client in kept] == [200] * 3
        quiet = process.log()
        leave_free(process, 4)
        crowd = [process.connect().send(get(f"/{n}")) for n in range(20)]
        assert [client.answer().content for client in crowd[:4]] == [b"/%d" % n for n in range(4)]
        process.until(lambda: "out of file descriptors" in process.log())
        assert process.rests(kept[0])
        for n in range(50):
            assert [client.ask(post(b"x", path=b"/%d" % n)).content for client in kept] == [b"/%d" % n] * 3
        for n in range(14):  # one goes, another one comes in, and there is none again: nothing new to say
            assert process.log().count("\n") == quiet.count("\n") + 1
            crowd[n].close()
            assert crowd[n + 4].answer().content == b"/%d" % (n + 4)
        for client in crowd[14:]:
            client.close()
        assert process.connect().ask(get("/new")).content == b"/new"
        process.until(lambda: "again" in process.log())
        said = process.log().removeprefix(quiet).splitlines()
        assert len(said) == 2
        assert "out of file descriptors" in said[0] and "new connections are accepted" in said[1]
        assert [client.ask(get("/kept")).status for client in kept] == [200] * 3


def gone(client: Any) -> bytes:
    """What came before the end of the connection."""
    try:
        return client.rest()
    except ConnectionResetError:
        return client.data


@pytest.mark.parametrize("lot", [10, 200], ids=["a few at a time", "all at once"])
def test_silent_newcomers_make_way_and_honest_clients_stay(tmp_path: Any, lot: int) -> None:
    room, honest = 50, []
    with Process(tmp_path / "log", connections=room, header_timeout=0, keepalive_timeout=0) as process:
        before = process.descriptors()

        def all_stay() -> None:
            assert [client.ask(get("/stays")).content for client in honest] == [b"/stays"] * len(honest)

        def crowd(data: bytes) -> list[Any]:
            """200 newcomers that send this and no more; each lot is there before the server looks."""
            newcomers = []
            for _ in range(200 // lot):
                os.kill(process.pid, signal.SIGSTOP)
                newcomers += [process.connect().send(data) for _ in range(lot)]
                os.kill(process.pid, signal.SIGCONT)
                all_stay()
            return newcomers

        for count in (20, 10, 10):
            honest += [process.connect() for _ in range(count)]
            all_stay()
            silent, halves = crowd(b""), crowd(b"GET / HT")
            assert [gone(client) for client in silent] == [b""] * 200
            assert [gone(client) for client in halves[:150]] == [b""] * 150
            assert process.descriptors() - before <= room
        # Nobody but honest clients, and one more of them: now the one that has been silent for longest goes.
        honest += [process.connect() for _ in range(room - len(honest))]
        all_stay()
        assert process.connect().ask(get("/new")).status == 200
        assert honest.pop(0).ended()
        all_stay()
