"""tests/fuzz/__main__.py: what `make fuzz` says, and what it starts. That it finds something is shown in README.md."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.fuzz import properties
from tests.fuzz.__main__ import MISSING, ROOT, TARGETS, arguments, environment, row

LOG = """\
#2	INITED cov: 12 ft: 30 corp: 1/5b exec/s: 0 rss: 72Mb
#1048576	DONE   cov: 485 ft: 1987 corp: 816/72Kb lim: 512 exec/s: 29959 rss: 94Mb
stat::number_of_executed_units: 1048576
stat::average_exec_per_sec:     29959
stat::peak_rss_mb:              94
"""


def test_without_clang_one_line_says_what_to_install(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--minutes", "0"]
    env = {**os.environ, "CLANG": str(tmp_path / "clang")}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", MISSING + "\n")


def test_every_property_is_a_target_with_a_corpus() -> None:
    assert list(TARGETS) == list(properties.TARGETS)
    assert sorted(path.name for path in (ROOT / "tests/fuzz/corpus").iterdir()) == sorted(TARGETS)


def test_no_input_of_the_corpus_is_longer_than_its_target_takes() -> None:
    for name, target in TARGETS.items():
        sizes = {path.name: path.stat().st_size for path in (ROOT / "tests/fuzz/corpus" / name).iterdir()}
        assert {file for file, size in sizes.items() if size > target.longest} <= {"too_long_line"}


def test_a_run_is_bounded_in_time_and_memory(tmp_path: Path) -> None:
    given = arguments("head", TARGETS["head"], tmp_path, 7)
    assert {"-max_total_time=7", "-rss_limit_mb=1024", "-timeout=20"} <= set(given)
    assert given[-2:] == [str(tmp_path / "corpus" / "head"), str(ROOT / "tests/fuzz/corpus/head")]


def test_the_instrumented_package_comes_before_the_ordinary_one(tmp_path: Path) -> None:
    env = environment("connection", TARGETS["connection"], tmp_path)
    assert env["PYTHONPATH"].split(os.pathsep)[:2] == [str(tmp_path), str(ROOT)]
    assert env["PYTHONMALLOC"] == "malloc"


def test_the_row_of_a_target_is_read_from_the_log() -> None:
    assert row("head", LOG).split() == ["head", "1,048,576", "29,959", "485", "94", "MB"]
    assert row("head", "").split() == ["head", "0", "0", "0", "0", "MB"]
