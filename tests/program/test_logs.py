"""program/logs.py: the log of a server as a program, beside whatever logging the application sets up."""

import contextlib
import io
import logging
import os
import re

import pytest

from greenhttp.errors import ConfigError
from greenhttp.program import logs
from greenhttp.settings.values import Settings


@contextlib.contextmanager
def silence():
    """An application without logging: not even the handlers by which pytest listens. As before afterwards."""
    loggers = (logs.log, logging.getLogger())
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    for logger in loggers:
        logger.handlers[:] = []
    logs.log.setLevel(logging.NOTSET)
    try:
        yield
    finally:
        for handler in logs.log.handlers:
            handler.close()
        for logger, handlers, level in before:
            logger.handlers[:] = handlers
            logger.setLevel(level)


LINE = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING careful\n$"


@silence()
def test_lines_go_to_stderr_with_time_and_level(capsys):
    with logs.set_up(Settings(log_level="warning")) as reopen:
        assert reopen == []
        logs.log.info("quiet")
        logs.log.warning("careful")
    assert re.match(LINE, capsys.readouterr().err)


@silence()
def test_an_application_that_sets_up_logging_has_it_alone(capsys):
    own = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(own)
    with logs.set_up(Settings()):
        logs.log.warning("careful")
    assert own.stream.getvalue() == "careful\n"
    assert capsys.readouterr().err == ""


@silence()
def test_also_when_it_does_so_later(capsys):
    with logs.set_up(Settings()):
        own = logging.StreamHandler(io.StringIO())
        logging.getLogger().addHandler(own)
        logs.log.warning("careful")
    assert own.stream.getvalue() == "careful\n"
    assert capsys.readouterr().err == ""


@silence()
def test_a_level_that_the_application_has_set_stays():
    logs.log.setLevel(logging.ERROR)
    with logs.set_up(Settings(log_level="debug")):
        assert logs.log.level == logging.ERROR
    assert logs.log.level == logging.ERROR


@silence()
def test_a_file_is_opened_again_under_its_name(tmp_path, capsys):
    path = tmp_path / "error.log"
    with logs.set_up(Settings(error_logfile=str(path))) as (reopen,):
        logs.log.warning("careful")
        path.rename(tmp_path / "old")
        logs.log.warning("careful")
        number = logs.stream().fileno()
        reopen()
        assert logs.stream().fileno() == number and os.path.samestat(os.fstat(number), path.stat())
        assert not os.get_inheritable(number)
        logs.log.warning("careful")
    assert len((tmp_path / "old").read_text().splitlines()) == 2
    assert re.match(LINE, path.read_text())
    assert capsys.readouterr().err == ""


@silence()
def test_a_file_that_cannot_be_opened_again_is_kept(tmp_path):
    (tmp_path / "logs").mkdir()
    with logs.set_up(Settings(error_logfile=str(tmp_path / "logs" / "error.log"))) as (reopen,):
        (tmp_path / "logs").rename(tmp_path / "old")
        with pytest.raises(OSError):
            reopen()
        logs.log.warning("careful")
    assert re.match(LINE, (tmp_path / "old" / "error.log").read_text())


@silence()
def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    settings = Settings(error_logfile=str(tmp_path / "none" / "x"))
    line = "^error_logfile: .*/none/x: No such file or directory$"
    with pytest.raises(ConfigError, match=line), logs.set_up(settings):
        pass
    assert (logs.log.handlers, logs.log.level) == ([], logging.NOTSET)


@silence()
@pytest.mark.parametrize("name", ["-", "error.log"])
def test_what_was_set_up_is_taken_down_also_after_an_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    handlers = []
    with pytest.raises(ZeroDivisionError), logs.set_up(Settings(error_logfile=name)):
        handlers.extend(logs.log.handlers)
        raise ZeroDivisionError
    assert len(handlers) == 1
    assert (logs.log.handlers, logs.log.level) == ([], logging.NOTSET)
    assert name == "-" or handlers[0].stream is None  # closed
