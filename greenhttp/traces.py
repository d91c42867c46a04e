"""The text of an exception, also where the interpreter cannot make it.

CPython 3.15 imports the parent of a module that was not found, while it formats the exception that says so. If that
import raises again, the formatting raises too, and nobody would see the error.
"""

import traceback

__all__ = ["MOST", "last_line", "trace"]

MOST = 1000  # frames; said where an application's sys.tracebacklimit would count otherwise


def trace(error: BaseException) -> str:
    """The traceback and what it ends with, as the interpreter prints it; without its causes if that raises."""
    try:
        return "".join(traceback.format_exception(error))
    except Exception:
        frames = traceback.format_tb(error.__traceback__, MOST)
        return "".join(["Traceback (most recent call last):\n", *frames, last_line(error), "\n"])


def last_line(error: BaseException) -> str:
    """The kind of the exception, and what it says."""
    try:
        return traceback.format_exception_only(type(error), error)[-1].strip()
    except Exception:
        try:
            said = str(error)
        except Exception:
            said = "<exception str() failed>"
        return f"{type(error).__qualname__}: {said}" if said else type(error).__qualname__
