"""Whatever ends says why, and what it was at: workers, requests, the supervisor. Real processes."""

import os
import re
import signal
import sys
import time

import pytest

from tests.lines import plain
from tests.system.served import PATIENCE, Local, serve

__all__ = ["serve"]  # a fixture

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look at processes through /proc")

APP = """
import atexit, os, threading, time

def spinning():
    while True: pass

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/exit":
        os._exit(0)
    if path == "/spin":
        spinning()
    if path == "/atexit":
        atexit.register(time.sleep, 1000)
    if path == "/thread":
        from gevent.monkey import get_original
        def never_ends():
            get_original("time", "sleep")(1000)
        from gevent.threadpool import ThreadPool
        atexit.register(never_ends)
    if path == "/wait":
        time.sleep(1000)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


@pytest.fixture
def log(serve, tmp_path):
    """log(*options): what serves, and a function that waits for a word in its log and gives all of that."""

    def begin(*options):
        with open(tmp_path / "err", "wb") as stderr:
            served = serve(stderr, *options, app=APP)

        def until(word):
            end = time.monotonic() + PATIENCE
            while word not in (text := plain((tmp_path / "err").read_text())):
                assert time.monotonic() < end, f"no {word!r} in\n{text}"
                time.sleep(0.02)
            return text

        return served, until

    return begin


def send(served, path):
    """Ask, and do not wait for the answer."""
    client = Local(served.socket)
    client.request("GET", path)
    return client


def test_a_worker_whose_supervisor_is_killed_says_so(log):
    served, until = log("-w", "2")
    served.asked()
    until(" serves, process ")
    served.process.kill()
    served.process.wait()
    for number in (1, 2):
        until(f"ERROR worker {number}: the supervisor has died; this worker finishes its requests and ends\n")


def test_an_exit_in_a_handler_names_its_request(log):
    served, until = log("-w", "1")
    first = served.asked()
    client = send(served, "/exit")
    text = until("worker 1 died: exit code 0\n")
    assert "WARNING worker 1: request in progress when it died: GET /exit, for " in text
    served.asked(unless=[first])
    client.close()
    assert served.stop() == 0


@pytest.mark.parametrize("path", ["/spin", "/atexit"])
def test_a_worker_that_does_not_end_in_time_says_at_what_it_was(log, path):
    served, until = log("-w", "1", "--graceful-timeout", "1", "--hub-warn", "0")
    served.asked()
    if path == "/spin":
        client = send(served, path)
        time.sleep(0.5)  # nothing tells that it spins
    else:
        served.ask(path)
    assert served.stop() == 0
    text = until("stopped, exit code 0")
    assert "WARNING worker 1 did not finish in time and is killed\n" in text
    if path == "/spin":
        assert re.search(r"ERROR worker 1: request in progress for \d+\.\d s: GET /spin\n", text)
        assert 'web.py", line 5 in spinning\n' in text
        client.close()
    else:
        assert "ERROR worker 1 has done its requests and does not exit: a thread, or a function at exit," in text
        assert "Fatal Python error: Aborted" in text


def test_a_worker_that_was_stopped_is_told_as_that(log):
    served, until = log("-w", "1", "--timeout", "1", "--hub-warn", "0")
    first = served.asked()
    os.kill(first, signal.SIGSTOP)
    text = until("it is killed and replaced")
    assert "worker 1 is hung: it is stopped (SIGSTOP or SIGTSTP); SIGCONT would let it go on; it is killed" in text
    assert "native code" not in text and "loop is blocked" not in text
    served.asked(unless=[first])
    assert served.stop() == 0


def test_a_process_that_was_stopped_does_not_accuse_what_it_runs(log):
    served, until = log("--hub-warn", "100ms")
    pid = served.asked()
    os.kill(pid, signal.SIGSTOP)
    time.sleep(4)
    os.kill(pid, signal.SIGCONT)
    until("WARNING this process did not run for ")
    assert served.stop() == 0
    assert "the hub is blocked" not in until("stopped")


def test_who_was_told_to_leave_by_the_program_before_is_no_victim_of_a_stranger(log):
    served, until = log("-w", "1", "--graceful-timeout", "1", "--hub-warn", "0")
    served.asked()
    client = send(served, "/spin")
    time.sleep(0.5)
    served.send("HUP")
    until("worker 2 serves")
    served.send("USR2")
    until("generation 3 has taken over")
    text = until("worker 1 did not finish in time and is killed\n")
    assert served.stop() == 0
    text = until("stopped, exit code 0")
    assert "not by its supervisor" not in text
    client.close()
