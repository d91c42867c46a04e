"""process/places.py: where a thread is, also where an application shortens tracebacks."""

import sys

import pytest

from greenhttp.process.places import of_application, place, stack


@pytest.mark.parametrize("limit", [0, 1, "all"])
def test_a_place_does_not_depend_on_how_long_tracebacks_are_to_be(monkeypatch, limit):
    frame = sys._getframe()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "tracebacklimit", limit, raising=False)
        (where, callers), mine, lines = place(frame), of_application(frame), stack(frame).splitlines()
    assert where.startswith(f"{__file__}:")
    assert callers.startswith(f"{where} < ")
    assert mine.startswith(f"{__file__}:")
    assert len(lines) > 4
