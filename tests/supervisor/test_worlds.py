"""The supervisor in simulated worlds: new ones each run, and small ones for what has been wrong (worlds/README.md)."""

import random

import pytest

from tests.supervisor.worlds.__main__ import failure
from tests.supervisor.worlds.cases import CASES
from tests.supervisor.worlds.faults import FAULTS, source
from tests.supervisor.worlds.script import Script, made
from tests.supervisor.worlds.shrink import shrunk
from tests.supervisor.worlds.world import load, run

WORLDS = 1000  # some 10 s
BY_NAME = {fault.name: fault for fault in FAULTS}


@pytest.fixture(scope="module")
def code():
    return load()


def test_in_new_worlds_all_holds_that_must(code):
    first = random.randrange(1 << 32)
    for seed in range(first, first + WORLDS):
        script = made(seed)
        outcome = run(script, code)
        if outcome.wrong is not None:
            pytest.fail(failure(seed, script, outcome, code), pytrace=False)


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_decides_everything(code, seed):
    lines, again = [], []
    outcome = run(made(seed), code, lines.append)
    assert run(Script.parse(made(seed).text()), load(), again.append) == outcome
    assert len(lines) > 50
    assert again == lines


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_still_applies(fault):
    assert source(fault.module, fault) != source(fault.module)
    load(fault)


def test_a_fault_whose_place_has_moved_is_named():
    fault = FAULTS[0].__class__("moved", "master", "Master._gone", "no such text", "")
    with pytest.raises(LookupError, match="moved: 'no such text' is 0 times in Master._gone"):
        load(fault)


@pytest.mark.parametrize("name", CASES)
def test_what_has_been_wrong_is_found_where_it_is_put_back_and_is_not_there(code, name):
    rule, text = CASES[name]
    script = Script.parse(text)
    assert run(script, code).wrong is None
    wrong = run(script, load(BY_NAME[name])).wrong
    assert wrong is not None and wrong[0] == rule


def test_a_world_that_fails_is_shrunk_to_what_it_takes():
    leaks = load(BY_NAME["a fork that fails leaks a descriptor"])
    items = [(None, "fork", 3, "fork"), *[(float(second), "signal", "TTIN") for second in range(1, 4)]]
    less = shrunk(Script({"workers": 4, "horizon": 60.0}, items), leaks, "descriptors")
    assert less.items == [(None, "fork", 3, "fork")]
    assert less.ways == Script({"workers": 3}, []).ways
