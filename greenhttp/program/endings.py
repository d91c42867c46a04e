"""The last moments of a process: what it ends with is decided, and no signal changes that.

    prepare()                   early: before an application registers functions for the exit
    settle(numbers, code)       from now on

While the interpreter goes down, it takes back handlers that are Python's and leaves the system's defaults. For some
tens of milliseconds any signal would end the process by itself then, and whoever waits for it would be told of a
failure. So signals are ignored. Only INT and QUIT still end it at once, as long as threads and exit functions of the
application run, which may never end.
"""

import atexit
import contextlib
import os
import signal
from collections.abc import Iterable

_at_once: list[int] = []


def prepare() -> None:
    """What is registered first runs last."""
    atexit.register(_go_down)


def settle(numbers: Iterable[int], code: int | None = None) -> None:
    """These signals are ignored from now on.

    Arguments:
        code: INT and QUIT end the process at once, with this exit code; None: they are ignored too.
    """
    for number in numbers:
        if code is not None and number in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, lambda *_: os._exit(code))
            _at_once.append(number)
        else:
            signal.signal(number, signal.SIG_IGN)


def _go_down() -> None:
    for number in _at_once:
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(number, signal.SIG_IGN)
