"""observe/noise.py: what outsiders can make the log say at will is bounded, and counted."""

from __future__ import annotations

import logging
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp.observe import noise
from greenhttp.observe.noise import LINES, Noise
from tests.http.apps import hello, post, request
from tests.log_lines import without_peer


class Clock:
    """Stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: Any) -> Clock:
    clock = Clock()
    monkeypatch.setattr(noise, "time", clock)
    return clock


class Log:
    """What was reported. `debug`: whether it takes debug; `silent`: whether it takes nothing."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.debug = self.silent = False
        self.told = Event()
        self.noise = Noise(self.report, lambda level: not self.silent and (level != "debug" or self.debug))

    def report(self, level: str, message: str) -> None:
        self.lines.append((level, message))
        if message.startswith("and "):
            self.told.set()

    def timers(self) -> int:
        return sum(burst._timer is not None for burst in self.noise._bursts.values())


def count(what: str) -> str:
    return f"and {what} in the last second (log_level=debug logs all)"


def test_some_lines_of_a_second_are_written_and_the_rest_is_counted_at_its_end(clock: Clock) -> None:
    log = Log()
    for number in range(LINES + 2):
        log.noise("refusals", f"{number}")
    assert log.lines == [("info", f"{number}") for number in range(LINES)]
    clock.now += 1
    log.noise("refusals", "next")  # comes before the timer
    assert log.lines[LINES:] == [("info", count("2 more refusals")), ("info", "next")]
    assert log.timers() == 0


def test_without_a_flood_there_is_neither_a_count_nor_a_timer(clock: Clock) -> None:
    log = Log()
    for number in range(100):
        if number % LINES == 0:
            clock.now += 1
        log.noise("refusals", "x")
        assert log.timers() == 0
    log.noise.end()
    assert log.lines == [("info", "x")] * 100


def test_a_flood_that_ends_has_its_count_though_nothing_comes_after_it(monkeypatch: Any) -> None:
    monkeypatch.setattr(noise, "PERIOD", 0.01)
    log = Log()
    while not log.timers():  # the first that is withheld: however slowly this goes, they come in bursts
        log.noise("refusals", "x")
    written = log.lines.count(("info", "x"))
    log.told.wait()
    assert log.lines == [("info", "x")] * written + [("info", count("1 more refusal"))]
    assert log.timers() == 0


def test_the_end_of_the_server_tells_the_count(clock: Clock) -> None:
    log = Log()
    for _ in range(LINES + 312):
        log.noise("overload", "x", "warning")
    log.noise.end()
    assert log.lines[LINES:] == [("warning", count("312 more refusals because of overload"))]
    assert log.timers() == 0
    log.noise.end()
    assert len(log.lines) == LINES + 1


def test_one_kind_does_not_hide_another(clock: Clock) -> None:
    log = Log()
    for _ in range(LINES + 1):
        log.noise("refusals", "x")
    log.noise("overload", "y", "warning")
    log.noise("disconnections", "z")
    assert log.lines[LINES:] == [("warning", "y"), ("info", "z")]
    log.noise.end()


def test_at_debug_level_there_are_all_of_them(clock: Clock) -> None:
    log = Log()
    log.debug = True
    for number in range(LINES + 2):
        log.noise("refusals", f"{number}")
    log.noise.end()
    assert log.lines == [("info" if number < LINES else "debug", f"{number}") for number in range(LINES + 2)]


def test_what_nobody_hears_is_not_counted(clock: Clock) -> None:
    log = Log()
    log.silent = True
    for _ in range(LINES + 2):
        log.noise("refusals", "x")
    log.silent = False
    log.noise.end()
    assert log.lines == []


# ---- a server


@pytest.fixture
def hour(monkeypatch: Any) -> None:
    """A second that no machine is too slow for."""
    monkeypatch.setattr(noise, "PERIOD", 3600.0)


def said(caplog: Any) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.usefixtures("hour")
def test_a_flood_of_refusals_at_a_server(serve: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "greenhttp")
    serving = serve(hello)
    for _ in range(40):
        assert serving.ask(b"GET / HTTP/1.1\r\n\r\n").status == 400
    serving.server.stop()
    lines = said(caplog)
    assert [without_peer(line) for line in lines[:LINES]] == ["refused with 400: no Host"] * LINES
    assert lines[LINES:] == [count(f"{40 - LINES} more refusals")]


@pytest.mark.usefixtures("hour")
def test_the_count_is_told_although_the_stop_cuts(serve: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "greenhttp")
    serving = serve(hello)
    for _ in range(LINES + 1):
        assert serving.ask(b"bad\r\n").status == 400
    serving.server.stop(0)
    assert count("1 more refusal") in said(caplog)


@pytest.mark.usefixtures("hour")
def test_a_flood_of_clients_that_leave_their_content_unsent(serve: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "greenhttp")

    def reads(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        raise AssertionError("it came to its end")

    serving = serve(reads)
    for number in range(LINES + 7):
        client = serving.connect().send(post(b"hello")[:-1])
        serving.until(lambda: serving.count("body"))
        client.reset()
        serving.until(lambda number=number: serving.count("requests") == number + 1 and not serving.count("running"))
    serving.server.stop()
    lines = said(caplog)
    assert all("POST /: the request body was not read to its end" in line for line in lines[:LINES])
    assert lines[LINES:] == [count("7 more disconnections")]


@pytest.mark.usefixtures("hour")
def test_errors_of_the_application_are_no_noise(serve: Any, caplog: Any) -> None:
    def fails(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise KeyError

    serving = serve(fails)
    for _ in range(4 * LINES):
        assert serving.ask(request()).status == 500
    serving.server.stop()
    assert [without_peer(line) for line in said(caplog)] == ["GET /: KeyError in the application"] * 4 * LINES


@pytest.mark.usefixtures("hour")
def test_a_stream_handler_s_peers_that_go_away(serve: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "greenhttp")
    serving = serve(lambda stream: stream.readexactly(10), interface="stream")
    for _ in range(LINES + 3):
        serving.connect().send(b"half").finish().was_reset()
    serving.until(lambda: not serving.count("connections"))
    serving.server.stop()
    lines = said(caplog)
    assert all("the peer disconnected (EOFError)" in line for line in lines[:LINES])
    assert lines[LINES:] == [count("3 more disconnections")]


def test_a_loop_turns_on_while_something_is_withheld(serve: Any, caplog: Any) -> None:
    """The timer of a flood is one of the loop's, and keeps nobody waiting."""
    serving = serve(hello)
    for _ in range(LINES + 1):
        serving.ask(b"bad\r\n")
    gevent.idle()
    assert serving.ask(request()).status == 200
