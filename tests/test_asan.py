"""tests/asan.py: what it starts and how it judges, and that it finds two faults made for it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import asan
from tests.asan import COMMANDS, FLAGS, LEFT_OUT, ROOT, TESTS
from tests.instrumented import SANITIZE

C = """\
/* "greenhttp/green/nap.pyx":12
 *     x = 1             # <<<<<<<<<<<<<<
 */
 x = 1;
"""


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything is installed and built, in a tree of the test's own without a module."""
    for name in ("missing", "blind"):
        monkeypatch.setattr(asan, name, lambda *_: None)
    monkeypatch.setattr(asan, "ROOT", tmp_path)
    monkeypatch.setattr(asan, "TREE", tmp_path)
    monkeypatch.setattr(asan, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(asan, "build", lambda tree, flags: None)
    return tmp_path


def options(env: dict[str, str], name: str) -> dict[str, str]:
    return dict(option.split("=", 1) for option in env[name].split(":"))


# what is built and started


def test_the_flags_are_those_of_the_fuzzer_and_leave_the_stack_alone() -> None:
    assert set(SANITIZE) <= set(FLAGS)
    assert {"-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g", "-O1"} <= set(FLAGS)
    assert "--param=asan-stack=0" in FLAGS


def test_the_environment_loads_the_runtime_first_and_reports_into_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asan, "library", lambda name: f"/lib/{name}")
    env = asan.sanitized(tmp_path, tmp_path / "reports")
    assert env["LD_PRELOAD"].split() == ["/lib/libasan.so", "/lib/libstdc++.so.6"]
    assert (env["PYTHONPATH"], env["PYTHONMALLOC"]) == (str(tmp_path), "malloc")
    address, undefined = options(env, "ASAN_OPTIONS"), options(env, "UBSAN_OPTIONS")
    assert (address["detect_leaks"], address["detect_stack_use_after_return"]) == ("0", "0")
    assert "halt_on_error" not in address  # it halts unless told otherwise
    for each in (address, undefined):
        assert each["log_path"].startswith(f"{tmp_path}/reports/")
        assert each["fast_unwind_on_fatal"] == "1"


def test_the_command_names_tests_that_are_there() -> None:
    (command,) = [command for command in COMMANDS if "pytest" in command]
    assert [f"tests/{name}" for name in TESTS] == [word for word in command if word.startswith("tests/")]
    assert all((ROOT / "tests" / name).is_dir() for name in TESTS)
    assert [f"--deselect={name}" for name in LEFT_OUT] == [word for word in command if word.startswith("--deselect")]


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_is_there_and_has_a_reason(name: str) -> None:
    file, function = re.fullmatch(r"(\S+\.py)::(\w+)(?:\[.*)?", name).groups()  # type: ignore[union-attr]
    assert f"def {function}(" in (ROOT / file).read_text()
    assert len(LEFT_OUT[name]) > 20


def test_the_list_of_what_is_left_out_stays_short() -> None:
    assert len(LEFT_OUT) <= 10


# how it judges


def given(statuses: Sequence[int], report: str = "") -> object:
    """A `subprocess.run` in which commands end so, the last one with a report."""
    left = list(statuses)

    def run(command: list[str], cwd: Path, env: dict[str, str], timeout: float) -> object:
        status = left.pop(0)
        if report and not left:
            Path(options(env, "ASAN_OPTIONS")["log_path"] + ".123").write_text(report)
        return subprocess.CompletedProcess(command, status)

    return run


@pytest.mark.parametrize(
    ("statuses", "report", "ends", "last"),
    [
        ([0, 0], "", 0, "asan: clean: every command ended with status 0, and nothing was reported"),
        ([0, 1], "", 1, "asan: FAILED: status 1, 0 reports: python two ..."),
        ([3, 0], "", 1, "asan: FAILED: status 3, 0 reports: python one ..."),
        ([0, 0], "==1==ERROR: AddressSanitizer", 1, "asan: FAILED: status 0, 1 reports: python two ..."),
    ],
    ids=["clean", "a command fails", "the first one fails", "a child reports and its parent ends well"],
)
def test_a_status_or_a_report_fails(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    statuses: list[int], report: str, ends: int, last: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(asan, "COMMANDS", [["one"], ["two"]])
    monkeypatch.setattr(subprocess, "run", given(statuses, report))
    monkeypatch.setattr(asan, "library", lambda name: None)
    assert asan.main([]) == ends
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == last
    assert (report in said) == bool(report)


def test_a_command_that_does_not_end_fails(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(asan, "SECONDS", 0.1)
    assert asan.main(["-c", "import time; time.sleep(60)"]) == 1
    assert "FAILED: not done after 0.1 s, 0 reports" in capsys.readouterr().out


def test_a_module_without_the_sanitizers_is_no_clean_run(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (built / "greenhttp").mkdir()
    (built / "greenhttp" / "a.so").write_bytes(b"\x7fELF __asan_report_load4 __ubsan_handle_add_overflow")
    (built / "greenhttp" / "b.so").write_bytes(b"\x7fELF")
    assert asan.main(["-c", ""]) == 2
    assert capsys.readouterr().err == "make asan: compiled without the sanitizers: greenhttp/b.so\n"


def test_a_place_in_c_is_printed_with_its_place_in_the_source(tmp_path: Path) -> None:
    (tmp_path / "greenhttp" / "green").mkdir(parents=True)
    (tmp_path / "greenhttp" / "green" / "nap.c").write_text(C)
    report = "    #0 0x7f in sleep greenhttp/green/nap.c:4\n    #1 0x7f in f Objects/call.c:299"
    first, second = asan.readable(report, tmp_path)
    assert first.endswith("greenhttp/green/nap.c:4 = greenhttp/green/nap.pyx:12")
    assert second.endswith("Objects/call.c:299")


# what is missing


def test_without_gcc_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", str(tmp_path / "gcc"))
    command = [sys.executable, "-m", "tests.asan"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "apt-get install gcc" in done.stderr or "needs Linux" in done.stderr


def test_a_compiler_without_the_runtime_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\necho "${1#*=}"\n')  # as gcc answers where it has no such file
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setattr(sys, "platform", "linux")
    assert "has no libasan.so" in (asan.missing() or "")


def test_a_library_that_is_a_text_for_the_linker_leads_to_the_real_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, compiler = tmp_path / "libasan.so", tmp_path / "cc"
    text.write_text("/* GNU ld script */\nINPUT ( /usr/lib64/libasan.so.8.0.0 )\n")
    compiler.write_text(f"#!/bin/sh\necho {text}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    assert asan.library("libasan.so") == "/usr/lib64/libasan.so.8.0.0"


@pytest.mark.skipif(asan.missing() is not None, reason=asan.missing() or "")
def test_both_sanitizers_report_in_a_process_and_in_its_child(tmp_path: Path) -> None:
    assert asan.blind(tmp_path, tmp_path / "reports") is None


@pytest.mark.skipif(asan.missing() is not None, reason=asan.missing() or "")
def test_a_fault_that_is_not_reported_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asan, "FLAGS", ("-O1",))
    assert (asan.blind(tmp_path, tmp_path / "reports") or "").startswith("heap-buffer-overflow: status 0, 0 reports")
