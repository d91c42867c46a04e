"""What ends programs, raised in the main green thread while it waits. Real servers: tests/system/test_exit.py."""

import sys

import gevent
import pytest
from gevent.event import Event

from greenhttp.program.exits import ended, outlast, until, what


def leave(code):
    sys.exit(code)


def test_an_event_that_comes_is_no_exit(caplog):
    event = Event()
    gevent.spawn(event.set)
    assert until(event) is None
    assert not caplog.records


def test_it_is_returned_and_logged_with_the_stack_of_its_green_thread_alone(caplog, quiet):
    gevent.spawn(leave, 3)
    error = until(Event())
    assert isinstance(error, SystemExit) and error.code == 3
    (record,) = caplog.records
    assert record.getMessage().startswith("sys.exit(3) in a green thread of the application; ")
    assert "in leave\n" in caplog.text and "in until" not in caplog.text and "_abstract_linkable" not in caplog.text


def test_a_call_is_not_interrupted(caplog, quiet):
    waiting, go = Event(), Event()

    def call(number):
        waiting.set()
        go.wait()
        return number + 1

    def meanwhile():
        waiting.wait()
        gevent.spawn(leave, 4).join()
        gevent.spawn(leave, 5).join()
        go.set()

    gevent.spawn(meanwhile)
    assert outlast(call, 1) == 2
    assert [record.getMessage().partition(" ")[0] for record in caplog.records] == ["sys.exit(4)", "sys.exit(5)"]


def test_what_the_call_raises_is_raised(quiet):
    with pytest.raises(LookupError):
        outlast({}.__getitem__, 1)


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (SystemExit(), "sys.exit()", None),
        (SystemExit(0), "sys.exit(0)", 0),
        (SystemExit("bye"), "sys.exit('bye')", "bye"),
        (KeyboardInterrupt(), "KeyboardInterrupt", 1),
        (SystemError("x"), "SystemError", 1),
    ],
)
def test_the_exit_code_is_that_of_sys_exit_and_1_for_the_rest(error, text, code):
    assert what(error) == f"{text} in a green thread of the application"
    assert ended(error).code == code


@pytest.fixture
def quiet(monkeypatch):
    """gevent prints what a green thread raises; here that is expected."""
    monkeypatch.setattr(gevent.get_hub(), "exception_stream", None)
