"""settings/console.py: colours where they are seen, and nowhere else."""

import contextlib
import io
import os

import pytest

from greenhttp.settings.console import colourful, paint, say


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "seen"),
    [
        (Terminal(), {}, True),
        (io.StringIO(), {}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (Terminal(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_where_colours_are_seen(monkeypatch, stream, environ, seen):
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert colourful(stream) is seen


def test_paint():
    assert paint("x", "bold", "red", on=True) == "\033[1;31mx\033[0m"
    assert paint("x", "bold", on=False) == paint("x", on=True) == "x"


def test_say(capsys, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    say("hello", "red")
    assert capsys.readouterr() == ("", "greenhttp: hello\n")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    say("hello", "red")
    assert capsys.readouterr().err == "\033[1;32mgreenhttp:\033[0m \033[31mhello\033[0m\n"


def test_a_stream_that_was_closed_has_no_colours():
    assert colourful(None) is False


def test_what_nobody_reads_any_more_is_not_an_error(capsys, monkeypatch):
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w") as nobody:
        monkeypatch.setattr("sys.stderr", nobody)
        say("hello")
        with contextlib.suppress(BrokenPipeError):
            nobody.close()
    monkeypatch.setattr("sys.stderr", None)
    say("hello")
    assert capsys.readouterr().out == ""
