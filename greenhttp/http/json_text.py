"""JSON content of answers (RFC 8259): a value -> bytes, or an exception that says where in the value the fault is."""

import math
from collections.abc import Iterator
from json import JSONEncoder

DEEPEST = 200  # steps into a value when looking for a fault; what is deeper is reported as that
_encode = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def json_bytes(value: object, name: str) -> bytes:
    """`value` as compact JSON in UTF-8.

    Arguments:
        value: what the json module understands: dict, list, tuple, str, int, float, bool, None.
        name: what to call the value in messages: `NAME at ['items'][3]: what is wrong; what to do`.

    Raises:
        TypeError: JSON has no form for something in it, or a key of a dict is no text or number.
        ValueError: NaN or an infinity, a value that contains itself, text that is not Unicode (a lone surrogate).
    """
    try:
        return _encode(value).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        for place, fault in _faults(value, "", ()):
            raise kind(f"{name}{place and ' at '}{place}: {fault}") from None
        raise kind(f"{name}: {error}") from None


def error_as_json(status: int, message: str, trace: str = "") -> bytes:
    """The content of an error that is answered as JSON: `{"error": {"status": 404, "message": "..."}}`, and a newline.

    Arguments:
        message: for people.
        trace: the traceback, where the server is told to show it; "" for none.
    """
    error: dict[str, object] = {"status": int(status), "message": message}
    if trace:
        error["traceback"] = trace
    return (_encode({"error": error}) + "\n").encode("utf-8", "backslashreplace")


def _faults(value: object, place: str, above: tuple[object, ...]) -> Iterator[tuple[str, str]]:
    """What is wrong in a value that could not be written, with its place, in order."""
    if isinstance(value, str):
        if not _is_unicode(value):
            yield place, "a text with a lone surrogate has no form in UTF-8"
    elif value is None or isinstance(value, (bool, int)):
        return
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield place, f"{float(value)!r} is no JSON number; give another number, a text or None"
    elif isinstance(value, (bytes, bytearray, memoryview)):
        what = "bytes have no form in JSON; decode them to str"
        if above and isinstance(above[-1], list):
            what += ". To send bytes piece by piece, return Response(iter(...))"
        yield place, what
    elif not isinstance(value, (dict, list, tuple)):
        yield place, f"{_name(value)} has no form in JSON; make a str, a number, a dict or a list of it"
    elif any(value is each for each in above):
        yield place, f"this {type(value).__name__} contains itself; JSON has no form for that"
    elif len(above) == DEEPEST:
        yield "", f"it has more than {DEEPEST} levels; give fewer"
    else:
        yield from _faults_inside(value, place, (*above, value))


def _faults_inside(
    value: dict[object, object] | list[object] | tuple[object, ...], place: str, above: tuple[object, ...]
) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        for number, each in enumerate(value):
            yield from _faults(each, f"{place}[{number}]", above)
        return
    for key, each in value.items():
        if isinstance(key, str) and not _is_unicode(key):
            yield place, f"the key {key!a:.80} has a lone surrogate, which has no form in UTF-8"
        elif isinstance(key, float) and not math.isfinite(key):
            yield place, f"the key {key!r} is no JSON number; make a str of it"
        elif key is not None and not isinstance(key, (str, int, float)):
            yield place, f"the key {key!a:.80} is {_name(key)}; the keys of JSON are texts: make a str of it"
        yield from _faults(each, f"{place}[{key!a:.80}]", above)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
