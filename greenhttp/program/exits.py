"""sys.exit() in a green thread that the application has started: the program ends, when running requests are answered.

    exit = until(event)         waits; what somebody wanted to end the program with, or None
    outlast(server.stop, 30)    a call that is not interrupted by more of them
    raise ended(exit)           at last

gevent raises what ends programs in the main green thread, wherever that waits. There it would end the requests of
others, and the exit code might be taken for something else.
"""

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any

import gevent
from gevent.event import Event

ENDS = (SystemExit, KeyboardInterrupt, SystemError)  # what gevent passes on: Hub.SYSTEM_ERROR
BROKEN = 1

log = logging.getLogger("greenhttp")


def until(event: Event) -> BaseException | None:
    """Wait for it. What comes instead, if it does, is logged with its stack, and returned."""
    try:
        event.wait()
    except ENDS as error:
        _tell(error)
        return error
    return None


def outlast(call: Callable[..., Any], *arguments: Any) -> Any:
    """What the call returns or raises. It is made in a green thread; what ends programs is only logged meanwhile."""
    calling = gevent.spawn(call, *arguments)
    while not calling.ready():
        try:
            calling.join()
        except ENDS as error:
            _tell(error)
    return calling.get()


def ended(error: BaseException) -> SystemExit:
    """What to raise for it in the end: the exit code is kept, and what is no SystemExit has been logged."""
    if isinstance(error, SystemExit):
        return SystemExit(error.code)
    return SystemExit(BROKEN)


def what(error: BaseException) -> str:
    """What happened, for the log."""
    if isinstance(error, SystemExit):
        return f"sys.exit({'' if error.code is None else repr(error.code)}) in a green thread of the application"
    return f"{type(error).__name__} in a green thread of the application"


def _tell(error: BaseException) -> None:
    log.error("%s; the process finishes running requests and ends", what(error), exc_info=error.with_traceback(
        _own(error.__traceback__)))  # fmt: skip


def _own(traceback: TracebackType | None) -> TracebackType | None:
    """Without the frames in which the main green thread has waited."""
    at = traceback
    while at is not None:
        name = at.tb_frame.f_code.co_filename
        if name != __file__ and not name.startswith("src/gevent"):
            return at
        at = at.tb_next
    return traceback
