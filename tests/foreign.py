"""Foreign code at a moment of a test's choosing: what finalizers may do, in the middle of anything.

A finalizer runs where the last reference goes, and where the collector finds its object: at any allocation that the
collector counts, also in the middle of compiled code (from CPython 3.12 on only between two bytecodes). It may wait.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

__all__ = ["Dropped", "Mask", "collecting", "in_compiled_code"]

in_compiled_code = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="the collector runs between two bytecodes only, never inside compiled code"
)


class Dropped:
    """Calls `act` when the last reference to it goes."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act

    def __del__(self) -> None:
        self.act()


class Mask:
    """Another object, as it is but for what subclasses define."""

    def __init__(self, behind: Any) -> None:
        self.behind = behind

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


@contextlib.contextmanager
def collecting(act: Callable[[], Any], when: Callable[[], bool], after: int = 0) -> Iterator[list[Any]]:
    """In this block the collector runs as often as it can, until it has called `act` once, in a finalizer.

    Arguments:
        when: whether this is the moment; asked in the finalizer, and so in whatever green thread the collector runs.
        after: moments to let pass before.

    Gives a list, which holds the green thread that `act` was called in once that has happened.
    """
    hits: list[Any] = []
    kept: list[Any] = []
    left = after
    armed = True

    def disarm() -> None:
        nonlocal armed
        if armed:
            armed = False
            gc.set_threshold(*thresholds)
            (gc.enable if enabled else gc.disable)()

    class Litter:
        def __del__(self) -> None:
            nonlocal left
            if not armed:
                return
            outer = sys._getframe().f_back
            inside = "" if outer is None else outer.f_globals["__name__"]
            # gevent's loop over libuv is Python, with watchers in the making: not what is tested.
            if when() and not inside.startswith(("gevent.libuv", "gevent._ffi")):
                if left == 0:
                    disarm()
                    hits.append(gevent.getcurrent())
                    act()
                    return
                left -= 1
            litter()

    def litter() -> None:
        one: Any = Litter()
        one.itself = one
        kept.extend([] for _ in range(8))  # so many objects may go before the next allocation is none too many

    thresholds, enabled = gc.get_threshold(), gc.isenabled()
    gc.collect()
    litter()
    gc.enable()
    gc.set_threshold(1, 1 << 30, 1 << 30)  # the youngest alone: what else there is must not take long each time
    try:
        yield hits
    finally:
        disarm()
        gc.collect()
