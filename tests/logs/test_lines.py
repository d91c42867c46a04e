"""logs/lines.py: a log record as text, as JSON, and packed for another process."""

import json
import logging
import re
import sys

import pytest

from greenhttp.logs.lines import JSONFormatter, TextFormatter, packed, unpacked


def record(message="see %s", *words, **more):
    made = logging.LogRecord("greenhttp", logging.WARNING, "x.py", 1, message, words or ("this",), None)
    vars(made).update(more)
    return made


def failed():
    try:
        raise LookupError("no such shelf")
    except LookupError:
        return sys.exc_info()


def test_a_line_of_text_has_time_zone_process_and_level():
    line = TextFormatter().format(record(process=77))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d{4} \[77\] WARNING see this", line)


def test_a_traceback_follows():
    lines = TextFormatter().format(record(exc_info=failed())).splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "LookupError: no such shelf"


def test_a_line_of_json_is_an_object_with_all_that_is_known():
    known = {"peer": "127.0.0.1:4711", "request": "GET /x", "request_id": "7f3a"}
    one = record(process=77, **known, exc_info=failed(), created=1.5, msecs=500.0)
    line = JSONFormatter(lambda: 3).format(one)
    assert "\n" not in line
    entry = json.loads(line)
    assert entry.pop("exception").endswith("LookupError: no such shelf")
    assert entry == {
        "time": "1970-01-01T00:00:01.500Z", "level": "WARNING", "process": 77, "worker": 3, "request": "GET /x",
        "request_id": "7f3a", "peer": "127.0.0.1:4711", "message": "see this",
    }  # fmt: skip


def test_what_is_not_known_is_null():
    entry = json.loads(JSONFormatter(lambda: None).format(record()))
    keys = "worker", "request", "request_id", "peer", "exception"
    assert [entry[key] for key in keys] == [None] * len(keys)


@pytest.mark.parametrize("text", ["\n", "\x00", '"', "\u2028", "\udc80", "\x1b[31m"])
def test_any_text_is_one_line_of_json(text):
    line = JSONFormatter(lambda: None).format(record("%s", text))
    assert len(line.splitlines()) == 1 and line.isascii()
    assert json.loads(line)["message"] == text


def test_a_record_comes_to_another_process_with_what_formats_ask_for():
    one = record(exc_info=failed(), peer="x", request_id="7f3a")
    other = unpacked(packed(one, TextFormatter()).encode())
    assert other.getMessage() == "see this"
    assert (other.name, other.levelno, other.created, other.process, other.peer, other.request_id) == (
        one.name, one.levelno, one.created, one.process, "x", "7f3a"
    )  # fmt: skip
    assert logging.Formatter("%(levelname)s %(message)s").format(other).endswith("LookupError: no such shelf")
