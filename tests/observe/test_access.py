"""observe/access.py: the file, what is lost when it cannot be written, and that no request waits for it."""

from __future__ import annotations

import fcntl
import io
import os
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from select import PIPE_BUF
from typing import Any

import gevent
import pytest

from greenhttp.errors import ConfigError
from greenhttp.observe import access
from greenhttp.server import Server
from tests.green.green import until
from tests.http.apps import hello, request
from tests.http.client import Client
from tests.http.test_limits import get


def said(caplog: Any, path: Path) -> list[str]:
    """What was reported of this file; the thread of an earlier test's may still have something to say."""
    return [message for record in caplog.records if str(path) in (message := record.getMessage())]


def ask(serving: Any, count: int, start: int = 0) -> None:
    client = serving.connect()
    for n in range(start, start + count):
        assert client.ask(get(f"/{n}")).status == 200


# ---- the file


def test_a_file_is_made_for_its_owner_and_group_and_appended_to(logged: Any, path: Path) -> None:
    umask = os.umask(0)
    try:
        serving = logged(hello, "%(U)s")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    ask(serving, 1)
    assert serving.entries() == ["/0"]
    again = logged(hello, "%(U)s")
    ask(again, 1, 1)
    assert again.entries() == ["/0", "/1"]


def test_a_server_that_is_started_again_logs_again(path: Path) -> None:
    server = Server(hello, bind="127.0.0.1:0", access_logfile=str(path), access_log_format="%(U)s")
    for n in range(2):
        server.start()
        client = Client(server.address)
        assert client.ask(get(f"/{n}")).status == 200
        client.close()
        server.stop()
    assert path.read_text() == "/0\n/1\n"


def test_entries_are_written_while_the_server_runs(logged: Any, path: Path) -> None:
    serving = logged(hello, "%(U)s")
    for n in range(3):  # each after the one before was written
        ask(serving, 1, n)
        serving.until(lambda n=n: path.read_text().endswith(f"/{n}\n"))
    assert serving.entries() == ["/0", "/1", "/2"]


def unopenable(tmp_path: Path, what: str) -> Path:
    if what == "directory":
        return tmp_path
    if what == "fifo":
        os.mkfifo(tmp_path / "fifo")
        return tmp_path / "fifo"
    return tmp_path / "none" / "log"


@pytest.mark.parametrize("what", ["directory", "fifo", "nowhere"])
def test_a_file_that_cannot_be_opened_is_said_when_the_server_starts(tmp_path: Path, what: str) -> None:
    path = unopenable(tmp_path, what)
    server = Server(hello, bind=f"unix:{tmp_path}/s", access_logfile=str(path))
    with pytest.raises(ConfigError) as caught:
        server.start()
    assert re.fullmatch(r"access_logfile: '.*' cannot be opened: [^\n]+", str(caught.value))
    assert not server.started and not (tmp_path / "s").exists()


def test_a_format_that_cannot_be_is_said_when_the_server_is_made(path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("there is no atom %(Z)s")):
        Server(hello, access_logfile=str(path), access_log_format="%(Z)s")
    assert not path.exists()


# ---- rotation


def test_reopen_goes_on_in_a_new_file(logged: Any, path: Path) -> None:
    serving = logged(hello, "%(U)s")
    ask(serving, 2)
    serving.until(path.read_text)
    old = path.rename(path.with_suffix(".1"))
    serving.server.reopen()
    serving.until(path.exists)  # also without a further request
    ask(serving, 2, 2)
    assert serving.entries() == ["/2", "/3"]
    assert old.read_text() == "/0\n/1\n"


def test_reopen_of_what_cannot_be_opened_goes_on_in_the_old_file(logged: Any, path: Path, caplog: Any) -> None:
    serving = logged(hello, "%(U)s")
    old = path.rename(path.with_suffix(".1"))
    path.mkdir()
    serving.server.reopen()
    serving.until(lambda: caplog.records)
    ask(serving, 1)
    serving.server.stop()
    why = "Is a directory; the old file is kept"
    assert [record.getMessage() for record in caplog.records] == [
        f"access log {str(path)!r} cannot be reopened: {why}"
    ]
    assert old.read_text() == "/0\n"


def test_reopen_without_an_access_log_is_nothing(serve: Any) -> None:  # noqa: F811
    serve(hello).server.reopen()


# ---- slow, full, broken


@pytest.fixture
def pipe(path: Path) -> Iterator[io.FileIO]:
    """`path` as a pipe of 4 KiB; what reads from it, without waiting."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    with open(reader, "rb", buffering=0) as file:
        yield file


def test_a_full_pipe_stops_no_request_and_what_is_dropped_is_counted(
    serve: Any, path: Path, pipe: io.FileIO, monkeypatch: Any, caplog: Any
) -> None:
    monkeypatch.setattr(access, "LIMIT", 200_000)
    serving = serve(hello, access_logfile=str(path), access_log_format="%(U)s " + "x" * 1000)
    ask(serving, 1000)  # five times what is held; all of them are answered while nobody reads the log
    stopped = gevent.spawn(serving.server.stop)
    data = piece = b""
    while not stopped.ready() or piece:
        piece = pipe.read(65536) or b""
        if not piece:
            gevent.sleep(0.001)
        data += piece
    assert data.endswith(b"\n")
    lines = data.decode().splitlines()
    assert {len(line.partition(" ")[2]) for line in lines} == {1000}
    dropped = [int(re.match(r"\d+", record.getMessage())[0]) for record in caplog.records]  # type: ignore[index]
    assert "entries were dropped: it could not be written" in caplog.text
    assert len(lines) + sum(dropped) == 1000
    assert 190 <= len(lines) < 1000


def test_the_end_of_the_server_waits_for_a_full_pipe_only_so_long(
    serve: Any, path: Path, pipe: io.FileIO, monkeypatch: Any, caplog: Any
) -> None:
    monkeypatch.setattr("greenhttp.server.LAST_WORDS", 0.05)
    serving = serve(hello, access_logfile=str(path), access_log_format="%(U)s " + "x" * 1000)
    ask(serving, 200)
    assert serving.server.stop() is True
    assert "the last batch of the access log and " in caplog.text
    pipe.close()  # ends the write


def test_a_pipe_that_nobody_reads_any_more_is_said_once_and_harms_nothing(
    serve: Any, path: Path, pipe: io.FileIO, caplog: Any
) -> None:
    serving = serve(hello, access_logfile=str(path), access_log_format="%(U)s")
    pipe.close()
    ask(serving, 2)
    serving.until(lambda: said(caplog, path))
    ask(serving, 2)
    serving.server.stop()
    assert said(caplog, path) == [
        f"access log {str(path)!r}: Broken pipe; entries are lost until it can be written again"
    ]


def test_when_it_can_be_written_again_the_loss_is_counted(
    serve: Any, path: Path, pipe: io.FileIO, caplog: Any
) -> None:
    serving = serve(hello, access_logfile=str(path), access_log_format="%(U)s")
    pipe.close()
    ask(serving, 3)
    serving.until(lambda: said(caplog, path))
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    ask(serving, 1, 3)
    serving.server.stop()
    assert said(caplog, path)[-1] == f"access log {str(path)!r}: can be written again; 3 entries were lost"
    assert os.read(reader, 100) == b"/3\n"
    os.close(reader)


def test_a_descriptor_that_does_not_block_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = bytes(range(256)) * 4096  # more than a pipe holds
    hub = gevent.get_hub()
    writing = gevent.spawn(hub.threadpool.apply, access.put, (writer, data))
    read = b""
    while len(read) < len(data):
        read += hub.threadpool.apply(os.read, (reader, 65536))
    writing.get()
    assert read == data
    os.close(reader)
    os.close(writer)


# ---- without it


def test_without_a_file_there_is_no_access_log(serve: Any) -> None:
    serving = serve(hello)
    assert serving.ask(request()).status == 200
    assert serving.server.settings.access_logfile is None


def test_a_batch_for_which_there_is_no_thread_is_reported_and_the_next_is_written(
    logged: Any, caplog: pytest.LogCaptureFixture, defects: list[str]
) -> None:
    serving = logged(hello, "%(U)s")
    log = serving.server._access
    put = log._put

    def fail(batch: bytes) -> Any:
        log._put = put
        raise RuntimeError("can't start new thread")

    log._put = fail
    ask(serving, 1)
    until(lambda: any("can't start new thread" in record.getMessage() for record in caplog.records))
    ask(serving, 1, 1)
    assert serving.entries() == ["/1"]
    defects.clear()  # the thread has said it too


@pytest.mark.parametrize("longest", [30, 5000])
def test_a_pipe_gets_whole_lines_in_pieces_that_it_keeps_together(monkeypatch, longest):
    """Others may write into it: the error log. Only a line that is longer than that is torn."""
    reading, writing = os.pipe()
    lines = [b"%d %s\n" % (n, b"x" * (n * 7 % longest)) for n in range(300)]
    pieces = []
    write = os.write

    def spied(fd, data):
        pieces.append(bytes(data))
        return write(fd, data)

    monkeypatch.setattr(access.os, "write", spied)
    reader = threading.Thread(target=lambda: list(iter(lambda: os.read(reading, 65536), b"")))
    reader.start()
    access.put(writing, b"".join(lines))
    os.close(writing)
    reader.join()
    os.close(reading)
    assert b"".join(pieces) == b"".join(lines)
    assert all(len(piece) <= PIPE_BUF for piece in pieces) and len(pieces) < len(lines)
    if longest == 30:
        assert all(piece.endswith(b"\n") for piece in pieces)
