"""Green threads, streams and sleepers when foreign code waits, or somebody interrupts, at the worst moment."""

from __future__ import annotations

import contextlib
import contextvars
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import gevent
import gevent.socket
import pytest
from gevent.event import Event

from greenhttp.errors import StreamClosed, StreamTimeout
from greenhttp.green.nap import sleep
from greenhttp.green.pool import Worker
from greenhttp.green.spawn import SpawnDoor, Spawner
from greenhttp.settings.values import Settings
from tests.foreign import Dropped, Mask, collecting, in_compiled_code
from tests.green.green import Background, open_stream, turns, until
from tests.green.test_pool import Job, do, make  # noqa: F401

VARIABLE: contextvars.ContextVar[Any] = contextvars.ContextVar("VARIABLE", default=None)


# ---- a green thread of the pool that waits without a job


def figures(pool: Any) -> tuple[int, ...]:
    """Size, idle and running."""
    told = pool.statistics()
    return told["pool_size"], told["pool_idle"], told["pool_running"]


def test_a_green_thread_that_waits_before_its_job_is_woken(make: Any) -> None:  # noqa: F811
    pool, gate = make(1), Event()

    class Held(Job):
        def wanted(self) -> bool:  # stands for a finalizer or a signal's handler that runs in `advance`
            gate.wait()
            return True

    job, other = Held(), Job()
    job.submit(pool)
    other.submit(pool)
    turns()
    assert (job.done, other.done, figures(pool)) == (0, 0, (1, 0, 1))
    gate.set()
    until(lambda: job.done and other.done)
    do(pool)
    turns()
    assert figures(pool) == (1, 1, 0)


def test_a_green_thread_that_waits_behind_its_job_is_woken(make: Any) -> None:  # noqa: F811
    pool, gate = make(1), Event()
    job = Job(lambda: VARIABLE.set(Dropped(gate.wait)))  # goes with the job's context
    job.submit(pool)
    until(lambda: job.done)
    turns()
    assert figures(pool) == (1, 0, 1)
    gate.set()
    assert do(pool).done
    turns()
    size, idle, running = figures(pool)
    assert (size, running) == (idle, 0)


@in_compiled_code
def test_a_green_thread_that_waits_as_it_begins_is_woken(make: Any) -> None:  # noqa: F811
    pool, gate, job = make(1), Event(), Job()
    with collecting(gate.wait, lambda: isinstance(gevent.getcurrent(), Worker)) as hits:
        job.submit(pool)
        until(lambda: hits)
        turns()
        assert (job.done, figures(pool)) == (0, (1, 0, 1))
    hits.clear()
    gate.set()
    until(lambda: job.done)
    do(pool)
    turns()
    size, idle, running = figures(pool)
    assert (size, running) == (idle, 0)


@in_compiled_code
def test_wherever_a_green_thread_of_the_pool_waits_it_is_woken(make: Any) -> None:  # noqa: F811
    """At each allocation from a green thread's beginning to its end, one after the other."""
    moments = 0
    while True:
        pool, gate = make(1, 3), Event()
        jobs = [Job() for _ in range(3)]
        with collecting(gate.wait, lambda: isinstance(gevent.getcurrent(), Worker), moments) as hits:
            for job in jobs:
                job.submit(pool)
            turns(3)
        gate.set()
        until(lambda jobs=jobs: all(job.done for job in jobs))
        assert do(pool).done
        turns()
        size, idle, running = figures(pool)
        assert (size, running) == (idle, 0), f"moment {moments}"
        if not hits:
            break
        moments += 1
    assert moments


def test_what_happens_to_a_job_while_foreign_code_waits_in_it_comes_afterwards(make: Any) -> None:  # noqa: F811
    pool, gate, inside, most = make(4), Event(), [], []

    class Held(Job):
        def wanted(self) -> bool:
            inside.append(self)
            most.append(len(inside))
            if len(most) == 1:
                gate.wait()
            inside.remove(self)
            return False

    job = Held()
    for _ in range(3):
        job.submit(pool)
        turns()
    assert most == [1]
    gate.set()
    until(lambda: len(most) == 2)
    turns()
    assert most == [1, 1]


def test_nobody_else_has_a_job_between_its_advance_and_its_run(make: Any) -> None:  # noqa: F811
    pool, gate = make(4), Event()

    class Held(Job):
        def wanted(self) -> bool:
            if not self.done:
                VARIABLE.set(Dropped(gate.wait))  # goes with a context that is none of the job's
            return True

    job = Held()
    job.submit(pool)
    turns()
    job.submit(pool)
    turns()
    assert (job.done, figures(pool)) == (0, (1, 0, 1))
    gate.set()
    until(lambda: job.done == 2)


# ---- time.sleep


def test_who_sleeps_while_another_is_about_to_may_fill_the_table(monkeypatch: Any) -> None:
    sleep(0.001)
    hub, gate, held = gevent.get_hub(), Event(), []
    naps = hub.greenhttp_naps
    room = naps.room

    class Held(Mask):
        def timer(self, *args: Any, **options: Any) -> Any:  # stands for a finalizer that making the timer lets run
            if not held and gevent.getcurrent() is late.greenlet:
                held.append(gevent.getcurrent())
                gate.wait()
            return self.behind.timer(*args, **options)

    monkeypatch.setattr(hub, "loop", Held(hub.loop))
    late = Background(sleep, 3600)
    until(lambda: held)
    others = [Background(sleep, 7200) for _ in range(room - naps.count)]
    until(lambda: naps.count == naps.room == room)
    gate.set()
    until(lambda: naps.count == room + 1)
    assert naps.room > room
    naps.advance(7200)
    for sleeper in (late, *others):
        sleeper.result()
    assert naps.count == naps.gone == 0


# ---- streams


@in_compiled_code
def test_output_is_sent_once_whatever_runs_while_it_is(monkeypatch: Any) -> None:
    """At each allocation of a writer in turn: a reader comes, and pushes out what it finds."""
    data = b"".join(b"%08d" % i for i in range(250_000))
    moments = 0
    while True:
        with open_stream("socketpair", small=True) as (stream, peer):
            gate, writer = Event(), None
            reader = Background(lambda stream=stream, gate=gate: (gate.wait(), stream.read_some()))
            turns()

            def act(gate: Event = gate) -> None:
                gate.set()
                turns(3)

            writer = Background(stream.write, data)
            running = writer.greenlet
            with collecting(act, lambda running=running: gevent.getcurrent() is running, moments) as hits:
                receiving = Background(peer.receive, len(data))
                got = receiving.result()
            assert got == data, f"moment {moments}"
            writer.result()
            gate.set()
            peer.send(b"x")
            reader.result()
        if not hits:
            break
        moments += 1
    assert moments


@pytest.mark.parametrize("kind", ["socketpair", "memory"])
def test_a_stream_that_is_closed_while_it_is_read_has_not_ended(kind: str) -> None:
    with open_stream(kind) as (stream, _peer):
        reading = Background(stream.read_some)
        turns()
        stream.abort()
        with pytest.raises(StreamClosed):
            reading.result()


@pytest.mark.parametrize("waits", ["to read", "to write"])
def test_whoever_waits_after_a_raw_green_thread_that_ended_with_an_error_is_woken(waits: str, hub_errors: Any) -> None:
    with open_stream("socketpair") as (stream, peer):

        def fail() -> None:
            if waits == "to read":
                stream.read_some()
            else:
                stream.write(b"x" * 4_000_000)
                stream.flush()
            raise LookupError("its parent is the hub")

        gevent.spawn_raw(fail)
        turns()
        if waits == "to write":
            assert len(peer.receive(4_000_000)) == 4_000_000
        else:
            peer.send(b"first")
        until(lambda: hub_errors)
        ((_, (kind, *_)),) = hub_errors
        hub_errors.clear()
        assert kind is LookupError
        waiting = Background(stream.read_some)
        turns()
        peer.send(b"second")
        assert waiting.result() == b"second"
        if waits == "to write":
            waiting = Background(lambda: stream.write(b"y" * 4_000_000) or stream.flush())
            assert peer.receive(4_000_000) == b"y" * 4_000_000
            waiting.result()


@pytest.mark.parametrize("kind", ["socketpair", "memory"])
@pytest.mark.parametrize("read", ["read_some", "readline", "readexactly"])
def test_a_stream_that_is_closed_while_its_reader_lets_others_go_first_has_not_ended(kind: str, read: str) -> None:
    with open_stream(kind) as (stream, peer):
        pieces: list[bytes] = []

        def dialogue() -> None:
            while True:
                if not stream.closed:
                    peer.send(b"\n")
                    turns(2)
                if len(pieces) == 15:  # the next read lets others go first
                    gevent.get_hub().loop.run_callback(stream.abort)
                pieces.append(getattr(stream, read)(*[1] * (read == "readexactly")))

        with pytest.raises(StreamClosed):
            Background(dialogue).result()
        assert pieces == [b"\n"] * len(pieces)


@pytest.mark.parametrize("end", ["close", "shutdown"])
def test_output_that_was_given_up_never_ends_like_a_regular_end(end: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"f" * 8_000_000)
    with open_stream("tcp accepted") as (stream, peer), (tmp_path / "file").open("r+b") as file:
        with pytest.raises(StreamTimeout):
            stream.sendfile(file, timeout=0)
        file.truncate(10)  # before the loop has sent the rest
        with contextlib.suppress(ConnectionResetError):
            peer.receive(1_000_000)
        until(lambda: not stream.unsent)
        with contextlib.suppress(StreamClosed):
            getattr(stream, end)()
        with contextlib.suppress(StreamClosed):  # raised again, but the end is the end
            stream.close()
        with pytest.raises(ConnectionResetError):
            peer.receive_all()


@pytest.mark.parametrize("kind", ["socketpair", "memory"])
@pytest.mark.parametrize("bad", ["offset", "count", "write-only", "pipe", "directory"])
def test_sendfile_refuses_before_anything_is_sent(kind: str, bad: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with open_stream(kind) as (stream, peer), contextlib.ExitStack() as opened:
        stream.write(b"before,")
        if bad == "pipe":
            ends = [opened.enter_context(os.fdopen(fd, "r+b", 0)) for fd in os.pipe()]
            file = ends[0]
        elif bad == "directory":
            fd = os.open(tmp_path, os.O_RDONLY)
            opened.callback(os.close, fd)
            file = opened.enter_context(tempfile.TemporaryFile())
            os.dup2(fd, file.fileno())
        else:
            file = opened.enter_context(path.open("wb" if bad == "write-only" else "rb"))
            if bad == "write-only":
                file.write(b"0123456789")
                file.flush()
        with pytest.raises(ValueError, match="offset" if bad in ("offset", "count") else "regular file"):
            stream.sendfile(file, -1 if bad == "offset" else 0, -1 if bad == "count" else None)
        stream.write(b"after")
        stream.flush()
        assert peer.receive(12) == b"before,after"


# ---- stream handlers


class Served:
    """A Spawner with a door and no sweep: nothing but what happens to its connections wakes the loop."""

    def __init__(self, handler: Any) -> None:
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen()
        self.sock.setblocking(False)
        self.log: list[str] = []
        self.spawner = Spawner(handler, Settings().resolved(1024), 10, self.report)
        self.door = SpawnDoor(self.spawner, self.sock)

    def report(self, level: str, message: str, error: BaseException | None = None) -> None:
        self.log.append(message)

    def __enter__(self) -> Served:
        self.spawner.pool.start()
        self.door.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.door.stop()
        self.spawner.pool.stop()
        self.sock.close()
        turns()


@pytest.mark.parametrize("way", ["close", "abort"])
def test_a_stream_that_is_closed_behind_its_handler_is_noticed_at_once(way: str) -> None:
    gate = Event()

    def handler(stream: Any) -> None:
        gevent.spawn(lambda: (gate.wait(), getattr(stream, way)()))
        turns()

    with Served(handler) as served:
        peer = gevent.socket.create_connection(served.sock.getsockname())
        until(lambda: served.spawner.statistics()["lingering"])
        empty = Event()
        served.spawner.when_empty(empty.set)
        turns()
        gate.set()
        # Nothing else wakes the loop for so long.
        assert empty.wait(5)
        assert served.spawner.statistics()["connections"] == 0
        peer.close()


def test_the_pools_figures_have_names_of_their_own() -> None:
    gate, inside = Event(), []
    with Served(lambda stream: (inside.append(stream), gate.wait())) as served:
        peers = [gevent.socket.create_connection(served.sock.getsockname()) for _ in range(3)]
        until(lambda: len(inside) == 3)
        told = served.spawner.statistics()
        assert (told["pool_running"], told["pool_size"], told["pool_idle"], told["pool_running"]) == (3, 3, 0, 3)
        gate.set()
        inside.clear()
        until(lambda: not served.spawner.statistics()["running"])
        turns()
        told = served.spawner.statistics()
        assert (told["lingering"], told["pool_size"], told["pool_idle"], told["pool_running"]) == (3, 3, 3, 0)
        for peer in peers:
            peer.close()
        until(lambda: not served.spawner.statistics()["connections"])


@pytest.mark.parametrize("waits", ["sharing", "writing", "reading and writing"])
def test_what_a_stream_handler_leaves_behind_does_not_hold_up_its_end(waits: str) -> None:
    big, left, begun = b"x" * 6_000_000, [], Event()

    def handler(stream: Any) -> None:
        left.append(Background(stream.write, big))
        if waits == "sharing":
            gevent.sleep(0)
        else:
            until(lambda: served.spawner.statistics()["writing"])
        if waits == "reading and writing":
            left.append(Background(stream.read_some))
            gevent.sleep(0)
        begun.set()

    with Served(handler) as served:
        peer = gevent.socket.create_connection(served.sock.getsockname())
        begun.wait()
        until(lambda: not served.spawner.statistics()["running"])
        got = 0
        while piece := peer.recv(1 << 20):
            assert piece == b"x" * len(piece)
            got += len(piece)
        assert got == len(big)
        assert [type(each.error) for each in left] == [StreamClosed] * len(left)
        peer.close()
        until(lambda: not served.spawner.statistics()["connections"])
