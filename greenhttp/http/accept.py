"""Whether a client prefers JSON to text, by what it says in Accept (RFC 9110 12.5.1)."""

import re

_QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")  # RFC 9110 12.4.2


def prefers_json(accept: str) -> bool:
    """Whether application/json is preferred to text/html and to text/plain.

    Arguments:
        accept: the value of the field.

    The quality of each of the three is that of the most specific range it falls under. Where JSON is as good as text,
    which is all that `*/*` says, the answer is text, unless JSON is named and HTML is not: `application/json,
    text/plain, */*`, as HTTP libraries of browsers send it, comes from a program, and a browser itself names HTML. What
    is malformed counts as not there.
    """
    if "application/" not in accept.lower():
        return False  # nearly always, and soon said
    ranges: dict[str, float] = {}
    for element in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in element.split(";"))
        quality = _quality(parameters)
        if quality is not None:
            ranges[kind] = max(quality, ranges.get(kind, 0.0))
    json = _of(ranges, "application/json")
    text = max(_of(ranges, "text/html"), _of(ranges, "text/plain"))
    if json == text:
        return json > 0 and "application/json" in ranges and "text/html" not in ranges
    return json > text


def _quality(parameters: list[str]) -> float | None:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return float(value) if _QUALITY.fullmatch(value) else None
    return 1.0


def _of(ranges: dict[str, float], kind: str) -> float:
    for name in (kind, kind.partition("/")[0] + "/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return 0.0
