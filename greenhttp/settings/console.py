"""Lines for the person at the terminal: in colour there, plain in a pipe or a file.

NO_COLOR (no-color.org) and TERM=dumb switch colours off, FORCE_COLOR switches them on where there is no terminal.
"""

import contextlib
import os
import sys
from typing import TextIO

STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}


def colourful(stream: TextIO | None) -> bool:
    """Whether colours would be seen there as colours. None: it was closed before Python began."""
    if stream is None or os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and stream.isatty()


def paint(text: str, *styles: str, on: bool) -> str:
    """The text in these STYLES, or as it is where `on` is false."""
    if not on or not styles:
        return text
    return f"\033[{';'.join(str(STYLES[style]) for style in styles)}m{text}\033[0m"


def say(line: str, *styles: str) -> None:
    """One line on stderr, under the program's name. Where nobody reads that any more, serving is what counts."""
    if sys.stderr is None:  # print() would take stdout instead
        return
    on = colourful(sys.stderr)
    text = f"{paint('greenhttp:', 'bold', 'green', on=on)} {paint(line, *styles, on=on)}"
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
