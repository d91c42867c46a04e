"""Lines for the person at the terminal: in colour there, plain in a pipe or a file.

NO_COLOR (no-color.org) and TERM=dumb switch colours off, FORCE_COLOR switches them on where there is no terminal.
"""

import contextlib
import os
import re
import sys
from collections.abc import Callable
from typing import TextIO

_COLOUR = re.compile(r"\033\[[0-9;]*m")
STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}


def colourful(stream: TextIO | None) -> bool:
    """Whether colours would be seen there as colours. None: it was closed before Python began."""
    if stream is None or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and stream.isatty()


def seen() -> bool:
    """Whether somebody looks at what goes to stderr: it is a terminal, or FORCE_COLOR says that it comes to one."""
    return os.isatty(2) or bool(os.environ.get("FORCE_COLOR"))


def paint(text: str, *styles: str, on: bool) -> str:
    """The text in these STYLES, or as it is where `on` is false."""
    if not on or not styles:
        return text
    return f"\033[{';'.join(str(STYLES[style]) for style in styles)}m{text}\033[0m"


_through: Callable[[str], None] | None = None  # takes what is said, where stderr must not be waited for
_kept: list[str] = []


def say(line: str, *styles: str) -> None:
    """One line on stderr, under the program's name. Where nobody reads that any more, serving is what counts."""
    on = colourful(sys.stderr)
    say_as_it_is(f"{paint('greenhttp:', 'bold', 'green', on=on)} {paint(line, *styles, on=on)}\n")


def say_as_it_is(text: str) -> None:
    """Text on stderr, with its line ends; otherwise as `say`."""
    if sys.stderr is None or not text:  # print() would take stdout instead
        return
    while _kept and _through is None:
        say(_kept.pop(0), "yellow")  # they came first
    if _through is not None:
        _through(text)
        return
    with contextlib.suppress(OSError):
        print(text, end="", file=sys.stderr, flush=True)


def through(write: Callable[[str], None] | None) -> None:
    """From now on what is said goes through this, which must neither wait nor raise; None: to stderr again."""
    global _through
    _through = write


def keep(line: str) -> None:
    """A line that is said later: when it is known where the log goes, or in the end."""
    _kept.append(line)


def kept() -> list[str]:
    """What was kept; it is said by the caller."""
    lines, _kept[:] = _kept[:], []
    return lines


def plain(line: str) -> str:
    """The line without its colours."""
    return _COLOUR.sub("", line)
