"""`wsgi.errors`: what an application writes there goes into the error log, as lines of its request (PEP 3333).

A framework's traceback comes as one text of many lines and is one entry. Text without a line end waits for more until
the hub's next turn: print() writes its words one by one. Never waits, if the log does not.
"""

import io
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import gevent
from gevent import monkey
from greenlet import getcurrent

from greenhttp.process.board import Board

_ident = monkey.get_original("_thread", "get_ident")  # of real threads
MOST = 1 << 16  # characters of a line that is not over


class Source(NamedTuple):
    """The request that has written something.

    Attributes:
        peer: the client: `127.0.0.1:4711`, or as a trusted proxy names it.
        request: `GET /path`; "" where the process has no board.
        id: of the request; "" if it has none.
    """

    peer: str
    request: str
    id: str = ""


# Where entries go: a source, if one is known, and the text. None: to stderr, as they are.
sink: Callable[[Source | None, str], None] | None = None


class Errors(io.TextIOBase):
    """One for all requests of a server.

    Arguments:
        source_of: whose request a green thread serves: the client, for people, and the ID or ""; or None.

    Attributes:
        board: on which its requests are listed, or None.
    """

    def __init__(self, source_of: Callable[[Any], tuple[str, str] | None]) -> None:
        self.source_of = source_of
        self.board: Board | None = None
        self.thread = _ident()
        self._begun: dict[Any, tuple[Source | None, str]] = {}  # by green thread

    encoding = "utf-8"
    errors = "backslashreplace"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        """An entry of the log for what ends with a line end; the rest waits. Returns the number of characters.

        Raises TypeError for anything but str.
        """
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__}")
        if sink is None:
            sys.stderr.write(text)
            return len(text)
        if _ident() != self.thread:  # where no hub turns that could send the rest
            if text.strip():
                sink(None, text)
            return len(text)
        green = getcurrent()
        request, begun = self._begun.pop(green, (None, ""))
        whole, end, rest = (begun + text).rpartition("\n")
        if request is None:
            request = self._source(green)
        if end and whole.strip():
            sink(request, whole)
        if len(rest) > MOST:
            sink(request, rest)
        elif rest:
            if not self._begun:
                gevent.get_hub().loop.run_callback(self._flush_all)
            self._begun[green] = request, rest
        return len(text)

    def _source(self, green: Any) -> Source | None:
        """The request that this green thread serves; None: it is no thread of the pool."""
        found = self.source_of(green)
        if found is None:
            return None
        peer, id = found
        return Source(peer, self.board.entry(green.place)[1] if self.board is not None else "", id)

    def flush(self) -> None:
        """An entry for what waits of this green thread."""
        if sink is None:
            sys.stderr.flush()
        elif _ident() == self.thread:
            self._flush(getcurrent())

    def _flush(self, green: Any) -> None:
        request, rest = self._begun.pop(green, (None, ""))
        if sink is not None and rest.strip():
            sink(request, rest)

    def _flush_all(self) -> None:
        for green in list(self._begun):
            self._flush(green)
