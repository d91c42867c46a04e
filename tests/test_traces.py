"""greenhttp/traces.py: the text of an exception, also where the interpreter fails to make it."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from greenhttp.traces import last_line, trace


def raised(call: Any) -> BaseException:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("it did not raise")


def test_the_text_is_the_interpreters() -> None:
    error = raised(lambda: 1 / 0)
    assert trace(error) == "".join(traceback.format_exception(error))
    assert last_line(error) == "ZeroDivisionError: division by zero"


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CPython 3.15, where the import of a missing module's parent raises."""

    def fail(*_: Any, **__: Any) -> Any:
        raise ModuleNotFoundError("No module named 'shop.gone'", name="shop.gone")

    monkeypatch.setattr(traceback, "format_exception", fail)
    monkeypatch.setattr(traceback, "format_exception_only", fail)


@pytest.mark.usefixtures("failing")
def test_an_exception_that_cannot_be_formatted_still_says_what_and_where() -> None:
    text = trace(raised(lambda: {}["key"]))
    assert text.startswith("Traceback (most recent call last):\n")
    assert "test_traces.py" in text and text.endswith("\nKeyError: 'key'\n")


@pytest.mark.usefixtures("failing")
def test_an_exception_that_has_no_text_is_named() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert last_line(Mute()).endswith("Mute: <exception str() failed>")
    assert last_line(ValueError()) == "ValueError"
