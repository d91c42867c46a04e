"""What is made of Autobahn's reports; without Autobahn."""

import pytest

from tests.websocket import autobahn
from tests.websocket.autobahn import BEGIN, END, Case

INDEX = {
    "1.1.1": {"behavior": "OK", "behaviorClose": "OK"},
    "3.2": {"behavior": "NON-STRICT", "behaviorClose": "OK"},
    "7.1.6": {"behavior": "INFORMATIONAL", "behaviorClose": "INFORMATIONAL"},
    "7.5.1": {"behavior": "OK", "behaviorClose": "FAILED BY CLIENT"},
    "12.1.1": {"behavior": "UNIMPLEMENTED", "behaviorClose": "OK"},
}


def cases():
    return autobahn.read([*INDEX, "13.1.1"], INDEX, "off")


def test_the_cases_that_are_run_are_those_that_it_announces():
    assert autobahn.cases_of("Ok, will run\nCases = ['1.1.1', '2.10']\nServers\n") == ["1.1.1", "2.10"]
    with pytest.raises(ValueError, match="did not say which cases"):
        autobahn.cases_of("Traceback")


def test_only_ok_non_strict_and_informational_cases_have_not_failed():
    assert [case.number for case in cases() if case.failed] == ["7.5.1", "12.1.1", "13.1.1"]
    assert {case.number: case.tolerated for case in cases() if case.tolerated} == {
        "3.2": "non-strict",
        "7.1.6": "informational",
    }


def test_a_non_strict_case_with_a_bad_end_has_failed():
    case = Case("3.2", "off", "NON-STRICT", "WRONG CODE")
    assert (case.failed, case.tolerated) == (True, None)


def test_the_table_counts_and_names():
    lines = autobahn.table(cases()).splitlines()
    assert lines[2] == "| 1 Framing | off | 1 | 1 | 0 | 0 | 0 |"
    assert "| 3 Reserved bits | off | 1 | 0 | 1: 3.2 | 0 | 0 |" in lines
    assert "| 7 Closing | off | 2 | 0 | 0 | 1: 7.1.6 | 1: 7.5.1 (OK / FAILED BY CLIENT) |" in lines
    assert lines[-2].endswith("| 1: 13.1.1 (NOT RUN / NOT RUN) |")
    assert lines[-1] == "| all | | 6 | 1 | 1 | 1 | 3 |"


def test_the_table_replaces_the_last_one_and_nothing_else():
    document = f"before\n{BEGIN}\nold\n{END}after\n"
    assert autobahn.put(document, "new\n") == f"before\n{BEGIN}\nnew\n\n{END}after\n"
    with pytest.raises(ValueError, match="no place"):
        autobahn.put("before\n", "new\n")


def test_the_readme_has_a_place_for_it():
    assert autobahn.put(autobahn.README.read_text(), "new\n")
