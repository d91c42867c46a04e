"""hosting/errors.py: what an application writes to wsgi.errors is an entry of the log, with its request."""

import logging
import sys

import gevent
import pytest

from greenhttp.doors.worker import Worker, _Passed
from greenhttp.hosting import errors
from greenhttp.hosting.errors import Errors, Source
from greenhttp.process.board import Board


@pytest.fixture
def said(monkeypatch):
    """What reached the log: sources and texts."""
    entries = []
    monkeypatch.setattr(errors, "sink", lambda source, text: entries.append((source, text)))
    return entries


@pytest.fixture
def stream():
    return Errors(lambda green: None)


def test_a_text_of_many_lines_is_one_entry(said, stream):
    stream.write("Traceback\n  File\nLookupError\n")
    assert said == [(None, "Traceback\n  File\nLookupError")]


def test_what_print_writes_is_one_entry(said, stream):
    print("a", 1, "b", file=stream)
    assert said == [(None, "a 1 b")]


def test_a_beginning_waits_for_its_end_or_the_next_turn_of_the_hub(said, stream):
    stream.write("half ")
    assert said == []
    stream.write("whole\nand")
    assert said == [(None, "half whole")]
    gevent.sleep(0)
    gevent.sleep(0)
    assert said[1:] == [(None, "and")]


def test_flush_ends_an_entry(said, stream):
    stream.write("now")
    stream.flush()
    stream.flush()
    assert said == [(None, "now")]


def test_green_threads_do_not_mix_their_words(said, stream):
    def speak(word):
        stream.write(word[0])
        gevent.sleep(0)
        stream.write(word[1:] + "\n")

    gevent.joinall([gevent.spawn(speak, word) for word in ("one", "two")])
    text = "".join(text for _, text in said)
    assert sorted(text) == sorted("onetwo")
    assert all(text in ("o", "t", "ne", "wo", "one", "two") for _, text in said)


def test_empty_lines_are_no_entries(said, stream):
    stream.write("\n\n \n")
    assert said == []


def test_a_line_without_an_end_is_bounded(said, stream):
    stream.write("x" * (errors.MOST + 1))
    assert [len(text) for _, text in said] == [errors.MOST + 1]


def test_anything_but_text_is_refused(said, stream):
    with pytest.raises(TypeError, match="wsgi.errors takes str, not bytes"):
        stream.write(b"x")


def test_without_a_log_of_ours_it_is_stderr(monkeypatch, capsys, stream):
    monkeypatch.setattr(errors, "sink", None)
    print("x", file=stream, flush=True)
    assert capsys.readouterr().err == "x\n"


def test_an_entry_names_its_request(said):
    stream = Errors(lambda green: ("127.0.0.1:1", "7f3a"))
    stream.write("x\n")
    assert said == [(Source("127.0.0.1:1", "", "7f3a"), "x")]
    board = Board(1)

    class Green:
        place = -1

    stream.board = board
    assert stream._source(Green) == Source("127.0.0.1:1", "", "7f3a")


def test_under_gunicorn_it_goes_where_its_errors_go_and_to_no_handler_of_the_application(caplog):
    class Own(logging.Handler):
        def emit(self, record):
            seen.append(record.getMessage())

    seen = []
    worker = Worker.__new__(Worker)
    error_log = logging.Logger("gunicorn.error")
    error_log.addHandler(Own())
    worker.passed = _Passed(error_log)
    worker._from_application(("127.0.0.1:1", "GET /x", "7f3a"), "odd\n")
    assert seen == ["127.0.0.1:1 [7f3a]: GET /x: odd"]
    assert not caplog.records
    assert sys.stderr is not None
