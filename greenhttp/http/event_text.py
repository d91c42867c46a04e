"""Server-sent events as text (WHATWG HTML, "Server-sent events": https://html.spec.whatwg.org/multipage/server-sent-events.html).

An event is lines of `name: value` and an empty line behind them. What a line cannot carry is refused where the event is
made, or split: a client that got half of it would take the rest for fields of its own.
"""

import re
from typing import Any

from greenhttp.http.json_text import json_bytes

_line_end = re.compile("\r\n|\r|\n")
_no_value = re.compile("[\r\n\0]")


def milliseconds(seconds: float, name: str) -> int:
    """Seconds as `retry` says them. Raises TypeError, ValueError."""
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"{name} is a number of seconds, not {type(seconds).__name__}")
    if not 0 <= seconds <= 86400:
        raise ValueError(f"{name} is 0 to 86400 seconds, not {seconds!r}")
    return round(seconds * 1000)


class Event:
    """One server-sent event, for the generator of an EventStream.

    Arguments:
        data: a str, or what JSON has a form for (dict, list, number, True, False), which is sent as JSON. Lines may end
            with LF, CR or CRLF; the client sees LF. None: no data; the client notes `id` and `retry`, and no event
            occurs.
        event: the type of the event, for `addEventListener`; without it `message`.
        id: what a client that lost its connection says in Last-Event-ID when it connects again. "" makes it forget the
            one before.
        retry: seconds after which a client that lost its connection connects again, from now on.

    Raises TypeError and ValueError: `event` and `id` have neither line ends nor NUL in them, and all is Unicode.
    """

    __slots__ = ("_bytes",)

    def __init__(
        self, data: Any = None, event: str | None = None, id: str | None = None, retry: float | None = None
    ) -> None:
        lines = []
        for name, value in (("event", event), ("id", id)):
            if value is None:
                continue
            if not isinstance(value, str):
                raise TypeError(f"the {name} of an Event is a str, not {type(value).__name__}")
            if _no_value.search(value):
                raise ValueError(f"the {name} of an Event cannot have line ends or NUL in it: {value!r:.80}")
            lines.append(f"{name}: {value}\n")
        if retry is not None:
            lines.append(f"retry: {milliseconds(retry, 'the retry of an Event')}\n")
        if data is not None:
            lines.append(_data_lines(data))
        if not lines:
            raise ValueError("an Event needs data, an id, a type or retry")
        self._bytes = _encoded("".join(lines) + "\n")

    def __bytes__(self) -> bytes:
        return self._bytes

    def __repr__(self) -> str:
        return f"<Event {self._bytes!r:.80}>"


def event_bytes(item: Any) -> bytes:
    """What a generator has given, as it is sent: an Event, or the data of one. Raises TypeError, ValueError."""
    if isinstance(item, Event):
        return item._bytes
    if isinstance(item, (str, dict, list)):
        return _encoded(_data_lines(item) + "\n")
    raise TypeError(f"an event is a str, a dict or list (sent as JSON) or an Event, not {type(item).__name__}")


def _data_lines(data: Any) -> str:
    if isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"the data of an event is text, not {type(data).__name__}; decode it")
    text = data if isinstance(data, str) else json_bytes(data, "the data of an event").decode()
    if "\n" not in text and "\r" not in text:
        return f"data: {text}\n"
    return "".join([f"data: {line}\n" for line in _line_end.split(text)])


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"an event is Unicode text; there is a lone surrogate at {error.start}") from None
