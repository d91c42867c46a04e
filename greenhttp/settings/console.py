"""Lines for the person at the terminal: in colour there, plain in a pipe or a file.

NO_COLOR (no-color.org) and TERM=dumb switch colours off, FORCE_COLOR switches them on where there is no terminal.

An application may put anything in place of sys.stdout and sys.stderr, close them, or point their descriptors elsewhere.
So a process that is going to load one calls `hold` first: from then on everything goes to duplicates of the two.
"""

import contextlib
import errno
import fcntl
import os
import re
import sys
from collections.abc import Callable
from typing import TextIO

_COLOUR = re.compile(r"\033\[[0-9;]*m")
STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}


OUT, ERR = 1, 2
_held: dict[int, tuple[int, bool]] = {}  # OUT, ERR -> the duplicate, and whether colours are seen there


def hold() -> bool:
    """From now on lines go where descriptors 1 and 2 lead now, until `release`. Whether this was the first call, and
    there were descriptors for it."""
    if _held:
        return False
    for number, stream, before in ((OUT, sys.stdout, sys.__stdout__), (ERR, sys.stderr, sys.__stderr__)):
        try:
            if stream is before is None:  # closed before Python began: the number may be anybody's
                raise OSError
            fd = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.EINVAL):  # the last: the limit is below 3
                release()  # whoever needs more of them will say so
                return False
            fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        _held[number] = fd, _colourful(lambda fd=fd: os.isatty(fd))  # type: ignore[misc]
    return True


def release() -> None:
    """Close the duplicates. In a process that is over, or where somebody else's program goes on."""
    for fd, _ in _held.values():
        os.close(fd)
    _held.clear()


def move(fd: int) -> None:
    """From now on lines go where this descriptor leads, if `hold` has been called."""
    for duplicate, _ in _held.values():
        os.dup2(fd, duplicate, inheritable=False)


def restore() -> None:
    """Descriptors 1 and 2 lead where they led at `hold`, and so do sys.stdout and sys.stderr."""
    for number, (fd, _) in _held.items():
        os.dup2(fd, number)
        stream = os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        setattr(sys, "stdout" if number == OUT else "stderr", stream)


def fill() -> None:
    """Have descriptors 0 to 2: a socket of a client that got such a number would be sent what is meant for people.

    And the names of Python's streams: gevent cannot make a thread without sys.stderr.
    """
    for name in ("stdin", "stdout", "stderr"):
        if not hasattr(sys, name):
            setattr(sys, name, None)
    while (fd := os.open(os.devnull, os.O_RDWR)) <= ERR:
        os.set_inheritable(fd, True)
    os.close(fd)


def descriptor(number: int) -> int:
    """Where OUT or ERR is now."""
    return _held[number][0] if number in _held else number


def coloured(number: int = ERR) -> bool:
    """Whether lines for OUT or ERR are to have colours."""
    if number in _held:
        return _held[number][1]
    return colourful(sys.stdout if number == OUT else sys.stderr)


def colourful(stream: TextIO | None) -> bool:
    """Whether colours would be seen there as colours. None: it was closed before Python began."""
    return stream is not None and _colourful(stream.isatty)


def _colourful(terminal: Callable[[], bool]) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and terminal()


def seen() -> bool:
    """Whether somebody looks at what goes to stderr: it is a terminal, or FORCE_COLOR says that it comes to one."""
    return os.isatty(descriptor(ERR)) or bool(os.environ.get("FORCE_COLOR"))


def paint(text: str, *styles: str, on: bool) -> str:
    """The text in these STYLES, or as it is where `on` is false."""
    if not on or not styles:
        return text
    return f"\033[{';'.join(str(STYLES[style]) for style in styles)}m{text}\033[0m"


_through: Callable[[str], None] | None = None  # takes what is said, where stderr must not be waited for
_kept: list[str] = []


def say(line: str, *styles: str) -> None:
    """One line on stderr, under the program's name. Where nobody reads that any more, serving is what counts."""
    on = coloured()
    say_as_it_is(f"{paint('greenhttp:', 'bold', 'green', on=on)} {paint(line, *styles, on=on)}\n")


def say_as_it_is(text: str) -> None:
    """Text on stderr, with its line ends; otherwise as `say`."""
    if not text:
        return
    while _kept and _through is None:
        say(_kept.pop(0), "yellow")  # they came first
    if _through is not None:
        _through(text)
        return
    with contextlib.suppress(OSError):
        if ERR in _held:
            _all(ERR, text)
        elif sys.stderr is not None:  # print() would take stdout instead
            print(text, end="", file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Text on stdout, with its line ends: what the command was asked for. Raises BrokenPipeError."""
    if OUT in _held:
        _all(OUT, text)
    else:
        print(text, end="", flush=True)


def _all(number: int, text: str) -> None:
    stream = getattr(sys, "stdout" if number == OUT else "stderr", None)
    with contextlib.suppress(Exception):  # of the application, perhaps: what it has printed comes first
        stream.flush()  # type: ignore[union-attr]
    data = text.encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(_held[number][0], data) :]


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
