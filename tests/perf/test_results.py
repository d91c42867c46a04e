"""Results as they are kept and drawn: files in a directory of the test's own."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from perf.tools import machine, plots, results, rounds
from perf.tools.results import Table

FACTS = {"date": "2026-01-02", "cpu": "A CPU", "cores": "2", "kernel": "Linux 6", "python": "CPython 3.11.7"}
TOP = Path(__file__).parent.parent.parent


def test_machine_facts_are_texts_and_tell_the_day_and_what_runs_python():
    facts = machine.facts()
    assert all(isinstance(value, str) and value for value in facts.values())
    assert {"date", "cpu", "cores", "kernel", "python", "gevent"} <= facts.keys()
    assert facts["python"].endswith(sys.version.split()[0])


def test_the_short_line_has_what_is_known():
    assert machine.short(FACTS) == "A CPU, 2 cores, Linux 6, CPython 3.11.7, 2026-01-02"
    assert machine.short({"cpu": "A CPU"}) == "A CPU"


def test_a_document_comes_back_from_json_with_the_command_and_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x/perf/__main__.py", "peers", "--only", "hello-64"])
    document = {"machine": FACTS, "rows": [{"cpu_us": 9.31, "void": None, "server": "ä"}]}
    as_json, as_text = results.write("peers", document, [], ["a note"], tmp_path / "made")
    assert json.loads(as_json.read_text()) == {
        **document,
        "command": "python -m perf peers --only hello-64",
        "notes": ["a note"],
    }
    assert (as_json.name, as_text.name) == ("peers.json", "peers.md")


def test_markdown_is_aligned_and_a_long_reason_widens_no_column(tmp_path):
    reason = "void: 3890 connections were not accepted | before the end"
    table = Table("hello-64", ("server", "µs"), [("a", "9.31"), ("gunicorn", reason)])
    written = results.write("x", {"machine": FACTS}, [table], ["first", "second"], tmp_path, pictures=["x-cpu"])[1]
    assert written.read_text().split("\n\n")[2:] == [
        "date 2026-01-02, cpu A CPU, cores 2, kernel Linux 6, python CPython 3.11.7",
        "## hello-64",
        "| server   |   µs |\n"
        "| -------- | ---: |\n"
        "| a        | 9.31 |\n"
        "| gunicorn | void: 3890 connections were not accepted \\| before the end |",
        "* first\n* second",
        "![x-cpu](x-cpu.svg)\n",
    ]


def test_a_directory_that_cannot_be_made_is_an_oserror(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        results.write("x", {"machine": FACTS}, [], [], tmp_path / "file" / "below")


# plots


def draw(directory: Path) -> list[Path]:
    """One of each sort, with all that it can be told."""
    values = {"floor": 7.0, "greenhttp": 9.3, "b": "void: broken"}
    return [
        *plots.bars("bars", "CPU", "µs", values, subtitle="x", spans={"greenhttp": (8.0, 11.0)}, directory=directory),
        *plots.bars("log", "CPU", "µs", values, log=True, directory=directory),
        *plots.lines("lines", "CPU", "connections", "µs", {"greenhttp": [(64, 9.0), (1000, 11.0)], "b": [(64, 9.0)],
                     "none": []}, xlog=True, ylog=True, directory=directory),
        *plots.percentiles("percentiles", "latency", "ms", {"greenhttp": {"p50": 51.0, "p99": 62.0}, "b": "one"},
                           directory=directory),
    ]  # fmt: skip


def test_plots_are_png_and_svg_and_the_same_again(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    first, second = draw(tmp_path / "1"), draw(tmp_path / "2")
    assert [path.name for path in first] == [
        f"{stem}.{kind}" for stem in ("bars", "log", "lines", "percentiles") for kind in ("png", "svg")
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in first if path.suffix == ".png")
    assert all(b"<svg" in path.read_bytes() for path in first if path.suffix == ".svg")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_without_matplotlib_there_is_one_line_and_no_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    plots.available.cache_clear()
    try:
        assert draw(tmp_path) == []
    finally:
        plots.available.cache_clear()
    assert capsys.readouterr().err == "no plots: pip install matplotlib\n"
    assert list(tmp_path.iterdir()) == []


def test_matplotlib_is_imported_only_when_something_is_drawn():
    code = "import sys, perf.__main__; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=TOP, check=False).returncode == 0


def test_labels_keep_their_order_and_do_not_overlap():
    places = plots._apart([0.5, 0.51, 0.1, 0.52, 0.9], gap=0.1)
    in_order = sorted(places)
    assert sorted(range(5), key=lambda i: places[i]) == [2, 0, 1, 3, 4]
    assert all(b - a >= 0.1 - 1e-9 for a, b in zip(in_order, in_order[1:], strict=False))
    assert (places[2], places[4]) == (0.1, 0.9)


@pytest.mark.parametrize(("value", "text"), [(0.414, "0.41"), (9.31, "9.31"), (27.46, "27.5"), (35010.4, "35,010")])
def test_numbers_show_three_figures(value, text):
    assert plots.number(value) == text


def test_a_directory_that_cannot_be_made_is_said_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="file/x: Not a directory; results cannot be written there"):
        results.prepare(tmp_path / "file" / "x")
    results.prepare(tmp_path / "new")
    assert (tmp_path / "new").is_dir()


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "1.5"])
def test_what_is_no_count_is_said(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number from 1 on"):
        rounds.count(text)
