"""Each fault that can be put back still applies: whoever moves the place moves the fault."""

import pytest

from tests.sim.faults import FAULTS, Change, applied, function_text
from tests.sim.runner import TOP

SOURCE = """\
cdef class One:
    cdef int work(self) except -1:
        a = 1
        return 0

    def other(self):
        a = 1

cdef class Two(One):
    cdef int work(self) except -1:
        a = 1
        a = 1

def work():
    pass
"""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.number)
def test_a_fault_applies(fault):
    sources = {}
    for change in fault.changes:
        source = sources.get(change.path) or (TOP / "greenhttp" / change.path).read_text()
        sources[change.path] = applied(source, change)


def test_only_the_named_function_is_changed():
    start, end = function_text(SOURCE, "One.work")
    assert SOURCE[start:end].strip().endswith("return 0")
    changed = applied(SOURCE, Change("", "One.work", "a = 1", "a = 2"))
    assert changed.count("a = 2") == 1 and changed.index("a = 2") < changed.index("return 0")


@pytest.mark.parametrize(
    "function, old", [("Two.work", "a = 1"), ("One.work", "b = 1"), ("One.none", "a"), ("Three.work", "a")]
)
def test_a_text_that_is_not_there_once_is_an_error(function, old):
    with pytest.raises(ValueError, match="is there"):
        applied(SOURCE, Change("", function, old, ""))
