"""Where a thread or a green thread is: as a line for the log, as a stack, and the line of the application in it."""

import os
import sysconfig
import traceback
from types import FrameType

from greenhttp.process.frames import callers
from greenhttp.traces import MOST

FRAMES = 12  # of a stack in one line
_OUTSIDE = tuple(
    os.path.join(os.path.realpath(place), "")
    for place in (*map(sysconfig.get_path, ("stdlib", "platstdlib")), os.path.dirname(os.path.dirname(__file__)))
)


def own(file: str) -> bool:
    """Whether this is a file of the application: neither the standard library's, nor installed, nor the server's."""
    real = os.path.realpath(file)
    return not real.startswith(_OUTSIDE) and "/site-packages/" not in real and not file.startswith("<")


def entries(frame: FrameType | None) -> traceback.StackSummary:
    """As `traceback.extract_stack`, the innermost last, also of a stack that goes on meanwhile; empty without one."""
    pairs = callers(frame, MOST) if frame is not None else []
    found = traceback.StackSummary.extract(iter(pairs), limit=MOST)
    found.reverse()
    return found


def place(frame: FrameType | None) -> tuple[str, str]:
    """`app.py:41 in query()`, and the callers, innermost first, in one line."""
    if frame is None:
        return "an unknown place", "unknown"
    words = [_words(entry) for entry in reversed(entries(frame))]
    return words[0], " < ".join(words[:FRAMES])


def of_application(frame: FrameType | None) -> str:
    """The innermost line of the application, or else of anybody; "" where there is none."""
    found = entries(frame)
    mine = next((entry for entry in reversed(found) if own(entry.filename)), found[-1] if found else None)
    return "" if mine is None else _words(mine)


def stack(frame: FrameType | None) -> str:
    """All of it, for a traceback."""
    return "".join(entries(frame).format()).rstrip() if frame is not None else "    (unknown)"


def _words(entry: traceback.FrameSummary) -> str:
    return f"{entry.filename}:{entry.lineno} in {entry.name}()"
