"""`perf budget`: steps, limits and verdicts on figures of the tests' own; the figures that are kept; one real count."""

import json
import os
from types import SimpleNamespace

import pytest

from perf import budget
from perf.budget import ISSUE, TOTAL, WORKLOADS, Step
from perf.profile import instructions
from perf.reach.figure import Unable
from perf.tools import machine, servers, wrk
from perf.tools.workloads import BY_NAME

HERE = {"python": "CPython 3.11.7", "machine": "Linux x86_64", "gevent": "25.9.1"}


def figures(each: float) -> dict[str, float]:
    return dict.fromkeys(WORKLOADS, each)


def step(name: str, each: float, **environment: str) -> Step:
    return Step(name, "0e94f0c", "2026-01-01", {**HERE, **environment}, figures(each))


@pytest.fixture
def counted(monkeypatch) -> dict[str, float]:
    """What the next run counts; nothing is started, and every tool is there."""
    found = figures(1000.0)
    monkeypatch.setattr(budget, "missing", lambda: None)
    monkeypatch.setattr(budget, "environment", lambda: dict(HERE))
    monkeypatch.setattr(budget, "commit", lambda: "abcdef")
    monkeypatch.setattr(
        instructions, "count", lambda server, workload: SimpleNamespace(per_request=found[workload.name])
    )
    return found


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "budget.json"
    budget.save([step("before", 1000.0)], path)
    return path


# limits


def test_the_limits_are_those_that_were_agreed():
    assert (ISSUE, TOTAL) == (2.0, 5.0)


@pytest.mark.parametrize(
    ("now", "lines"),
    [
        (900.0, []),
        (1020.0, []),
        (1020.3, ["hello-64: +2.03 % since 'before', 2 % are allowed"]),
        (
            1051.0,
            [
                "hello-64: +5.10 % since 'before', 2 % are allowed",
                "hello-64: +5.10 % since 'before', 5 % are allowed",
            ],
        ),
    ],
)
def test_with_one_step_both_limits_are_from_there(now, lines):
    assert budget.over([step("before", 1000.0)], {"hello-64": now}) == lines


def test_small_additions_add_up_to_the_limit_in_all():
    steps = [step("before", 1000.0), step("trust", 1018.0), step("next", 1036.0)]
    assert budget.over(steps, {"hello-64": 1050.0}) == []
    assert budget.over(steps, {"hello-64": 1051.0}) == ["hello-64: +5.10 % since 'before', 5 % are allowed"]
    assert budget.over(steps, {"hello-64": 1057.0}) == [
        "hello-64: +2.03 % since 'next', 2 % are allowed",
        "hello-64: +5.70 % since 'before', 5 % are allowed",
    ]


def test_what_one_step_has_won_the_next_may_not_spend():
    steps = [step("before", 1000.0), step("faster", 900.0)]
    assert budget.over(steps, {"hello-64": 950.0}) == ["hello-64: +5.56 % since 'faster', 2 % are allowed"]


def test_each_workload_is_judged_by_itself():
    now = figures(1000.0) | {"wait-2000": 1030.0, "new-64": 500.0}
    assert budget.over([step("before", 1000.0)], now) == ["wait-2000: +3.00 % since 'before', 2 % are allowed"]


def test_the_table_has_both_changes_and_both_limits():
    steps = [step("before", 1000.0), step("trust", 1010.0)]
    table = budget.table(steps, {"hello-64": 1020.1})
    assert table.lines == [["hello-64", "1,010", "1,020", "+1.00 %", "+2 %", "+2.01 %", "+5 %"]]
    assert len(table.head) == len(table.lines[0])
    assert "Baseline: trust (0e94f0c); in all: since before (0e94f0c)" in table.title


# the command


def test_within_the_limits_it_ends_with_0(counted, kept, capsys):
    assert budget.main([], kept) == 0
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()[2:]] == list(WORKLOADS)
    assert f"wait-2000 done, 5/{len(WORKLOADS)}" in said.err


def test_beyond_a_limit_it_ends_with_1_and_names_the_workload(counted, kept, capsys):
    counted["post-64"] = 1021.0
    assert budget.main([], kept) == 1
    assert capsys.readouterr().err.endswith("over the budget:\npost-64: +2.10 % since 'before', 2 % are allowed\n")


def test_one_count_beyond_a_limit_is_no_verdict_the_median_of_three_more_is(kept, counted, monkeypatch, capsys):
    found = iter([1030.0, 1025.0, 1001.0, 1002.0])
    monkeypatch.setattr(instructions, "count", lambda *_: SimpleNamespace(per_request=next(found)))
    assert budget.main(["hello-64"], kept) == 0
    assert "+0.20 %" in capsys.readouterr().out
    found = iter([1030.0, 1025.0, 1001.0, 1021.0])
    assert budget.main(["hello-64"], kept) == 1


def test_workloads_that_are_named_are_counted_alone(counted, kept, capsys):
    counted["post-64"] = 1021.0
    assert budget.main(["hello-64", "new-64"], kept) == 0
    assert "post-64" not in capsys.readouterr().out


def test_a_workload_without_a_budget_is_told(kept, capsys):
    with pytest.raises(SystemExit) as ended:
        budget.main(["big-16"], kept)
    assert ended.value.code == 2
    assert "no budget for big-16; there is one for hello-64" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"python": "CPython 3.14.2"}, "python was CPython 3.14.2 at 'before' and is CPython 3.11.7"),
        ({"machine": "Linux aarch64"}, "machine was Linux aarch64 at 'before' and is Linux x86_64"),
    ],
)
def test_another_python_or_machine_is_not_comparable_and_no_failure(counted, kept, capsys, changed, line):
    budget.save([step("before", 1.0, **changed)], kept)
    assert budget.main([], kept) == 2
    assert capsys.readouterr().err == f"not comparable: {line}\n"


def test_the_first_step_has_to_be_comparable_too(counted, kept, capsys):
    budget.save([step("before", 1000.0, python="CPython 3.10.1"), step("trust", 1000.0)], kept)
    assert budget.main([], kept) == 2
    assert "at 'before'" in capsys.readouterr().err


def test_another_gevent_is_compared_and_told(counted, kept, capsys):
    budget.save([step("before", 1000.0, gevent="24.2.1")], kept)
    assert budget.main([], kept) == 0
    assert "note: gevent was 24.2.1 at 'before' and is 25.9.1\n" in capsys.readouterr().err


def test_a_server_that_fails_is_no_verdict(counted, kept, monkeypatch, capsys):
    def count(server, workload):
        raise Unable("a wrong answer: status 500, 0 bytes")

    monkeypatch.setattr(instructions, "count", count)
    assert budget.main([], kept) == 2
    assert capsys.readouterr().err == "not measured: a wrong answer: status 500, 0 bytes\n"


@pytest.mark.parametrize(("module", "word"), [(instructions, "valgrind"), (wrk, "wrk")])
def test_a_missing_tool_is_a_line_and_ends_with_2(kept, monkeypatch, capsys, module, word):
    for each in (instructions, wrk):
        monkeypatch.setattr(each, "available", lambda here=each is not module: here)
    assert budget.main([], kept) == 2
    assert f"{word} is missing: install the Debian package `{word}`" in capsys.readouterr().err


def test_modules_older_than_their_source_are_not_measured(tmp_path):
    suffix = budget.sysconfig.get_config_var("EXT_SUFFIX")
    for name, at in (("new.pyx", 1), (f"new{suffix}", 2), ("old.pyx", 3), (f"old{suffix}", 2), ("none.pyx", 1),
                     ("types.pyx", 1), ("types.pxd", 3), (f"types{suffix}", 2)):  # fmt: skip
        path = tmp_path / "greenhttp" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (at, at))
    old = budget.outdated(tmp_path / "greenhttp")
    assert old == ["greenhttp/none.pyx", "greenhttp/old.pyx", "greenhttp/types.pyx"]


# recording


def test_the_first_step_makes_the_file(counted, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "today", lambda: "2026-02-03")
    path = tmp_path / "budget.json"
    assert budget.main([], path) == 2
    assert budget.main(["--record", "before"], path) == 0
    assert budget.load(path) == [Step("before", "abcdef", "2026-02-03", HERE, figures(1000.0))]


def test_a_step_is_the_median_of_three_counts(counted, tmp_path, monkeypatch):
    found = iter([900.0, 1100.0, 1000.0] * len(WORKLOADS))
    monkeypatch.setattr(instructions, "count", lambda *_: SimpleNamespace(per_request=next(found)))
    path = tmp_path / "budget.json"
    assert budget.main(["--record", "before"], path) == 0
    assert budget.load(path)[0].instructions == figures(1000.0)


def test_a_step_is_added_behind_the_others(counted, kept, capsys):
    before = json.loads(kept.read_text())
    counted.update(figures(1015.0))
    assert budget.main(["--record", "trust"], kept) == 0
    after = json.loads(kept.read_text())
    assert after["steps"][:-1] == before["steps"]
    assert after["steps"][-1]["instructions"] == figures(1015.0)
    counted.update(figures(1030.0))
    assert budget.main([], kept) == 0  # 1.5 % since then, 3 % in all


def test_what_is_beyond_a_limit_is_not_recorded(counted, kept):
    before = kept.read_text()
    counted["hello-64"] = 1030.0
    assert budget.main(["--record", "trust"], kept) == 1
    assert kept.read_text() == before


def test_uncommitted_changes_are_not_recorded(counted, kept, monkeypatch):
    before = kept.read_text()
    monkeypatch.setattr(budget, "commit", lambda: "abcdef with changes")
    assert budget.main(["--record", "trust"], kept) == 2
    assert kept.read_text() == before


@pytest.mark.parametrize(("arguments", "line"), [
    (["--record", "before"], "there is a step 'before' already"),
    (["--record", "trust", "hello-64"], "a step has all workloads"),
])  # fmt: skip
def test_a_step_has_a_name_of_its_own_and_all_workloads(counted, kept, capsys, arguments, line):
    with pytest.raises(SystemExit):
        budget.main(arguments, kept)
    assert line in capsys.readouterr().err


# what is kept, and the real thing


def test_the_kept_steps_have_every_workload_and_are_within_the_limits():
    steps = budget.load()
    assert steps, "perf/results/budget.json has no step"
    for number, each in enumerate(steps):
        assert set(each.instructions) == set(WORKLOADS) <= set(BY_NAME)
        assert {*budget.SAME, "gevent", "greenlet", "Cython"} <= set(each.environment)
        assert " " not in each.commit
        if number:
            assert budget.over(steps[:number], each.instructions) == []


@pytest.mark.skipif(budget.missing() is not None or os.cpu_count() < 2, reason="needs valgrind, wrk and a core for it")
def test_callgrind_counts_a_pipelined_request_here():
    """Instructions are no time: however slow the machine, a request takes some thousand."""
    counted = instructions.count(servers.BY_NAME["greenhttp"], BY_NAME["pipeline-64"])
    assert counted.requests == 2048
    assert 1_000 < counted.per_request < 100_000
