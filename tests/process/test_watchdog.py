"""process/watchdog.py: a real thread that tells which line holds up the hub, in which request, and else says nothing.

No test depends on speed: the hub is blocked for as long as it takes until the watchdog has spoken.
"""

import inspect
import logging
import re
import subprocess
import sys
import time

import gevent
import gevent.event
import gevent.socket
import pytest

from greenhttp.process.board import Board
from greenhttp.process.watchdog import Watchdog
from greenhttp.server import Server
from tests.green.green import turn, turns, until

WARN = 0.05
ENOUGH = 30.0  # seconds, a bound for what takes a tenth of one


class Lines(logging.Handler):
    """What is logged, as (level, text)."""

    def __init__(self) -> None:
        super().__init__()
        self.said = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append((record.levelname, record.getMessage()))


@pytest.fixture
def said():
    log, handler = logging.getLogger("greenhttp"), Lines()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield handler.said
    log.removeHandler(handler)
    log.setLevel(before)


@pytest.fixture
def watch():
    """watch(warn, hang, in_progress, board) -> a watchdog of this hub that watches until the end of the test"""
    dogs = []

    def make(warn=0.0, hang=0.0, in_progress=list, board=None) -> Watchdog:
        dog = Watchdog(gevent.get_hub().loop, warn, hang, in_progress, board)
        dogs.append(dog)
        dog.start()
        return dog

    threads = watching()
    yield make
    for dog in dogs:
        dog.stop()
    gone(threads)


def watching() -> int:
    """Real threads that are in a watchdog; others may come and go."""
    outermost = [frame for frame in sys._current_frames().values() if frame is not None]
    for number, frame in enumerate(outermost):
        while frame.f_back is not None:
            frame = frame.f_back
        outermost[number] = frame
    return sum(frame.f_code is Watchdog._watch.__code__ for frame in outermost)


def gone(threads: int) -> None:
    """Wait until only so many of them watch."""
    until(lambda: watching() <= threads)


def busy(said, count=1):
    end = time.monotonic() + ENOUGH
    while len(said) < count and time.monotonic() < end:
        pass


def busy_until_spoken(board):
    end = time.monotonic() + ENOUGH
    while not board.spoken and time.monotonic() < end:
        pass


def place_of(function) -> str:
    """A pattern for `file:line in name()` with a line of its body."""
    lines, first = inspect.getsourcelines(function)
    numbers = "|".join(str(first + number) for number in range(1, len(lines)))
    return rf"{re.escape(__file__)}:({numbers}) in {function.__name__}\(\)"


@pytest.fixture
def serve():
    """serve(app) -> a server, its board, and ask(target)"""
    made, clients = [], []

    def make(app):
        board = Board(16)
        board.own()
        server = Server(app, bind="127.0.0.1:0")
        server.start(board=board)
        made.append((server, board))

        def ask(target: bytes) -> gevent.socket.socket:
            client = gevent.socket.create_connection(server.address)
            clients.append(client)
            client.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            return client

        return server, board, ask

    yield make
    for client in clients:
        client.close()
    for server, board in made:
        server.stop(0)
        board.close()


# ---- the line


def test_the_line_names_what_blocks_and_its_callers(said, watch):
    watch(WARN)
    turns(2)
    busy(said)
    ((level, text),) = said
    assert level == "WARNING"
    assert re.match(rf"the hub is blocked for \d+\.\d s at {place_of(busy)}; stack: {place_of(busy)} < ", text)
    assert f" < {__file__}:" in text
    assert "in test_the_line_names_what_blocks_and_its_callers()" in text
    assert "\n" not in text


def test_the_line_names_the_request_that_blocks_and_not_one_that_waits(said, watch, serve):
    go = gevent.event.Event()

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/waits":
            go.wait()
        else:
            busy(said)
        start_response("204 No Content", [])
        return []

    server, _, ask = serve(app)
    first = ask(b"/waits")
    until(lambda: server.statistics()["running"] == 1)
    watch(WARN, in_progress=server.in_progress)
    second = ask(b"/slow?secret")
    assert second.recv(100).startswith(b"HTTP/1.1 204 ")
    go.set()
    assert first.recv(100).startswith(b"HTTP/1.1 204 ")
    blocked = [text for _, text in said if text.startswith("the hub is blocked")]
    assert re.match(rf"the hub is blocked for \d+\.\d s at {place_of(busy)}, GET /slow; stack: ", blocked[0])
    assert "in app()" in blocked[0]
    assert "secret" not in blocked[0]


def test_it_is_said_once_for_each_time_and_when_it_is_over(said, watch):
    watch(WARN)
    turns(2)
    busy(said)
    time_is_up = time.monotonic() + 4 * WARN
    while time.monotonic() < time_is_up:  # it goes on being blocked, which is not said again
        pass
    assert len(said) == 1
    until(lambda: len(said) == 2)
    assert re.match(r"the hub is free again, after \d+\.\d s$", said[1][1])
    busy(said, 3)
    assert said[2][1].startswith("the hub is blocked for ")


def test_nothing_is_said_while_the_hub_turns(said, watch):
    """A machine that is too busy to let it turn proves nothing, and the test tries again."""
    for _ in range(20):
        dog = watch(WARN)
        longest, last = 0.0, time.monotonic()
        end = last + 8 * WARN
        while last < end:
            turn()
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        dog.stop()
        if longest < WARN:
            assert said == []
            return
        said.clear()
    pytest.skip("this machine is too busy")


def test_a_hub_that_only_waits_turns(said, watch):
    """With nothing else to do the loop would sleep for a thousand seconds; the watchdog's own timer wakes it."""
    dog = watch(WARN)
    before = dog.beat
    waiting = gevent.spawn(gevent.sleep, 1000)
    until(lambda: dog.beat > before)
    waiting.kill()


# ---- everything


def test_a_hang_is_testified_with_all_stacks_once_and_the_board_is_told(said, watch, serve):
    go = gevent.event.Event()

    def waits():
        go.wait()

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/waits":
            waits()
        else:
            busy_until_spoken(board)
            time_is_up = time.monotonic() + 4 * WARN
            while time.monotonic() < time_is_up:
                pass
        start_response("204 No Content", [])
        return []

    server, board, ask = serve(app)
    first = ask(b"/waits")
    until(lambda: server.statistics()["running"] == 1)
    watch(0.0, WARN, server.in_progress, board)
    assert not board.spoken
    second = ask(b"/hangs")
    assert second.recv(100).startswith(b"HTTP/1.1 204 ")
    go.set()
    assert first.recv(100).startswith(b"HTTP/1.1 204 ")
    assert board.spoken
    # another stall, of the machine, may have been seen before the request was there
    errors = [text for level, text in said if level == "ERROR"]
    at = next(number for number, text in enumerate(errors) if "in busy_until_spoken\n" in text)
    assert re.match(r"the hub is blocked for \d+ s; its stack:\n  File ", errors[at])
    assert sum("in busy_until_spoken\n" in text for text in errors) == 1
    of_waiting, of_running = errors[at + 1 : at + 3]
    assert re.match(r"in progress for \d+\.\d s: GET /waits\n  File ", of_waiting)
    assert "in waits\n" in of_waiting
    assert re.match(r"in progress for \d+\.\d s: GET /hangs\n    \(running\)$", of_running)


def test_of_too_many_green_threads_the_rest_is_counted(said, watch):
    board = Board(1)
    watch(0.0, WARN, lambda: [(1.0, "x", None)] * 203, board)
    turns(2)
    busy_until_spoken(board)
    assert sum(text.startswith("in progress for 1.0 s: x\n") for _, text in said) == 200
    assert ("ERROR", "and 3 more requests in progress") in said
    board.close()


def test_nobody_has_to_be_interested(said, watch):
    watch(0.0, WARN)
    turns(2)
    busy(said)
    assert said[0][1].startswith("the hub is blocked for ")


# ---- its life


def test_what_goes_wrong_in_it_does_not_end_it(said, watch):
    def bad():
        raise LookupError("strange")

    watch(WARN, in_progress=bad)
    turns(2)
    busy(said)
    assert said == [("DEBUG", "the watchdog could not write its report")]
    until(lambda: len(said) == 2)
    assert said[1][1].startswith("the hub is free again")


def test_stopped_it_leaves_no_thread_and_says_nothing_any_more(said):
    threads = watching()
    dog = Watchdog(gevent.get_hub().loop, WARN, 0.0, list)
    dog.start()
    until(lambda: watching() == threads + 1)
    dog.stop()
    gone(threads)
    said.clear()
    time_is_up = time.monotonic() + 4 * WARN
    while time.monotonic() < time_is_up:
        pass
    assert said == []
    dog.stop()  # once more is nothing


def test_stopped_before_its_thread_has_begun_it_ends_as_well():
    threads = watching()
    for _ in range(20):
        dog = Watchdog(gevent.get_hub().loop, WARN, 0.0, list)
        dog.start()
        dog.stop()
    gone(threads)


def test_with_nothing_to_watch_for_there_is_neither_thread_nor_timer(watch):
    threads = watching()
    dog = watch(0.0, 0.0)
    assert dog.timer is None
    assert watching() == threads


def test_a_loop_with_nothing_else_to_do_ends_in_spite_of_it():
    code = (
        "import gevent\n"
        "from greenhttp.process.watchdog import Watchdog\n"
        "dog = Watchdog(gevent.get_hub().loop, 10.0, 0.0, list)\n"
        "dog.start()\n"
        "assert gevent.wait(timeout=30) is True\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
