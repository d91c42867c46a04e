"""logs/scribe.py: writes what comes out of the pipe; waits for slow readers, counts what cannot be written."""

import os
import threading
from select import POLLIN

import pytest

from greenhttp.logs import scribe as scribes
from greenhttp.logs.pipe import RECORD, TO_STDERR, LogPipe, Message
from greenhttp.logs.scribe import Orphaned, Scribe, ScribeThread, opened, ready, write_all

needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")


@pytest.fixture
def pipe():
    made = LogPipe()
    yield made
    made.close()


@pytest.fixture
def stderr():
    """What is written to a stderr that is ours: a function that gives it."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    def read():
        try:
            return os.read(reading, 1 << 16).decode()
        except BlockingIOError:
            return ""

    read.fd, read.reading = writing, reading
    yield read
    os.close(reading)
    os.close(writing)


def scribe_of(pipe, path, stderr=None, handle=None):
    made = Scribe(pipe.reading, path, handle)
    if stderr is not None:
        made.stderr = stderr.fd
        if path is None:
            made.out = stderr.fd
    return made


def test_what_is_put_is_written_until_the_end(pipe, tmp_path):
    path = tmp_path / "log"
    for n in range(5):
        pipe.put(f"line {n}\n")
    pipe.end()
    scribe_of(pipe, str(path)).run()
    assert path.read_text() == "".join(f"line {n}\n" for n in range(5))


def test_it_ends_when_nobody_can_write_any_more(pipe, tmp_path):
    pipe.put("last\n")
    os.close(pipe.writing)
    scribe_of(pipe, str(tmp_path / "log")).run()
    assert (tmp_path / "log").read_text() == "last\n"
    pipe.writing = os.open(os.devnull, os.O_WRONLY)


def test_stderr_has_what_is_meant_for_it(pipe, tmp_path, stderr):
    one = scribe_of(pipe, str(tmp_path / "log"), stderr)
    one.write(Message(TO_STDERR, b"people\n"))
    one.write(Message(0, b"log\n"))
    assert (stderr(), (tmp_path / "log").read_text()) == ("people\n", "log\n")


@needs_full
def test_a_full_disk_is_one_line_a_minute_with_a_count(pipe, stderr, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(scribes, "monotonic", lambda: clock[0])
    one = scribe_of(pipe, "/dev/full", stderr)
    for _ in range(3):
        one.write(Message(0, b"lost\n"))
    assert stderr() == "greenhttp: 1 log messages could not be written to /dev/full: No space left on device\n"
    clock[0] += scribes.COMPLAIN
    one.write(Message(0, b"lost\n"))
    assert stderr() == "greenhttp: 3 log messages could not be written to /dev/full: No space left on device\n"
    one.write(Message(0, b"lost\n"))
    assert stderr() == ""
    one.complain(last=True)
    assert stderr().startswith("greenhttp: 1 log messages")


def test_a_handler_that_fails_is_counted_too(pipe, tmp_path, stderr):
    def handle(data):
        raise ValueError("no such syslog")

    one = scribe_of(pipe, str(tmp_path / "log"), stderr, handle)
    one.write(Message(RECORD, b"{}"))
    assert stderr() == f"greenhttp: 1 log messages could not be written to {tmp_path}/log: no such syslog\n"


def test_it_is_opened_again_under_its_name_and_the_old_one_kept_if_it_cannot(pipe, tmp_path, stderr):
    path = tmp_path / "logs" / "log"
    path.parent.mkdir()
    one = scribe_of(pipe, str(path), stderr)
    path.rename(tmp_path / "old")
    one.stale = True
    one.write(Message(0, b"new\n"))
    assert (path.read_text(), (tmp_path / "old").read_text()) == ("new\n", "")
    path.parent.rename(tmp_path / "gone")
    one.stale = True
    one.write(Message(0, b"newer\n"))
    kept = (tmp_path / "gone" / "log").read_text()
    said = f"greenhttp: {path} cannot be reopened, the old file is kept: No such file or directory\n"
    assert kept == f"new\n{said}newer\n"
    assert stderr() == said


def test_what_was_put_before_goes_to_the_old_file_and_what_follows_to_the_new(pipe, tmp_path):
    path = tmp_path / "log"
    one = scribe_of(pipe, str(path))
    path.rename(tmp_path / "old")
    pipe.put("before\n")
    assert pipe.reopen()
    pipe.put("behind\n")
    pipe.end()
    one.run()
    assert ((tmp_path / "old").read_text(), path.read_text()) == ("before\n", "behind\n")


def test_a_fifo_that_nobody_reads_is_an_error_and_not_a_wait(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="No such device"):
        opened(str(tmp_path / "fifo"))


def test_who_reads_slowly_gets_all_of_it(stderr):
    data = os.urandom(300_000).hex().encode()
    got = []

    def read():
        while len("".join(got)) < len(data):
            ready(stderr.reading, POLLIN, 10)
            got.append(stderr())

    reader = threading.Thread(target=read)
    reader.start()
    write_all(stderr.fd, data)
    reader.join()
    assert "".join(got).encode() == data


def test_it_writes_to_a_descriptor_that_somebody_has_made_non_blocking(stderr):
    os.set_blocking(stderr.fd, False)
    test_who_reads_slowly_gets_all_of_it(stderr)


def test_nobody_is_waited_for_once_the_parent_has_gone(pipe, stderr, monkeypatch):
    monkeypatch.setattr(scribes, "PATIENCE", 0.01)
    with pytest.raises(Orphaned):
        write_all(stderr.fd, bytes(1 << 20), lambda: True)
    one = scribe_of(pipe, None, stderr)
    one.parent = -1
    pipe.put("x\n")
    one.run()  # ends, although the pipe has no end


def test_a_thread_writes_what_was_put_before_it_stops(pipe, tmp_path):
    keeper = ScribeThread(pipe, str(tmp_path / "log"))
    pipe.put("one\n")
    assert keeper.stop(10)
    assert (tmp_path / "log").read_text() == "one\n"


def test_a_thread_that_waits_for_a_reader_is_left_behind(pipe, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    reading = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        keeper = ScribeThread(pipe, str(tmp_path / "fifo"))
        while not pipe.lost:
            pipe.put("x" * 4000 + "\n")  # never waits
        assert not keeper.stop(0.01)
        while not keeper.ended.acquire(False):
            if ready(reading, POLLIN, 0.01):
                os.read(reading, 1 << 16)
    finally:
        os.close(reading)
