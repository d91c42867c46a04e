"""logs/setup.py: the log of a server as a program, beside whatever logging the application sets up."""

import contextlib
import faulthandler
import io
import json
import logging
import logging.config
import os
import re
import sys

import pytest

from greenhttp.errors import ConfigError
from greenhttp.logs import setup as logs
from greenhttp.logs.lines import TextFormatter
from greenhttp.logs.pipe import LogPipe
from greenhttp.settings import console
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


LINE = rf"^\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{{3}} [+-]\d{{4}} \[{os.getpid()}\] WARNING careful\n$"


@silence()
def test_lines_go_to_stderr_with_time_zone_process_and_level(capfd):
    with logs.set_up(Settings(log_level="warning")):
        logs.log.info("quiet")
        logs.log.warning("careful")
    assert re.match(LINE, capfd.readouterr().err)


@silence()
def test_an_application_that_sets_up_logging_has_it_alone(capfd):
    own = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(own)
    with logs.set_up(Settings()):
        logs.log.warning("careful")
    assert own.stream.getvalue() == "careful\n"
    assert capfd.readouterr().err == ""


@silence()
def test_also_when_it_does_so_later(capfd):
    with logs.set_up(Settings()):
        own = logging.StreamHandler(io.StringIO())
        logging.getLogger().addHandler(own)
        logs.log.warning("careful")
    assert own.stream.getvalue() == "careful\n"
    assert capfd.readouterr().err == ""


@silence()
def test_a_level_that_the_application_has_set_stays():
    logs.log.setLevel(logging.ERROR)
    with logs.set_up(Settings(log_level="debug")):
        assert logs.log.level == logging.ERROR
    assert logs.log.level == logging.ERROR


@silence()
def test_within_a_process_that_has_it_set_up_nothing_changes(tmp_path):
    with logs.set_up(Settings(error_logfile=str(tmp_path / "a"))) as outer:
        with logs.set_up(Settings(error_logfile=str(tmp_path / "b"))) as inner:
            logs.log.warning("careful")
        assert inner is outer
    assert re.match(LINE, (tmp_path / "a").read_text())
    assert not (tmp_path / "b").exists()


@silence()
def test_a_file_is_opened_again_under_its_name(tmp_path, capfd):
    path = tmp_path / "error.log"
    with logs.set_up(Settings(error_logfile=str(path))) as log:
        logs.log.warning("careful")
        while not path.read_text():
            pass  # a rename says nothing to the thread that writes
        path.rename(tmp_path / "old")
        log.reopen()
        logs.log.warning("careful")
    assert re.match(LINE, (tmp_path / "old").read_text())
    assert re.match(LINE, path.read_text())
    assert capfd.readouterr().err == ""


@silence()
def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    settings = Settings(error_logfile=str(tmp_path / "none" / "x"))
    line = "^error_logfile: .*/none/x: No such file or directory$"
    with pytest.raises(ConfigError, match=line), logs.set_up(settings):
        pass
    assert (logs.log.handlers, logs.log.level, logs.current) == ([], logging.NOTSET, None)


@silence()
@pytest.mark.parametrize("name", ["-", "error.log"])
def test_what_was_set_up_is_taken_down_also_after_an_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError), logs.set_up(Settings(error_logfile=name)) as log:
        assert len(logs.log.handlers) == 1
        raise ZeroDivisionError
    assert (logs.log.handlers, logs.log.level, logs.current) == ([], logging.NOTSET, None)
    assert (log.pipe.reading, log.pipe.writing) == (-1, -1)


@silence()
def test_what_is_said_to_people_comes_between_the_lines_in_its_order(capfd, monkeypatch):
    monkeypatch.setattr(console, "seen", lambda: True)
    console.keep("said early")
    with logs.set_up(Settings()):
        logs.announce("serving")
        logs.log.warning("careful")
        console.say("Ctrl-C stops")
    err = capfd.readouterr().err.splitlines()
    assert [line.rpartition(" ")[2] for line in err] == ["early", "serving", "careful", "stops"]
    assert [line.startswith("greenhttp: ") for line in err] == [True, True, False, True]


@silence()
def test_what_is_announced_is_in_the_file_and_at_the_terminal(capfd, monkeypatch, tmp_path):
    monkeypatch.setattr(console, "seen", lambda: True)
    with logs.set_up(Settings(error_logfile=str(tmp_path / "e"))):
        logs.announce("serving \033[1mthis\033[0m")
        logs.told("Traceback\n", "it failed")
    assert capfd.readouterr().err == "greenhttp: serving \033[1mthis\033[0m\nTraceback\ngreenhttp: it failed\n"
    said = [line.partition("] ")[2] for line in (tmp_path / "e").read_text().splitlines()]
    assert said == ["INFO serving this", "CRITICAL it failed", ""]


class Odd:
    def __str__(self):
        raise ValueError("no text")


@silence()
def test_a_message_that_cannot_be_formatted_is_a_line_and_no_error(capfd):
    with logs.set_up(Settings()):
        logs.log.error("see %s", Odd())
        logs.log.error("%d", "word")
    err = capfd.readouterr().err
    assert "ERROR 'see %s': this log message cannot be formatted (ValueError)\n" in err
    assert "ERROR '%d': this log message cannot be formatted (TypeError)\n" in err
    assert "Traceback" not in err and "Logging error" not in err


def test_a_handler_has_no_lock_that_could_be_held_by_who_was_stopped():
    pipe = LogPipe()
    handler = logs.PipeHandler(pipe, TextFormatter(), False)
    handler.acquire()
    handler.acquire()
    with handler.lock:
        handler.handle(logging.makeLogRecord({"msg": "x"}))
    assert os.read(pipe.reading, 100).endswith(b"x\n")
    pipe.close()


@silence()
def test_a_forked_child_goes_on_with_the_pipe_and_takes_nothing_down(tmp_path):
    path = tmp_path / "error.log"
    with logs.set_up(Settings(error_logfile=str(path))):
        pid = os.fork()
        if pid == 0:
            try:
                with logs.set_up(Settings()):
                    logs.log.warning("of the child")
                raise SystemExit
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        logs.log.warning("of the parent")
    text = path.read_text()
    assert [f"[{pid}] WARNING of the child" in text, f"[{os.getpid()}] WARNING of the parent" in text] == [True, True]


@silence()
def test_the_file_for_crashes_keeps_its_descriptor_when_it_is_opened_again(tmp_path):
    path = tmp_path / "error.log"
    with logs.set_up(Settings(error_logfile=str(path))):
        crash = logs.Crash()
    number = crash.fd
    path.rename(tmp_path / "old")
    crash.reopen()
    assert crash.fd == number and os.path.samestat(os.fstat(number), path.stat())
    assert not os.get_inheritable(number)
    faulthandler.dump_traceback(crash.fd)
    assert "test_the_file_for_crashes" in path.read_text()
    path.unlink()
    tmp_path.joinpath("old").unlink()
    crash.path = str(tmp_path / "none" / "x")
    with pytest.raises(OSError):
        crash.reopen()
    os.fstat(number)
    os.close(number)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_buffer_that_cannot_be_written_is_empty_afterwards(tmp_path):
    stream = open("/dev/full", "w")  # noqa: SIM115
    stream.write("half a line")
    logs.empty(stream)
    stream.flush()  # nothing is left that could fail
    assert os.readlink(f"/proc/self/fd/{stream.fileno()}") == "/dev/full" or sys.platform != "linux"
    stream.close()
    logs.empty(None)
    logs.empty(stream)


@silence()
def test_wsgi_errors_is_written_also_where_the_application_has_handlers_and_passes_none_of_them(capfd):
    own = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(own)
    with logs.set_up(Settings()):
        logging.getLogger().addHandler(own)
        logs.from_application(("127.0.0.1:1", "GET /x", ""), "odd\n")
        logs.from_application(("127.0.0.1:1", "GET /x", "7f3a"), "odd\n")
        logs.from_application(("", "", "7f3a"), "odd\n")
        logs.cry("stopped by force")
    assert own.stream.getvalue() == ""
    *odd, last = capfd.readouterr().err.splitlines()
    assert [line.partition(" ERROR ")[2] for line in odd] == [
        "127.0.0.1:1: GET /x: odd", "127.0.0.1:1 [7f3a]: GET /x: odd", "[7f3a]: odd",
    ]  # fmt: skip
    assert last.endswith(" WARNING stopped by force")


@silence()
def test_a_logging_configuration_of_the_application_cannot_disable_it(capfd):
    with logs.set_up(Settings()):
        logging.config.dictConfig({"version": 1})  # disables all loggers that exist
        logs.log.warning("careful")
    assert re.match(LINE, capfd.readouterr().err)


@silence()
def test_each_line_is_an_object_also_where_a_message_is_too_long_or_cannot_be_made(capfd):
    class Worse:
        def __repr__(self):
            raise RuntimeError

        __str__ = __repr__

    with logs.set_up(Settings(log_format="json")) as log:
        logs.log.warning("%s", "x" * 600_000)
        logs.log.warning("%d", "word")
        logs.log.warning(Worse())
        log.pipe.lost = 3
        logs.log.warning("careful")
    entries = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert len(entries) == 5
    assert entries[0]["message"].endswith("x ... (cut)")
    assert "3 log messages were lost" in entries[3]["message"]


@silence()
def test_a_forked_child_does_not_stop_its_parent_s_log(tmp_path):
    path = tmp_path / "error.log"
    with logs.set_up(Settings(error_logfile=str(path))):
        pid = os.fork()
        if pid == 0:
            logs.last_words()
            os._exit(0)
        os.waitpid(pid, 0)
        logs.log.warning("careful")
    assert re.match(LINE, path.read_text())


class Failing(logging.Handler):
    def emit(self, record):
        raise LookupError("no such shelf")


def closed():
    stream = io.StringIO()
    stream.close()
    return logging.StreamHandler(stream)


def clear():
    logs.log.handlers[:] = []


def raises(*_, **__):
    raise LookupError("no such shelf")


def filtered(monkeypatch):
    monkeypatch.setattr(logs.log, "filters", [raises])


DEEDS = {
    "logging is disabled": lambda _: logging.disable(logging.CRITICAL),
    "the handler is thrown out": lambda _: clear(),
    "a handler of the root fails": lambda _: logging.getLogger().addHandler(Failing()),
    "a handler of the root has a closed stream": lambda _: logging.getLogger().addHandler(closed()),
    "the root has a NullHandler": lambda _: logging.getLogger().addHandler(logging.NullHandler()),
    "the record factory fails": lambda _: logging.setLogRecordFactory(raises),
    "the record factory makes nothing": lambda _: logging.setLogRecordFactory(lambda *_, **__: None),
    "a filter fails": filtered,
    "tracebacks are to be no number": lambda patch: patch.setattr(sys, "tracebacklimit", "all", raising=False),
}


@silence()
@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_whatever_the_application_does_to_logging_the_log_has_the_line_once(capfd, monkeypatch, deed):
    factory = logging.getLogRecordFactory()
    try:
        with logs.set_up(Settings()):
            deed(monkeypatch)
            try:
                raises()
            except LookupError:
                logs.log.warning("careful %d", 1, exc_info=True)
    finally:
        monkeypatch.undo()
        logging.disable(logging.NOTSET)
        logging.setLogRecordFactory(factory)
    err = capfd.readouterr().err
    assert err.count(" WARNING careful 1\n") == 1
    assert err.count("LookupError: no such shelf\n") == 1


@silence()
def test_a_handler_that_was_there_and_has_gone_leaves_the_log_to_the_server(capfd):
    own = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(own)
    with logs.set_up(Settings()):
        logging.getLogger().removeHandler(own)
        logs.log.warning("careful")
    assert capfd.readouterr().err.endswith(" WARNING careful\n")


@silence()
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("thrown_out", [True, False])
def test_who_replaces_callhandlers_sees_each_record_once_and_no_line_is_lost_or_doubled(
    capfd, monkeypatch, own, fails, thrown_out
):
    plain, seen, stream = logging.Logger.callHandlers, [], io.StringIO()

    def watch(logger, record):  # as the integrations of Sentry and New Relic do it
        plain(logger, record)
        seen.append((logger.name, record.getMessage()))
        if fails:
            raise LookupError("no such shelf")

    with logs.set_up(Settings()):
        monkeypatch.setattr(logging.Logger, "callHandlers", watch)
        if own:
            logging.getLogger().addHandler(logging.StreamHandler(stream))
        if thrown_out:
            clear()
        logs.log.warning("careful")
        monkeypatch.undo()
    assert seen == [("greenhttp", "careful")]
    assert stream.getvalue() == "careful\n" * own
    assert capfd.readouterr().err.count("careful") == (fails or not own)
