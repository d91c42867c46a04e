"""process/frames.pyx: stacks that go on while they are read."""

import gc
import sys
import threading
import traceback

import pytest
from greenlet import getcurrent, greenlet

from greenhttp.process.frames import callers, running
from greenhttp.process.places import entries
from tests.foreign import collecting, in_compiled_code

NAMES = ["inner", "middle", "outer", "run"]


def waiting() -> greenlet:
    """A green thread that waits in three functions. Switched to, it leaves them, and has others in their place."""
    main = getcurrent()

    def inner() -> None:
        main.switch()

    def middle() -> None:
        inner()

    def outer() -> None:
        middle()

    def deep(left: int) -> None:
        if left:
            deep(left - 1)
        else:
            main.switch()

    def run() -> None:
        outer()
        deep(20)

    green = greenlet(run)
    green.switch()
    return green


def test_they_are_those_of_the_interpreter() -> None:
    green = waiting()
    assert callers(green.gr_frame, 100) == list(traceback.walk_stack(green.gr_frame))
    assert callers(sys._getframe(), 1000) == list(traceback.walk_stack(sys._getframe()))
    assert [frame.f_code.co_name for frame, _ in callers(green.gr_frame, 2)] == NAMES[:2]
    assert callers(green.gr_frame, 0) == []
    with pytest.raises(TypeError):
        callers(green, 1)
    with pytest.raises(TypeError):
        callers(None, 1)
    green.switch()


def test_a_green_thread_may_go_on_at_any_moment_while_its_stack_is_read() -> None:
    """CPython 3.11 took what was in the place of a frame for one, and crashed."""
    main = getcurrent()
    moments = 0
    while True:
        green = waiting()
        reading = False
        with collecting(green.switch, lambda: reading and getcurrent() is main, moments) as hits:  # noqa: B023
            reading = True
            found = entries(green.gr_frame)
            reading = False
        assert [entry.name for entry in reversed(found)] == NAMES
        if not hits:
            green.switch()
            break
        moments += 1
    assert moments > 3


@in_compiled_code
def test_no_finalizer_runs_inside() -> None:
    """It would in 3.11, where the thread that is looked at may come to its end meanwhile, or need a lock held here."""
    go, there = threading.Event(), threading.Event()

    def wait() -> None:
        there.set()
        go.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    there.wait()
    inside = False
    try:
        with collecting(lambda: None, lambda: inside) as hits:
            inside = True
            frame = running(thread.ident)
            inside = False
        assert not hits
        green = waiting()
        with collecting(lambda: None, lambda: inside) as hits:
            inside = True
            found = callers(green.gr_frame, 100)
            inside = False
        assert not hits
    finally:
        go.set()
        thread.join()
    names = [entry.name for entry in entries(frame)]
    assert "wait" in names or "run" in names
    assert len(found) == len(NAMES)
    assert running(thread.ident) is None
    green.switch()


@pytest.mark.parametrize("collects", [True, False])
def test_the_collector_is_as_it_was(collects: bool) -> None:
    before = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        assert running(threading.get_ident()) is sys._getframe()
        callers(sys._getframe(), 100)
        assert gc.isenabled() is collects
    finally:
        (gc.enable if before else gc.disable)()
