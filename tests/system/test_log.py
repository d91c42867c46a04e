"""The log of real processes where it cannot be written: nobody reads it, the disk is full. Nothing else may suffer."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import time

import pytest

from tests.lines import plain
from tests.reload import children
from tests.system.served import PATIENCE, Local, serve

__all__ = ["serve"]  # a fixture


@pytest.fixture
def full():
    """A pipe that is full, and stays so: its end to write to. It blocks, as a pipe of a shell does."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for piece in (b"x" * 4096, b"x"):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, piece)
    os.set_blocking(writing, True)
    yield writing
    os.close(reading)
    os.close(writing)


@pytest.fixture(params=["stderr", "fifo"])
def stalled(request, full, tmp_path):
    """Where the log goes that nobody reads: stderr and options."""
    if request.param == "stderr":
        yield full, ()
        return
    os.mkfifo(tmp_path / "fifo")
    reading = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    yield full, ("--error-logfile", "fifo")
    os.close(reading)


def flood(served):
    """More lines for the log than any pipe holds."""
    for _ in range(100):
        served.asked(path="/long")


def test_where_nobody_reads_the_log_everything_else_goes_on(serve, stalled):
    stderr, options = stalled
    served = serve(stderr, "-w", "1", "--timeout", "1", *options)
    first = served.asked()
    flood(served)
    assert served.ask() == first
    os.kill(first, signal.SIGKILL)
    second = served.asked(unless=[first])
    flood(served)
    client = Local(served.socket)  # a worker that hangs
    client.request("GET", "/spin")
    third = served.asked(unless=[first, second])
    client.close()
    served.send("USR1")
    served.send("HUP")
    fourth = served.asked(unless=[first, second, third])
    flood(served)
    served.send("USR2")
    fifth = served.asked(unless=[first, second, third, fourth])
    served.send("TTIN")
    served.asked(unless=[fifth])
    assert served.stop() == 0


@pytest.mark.parametrize("name", ["INT", "QUIT"])
def test_the_signals_that_stop_at_once_do_so_too(serve, stalled, name):
    stderr, options = stalled
    served = serve(stderr, "-w", "1", *options)
    served.asked()
    flood(served)
    assert served.stop(name) == 0


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_one_process_alone_goes_on_as_well(serve, stalled, name):
    stderr, options = stalled
    served = serve(stderr, *options)
    first = served.asked()
    flood(served)
    served.send("USR1")
    assert served.ask() == first
    assert served.stop(name) == 0


def test_what_was_lost_is_counted_and_said_when_there_is_room(serve, tmp_path):
    reading, writing = os.pipe()
    served = serve(writing, "-w", "1", "--access-logfile", "off")
    os.close(writing)
    served.asked()
    flood(served)
    served.asked(path="/odd")
    with os.fdopen(reading, errors="replace") as stderr:
        text, said = "", None
        while said is None:  # as fast as it is written
            line = stderr.readline()
            assert line, text
            text += line
            if "log messages were lost" in line:
                said = line
            if len(text) > 100 and said is None:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    served.ask("/odd")
        served.send("TERM")
        rest = stderr.read()
    why = "they came faster than the log could be written"
    assert re.fullmatch(rf"greenhttp: \d+ log messages were lost: {why}\n", said)
    assert "INFO stopped, exit code 0\n" in rest
    assert served.process.wait(PATIENCE) == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("options", [("-w", "1"), ()], ids=["supervised", "alone"])
def test_a_full_disk_under_the_error_log_is_a_line_a_minute(serve, tmp_path, options):
    with open(tmp_path / "err", "wb") as stderr:
        served = serve(stderr, "--error-logfile", "/dev/full", *options)
    first = served.asked()
    if options:
        os.kill(first, signal.SIGKILL)
        second = served.asked(unless=[first])
        served.send("HUP")
        served.asked(unless=[first, second])
    for _ in range(20):
        served.asked(path="/odd")
    assert served.stop() == 0
    lines = (tmp_path / "err").read_text().splitlines()
    assert len(lines) in (1, 2), lines
    for line in lines:
        assert re.fullmatch(r"greenhttp: \d+ log messages could not be written to /dev/full: No space.*", line)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_under_stderr_ends_nothing(serve):
    with open("/dev/full", "wb") as stderr:
        served = serve(stderr, "-w", "1")
    first = served.asked()
    os.kill(first, signal.SIGKILL)
    second = served.asked(unless=[first])
    served.send("HUP")
    served.asked(unless=[first, second])
    assert served.stop() == 0


needs_children = pytest.mark.skipif(
    not os.path.exists(f"/proc/self/task/{os.getpid()}/children"), reason="/proc does not list children"
)


@needs_children
def test_a_log_process_that_dies_is_replaced_and_no_line_is_lost(serve, tmp_path):
    served = serve(subprocess.DEVNULL, "-w", "1", "--error-logfile", "error.log")
    served.asked()
    (scribe,) = children(served.process.pid, log=True)
    os.kill(scribe, signal.SIGKILL)
    for _ in range(5):
        served.ask("/odd")
    assert served.stop() == 0
    text = plain((tmp_path / "error.log").read_text())
    assert text.count("something odd") == 5
    assert text.count("ERROR the log process died: killed by SIGKILL") == 1
    assert text.endswith("INFO stopped, exit code 0\n")


@needs_children
def test_it_holds_no_socket_and_ends_with_the_last_who_writes(serve, tmp_path):
    served = serve(subprocess.DEVNULL, "-w", "1", "--error-logfile", "error.log")
    worker = served.asked()
    (scribe,) = children(served.process.pid, log=True)
    for name in ("INT", "TERM", "HUP", "QUIT", "USR2"):
        os.kill(scribe, getattr(signal, f"SIG{name}"))
    kinds = {os.readlink(f"/proc/{scribe}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{scribe}/fd")}
    assert "socket" not in kinds
    served.process.kill()  # the worker notices, and leaves with a word
    served.process.wait()
    end = time.monotonic() + PATIENCE
    while os.path.exists(f"/proc/{scribe}/fd/0") and time.monotonic() < end:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{scribe}/fd/0")
    assert not os.path.exists(f"/proc/{worker}/fd/0")


def test_each_line_is_an_object_with_log_format_json(serve, tmp_path):
    with open(tmp_path / "err", "wb") as stderr:
        served = serve(stderr, "-w", "1", "--log-format", "json")
    worker = served.asked(path="/odd")
    with contextlib.suppress(ValueError):
        served.ask("/fail")
    assert served.stop() == 0
    entries = [json.loads(line) for line in (tmp_path / "err").read_text().splitlines()]
    assert {tuple(entry) for entry in entries} == {
        ("time", "level", "process", "worker", "request", "request_id", "peer", "message", "exception")
    }
    (odd,) = [entry for entry in entries if "odd" in entry["message"]]
    assert (odd["level"], odd["process"], odd["worker"], odd["request"]) == ("ERROR", worker, 1, "GET /odd")
    (failed,) = [entry for entry in entries if entry["exception"]]
    assert failed["exception"].endswith("LookupError: no such shelf\n") or failed["exception"].endswith("shelf")
    assert {odd["peer"], failed["peer"]} == {f"a UNIX peer (process {os.getpid()})"}
    assert failed["request"] == "GET /fail"
    assert [entry for entry in entries if entry["message"].startswith("settings: ")]
    assert entries[-1]["message"] == "stopped, exit code 0"


def test_a_level_above_info_keeps_the_start_and_the_end_quiet(serve, tmp_path):
    with open(tmp_path / "err", "wb") as stderr:
        served = serve(stderr, "-w", "1", "--log-level", "warning")
    served.asked(path="/odd")
    assert served.stop() == 0
    me = f"a UNIX peer (process {os.getpid()})"
    assert plain((tmp_path / "err").read_text()) == f"ERROR {me}: GET /odd: something odd\n"


def test_access_log_and_error_log_may_be_one_pipe(serve, tmp_path):
    """No line is torn by another, whoever writes it, as long as it fits into PIPE_BUF."""
    reading, writing = os.pipe()
    served = serve(writing, "-w", "2", "--access-logfile", "/dev/stderr")
    os.close(writing)
    lines = []
    with os.fdopen(reading) as both:
        for line in both:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        for _ in range(300):
            served.ask("/odd")
        served.send("TERM")
        lines += both.readlines()
    odd = re.compile(r"ERROR a UNIX peer \(process \d+\): GET /odd: something odd\n")
    access = re.compile(r'\S* - - \[[^]]+\] "GET /odd HTTP/1.1" 200 \d+ "-" "-"\n')
    info = re.compile(r"(INFO|WARNING) .*\n")
    kinds = [[bool(form.fullmatch(plain(line))) for form in (odd, access, info)] for line in lines]
    assert [line for line, kind in zip(lines, kinds, strict=True) if sum(kind) != 1] == []
    assert [sum(column) for column in zip(*kinds, strict=True)][:2] == [300, 300]
