"""The progress bar, on a stderr and by a clock of the tests' own."""

import io
from types import SimpleNamespace

import pytest

from perf.tools import progress
from perf.tools.progress import Progress


class Stderr(io.StringIO):
    def __init__(self, terminal: bool):
        super().__init__()
        self.isatty = lambda: terminal


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def stderr(monkeypatch, request) -> Stderr:
    stderr = Stderr(getattr(request, "param", True))
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stderr))
    return stderr


def last(stderr: Stderr) -> str:
    return stderr.getvalue().rpartition("\x1b[K")[2]


def test_a_terminal_shows_a_bar_what_runs_the_time_and_what_is_left(stderr, clock):
    bar = Progress(4, seconds=40.0)
    bar.step("first", 10.0)
    assert last(stderr) == f"[{'-' * 20}] 1/4  0:00, about 0:40 left  first"
    clock.now += 20  # twice as slow as guessed
    bar.step("second", 10.0)
    assert last(stderr) == f"[#####{'-' * 15}] 2/4  0:20, about 1:00 left  second"


def test_guesses_weigh_the_steps(stderr, clock):
    bar = Progress(2, seconds=100.0)
    bar.step("short", 10.0)
    clock.now += 10
    bar.step("long", 90.0)
    assert "0:10, about 1:30 left" in last(stderr)


def test_without_guesses_steps_are_of_one_length(stderr, clock):
    bar = Progress(3)
    bar.step("a")
    clock.now += 10
    bar.step("b")
    clock.now += 10
    bar.finished("both")
    bar.step("c")
    assert last(stderr).endswith("3/3  0:20, about 0:10 left  c")


def test_skipped_steps_are_neither_shown_nor_waited_for(stderr, clock):
    bar = Progress(4, seconds=40.0)
    bar.step("a", 10.0)
    clock.now += 10
    bar.skip(2, 20.0)
    bar.step("b", 10.0)
    assert last(stderr) == "[##########----------] 2/2  0:10, about 0:10 left  b"


def test_a_line_is_never_longer_than_the_terminal(stderr, clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    Progress(1).step("x" * 100)
    assert len(last(stderr)) == 39


def test_a_finished_group_leaves_no_line_on_a_terminal(stderr, clock):
    bar = Progress(1)
    bar.step("a")
    bar.finished("group")
    assert last(stderr) == ""


@pytest.mark.parametrize("stderr", [False], indirect=True)
def test_without_a_terminal_there_is_one_plain_line_for_each_group(stderr, clock):
    bar = Progress(4, seconds=40.0)
    for group in ("hello-64", "wait-2000"):
        for server in "ab":
            bar.step(server, 10.0)
            bar.say("anything")
            clock.now += 10
        bar.finished(group)
        bar.clear()
    assert stderr.getvalue() == "hello-64 done, 2/4, 0:20, about 0:20 left\nwait-2000 done, 4/4, 0:40\n"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (75, "1:15"), (3675, "1:01:15")])
def test_clock(seconds, text):
    assert progress.clock(seconds) == text
