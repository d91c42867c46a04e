"""perf offload: its application does the same work in each way, and its figures are those of the windows."""

from types import SimpleNamespace

import pytest

import greenhttp
from perf import offload
from perf.offload import app


@pytest.mark.parametrize("work", offload.WORK)
def test_the_work_is_the_same_wherever_it_is_done(work, monkeypatch):
    monkeypatch.setattr(app, "TURNS", 10)
    answers = {app.handle(SimpleNamespace(path=f"/{work}/{way}")) for way in ("inline", "thread")}
    assert len(answers) == 1


@pytest.mark.parametrize("path", ["/hash", "/hash/nowhere", "/nothing/inline"])
def test_what_is_not_there_is_not_measured(path):
    with pytest.raises(greenhttp.HTTPError):
        app.handle(SimpleNamespace(path=path))


def test_a_row_is_the_median_of_its_windows_with_the_spread():
    windows = [{"p50": 1.0, "p99": p99, "max": p99, "failures": 1, "heavy": 2.0} for p99 in (9.0, 4.0, 30.0)]
    row = offload._medians(windows)
    assert row["p99"] == 9.0
    assert offload._cells("hash, thread", row, windows) == (
        "hash, thread", "1.00", "9.00", "9.00", "4.00 - 30.0", "3", "2.00",
    )  # fmt: skip
    assert offload._cells("alone", row, windows)[-1] == ""
