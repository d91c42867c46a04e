"""This server's parsers against h11 and llhttp, over the contract's tables and over requests made up at random.

It may refuse what others accept: that is what the contract is for. It may not accept what both refuse, nor read a
request otherwise than those of them that accept it. What it does all the same is listed here, with the clause.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from tests.contract import bodies, heads, smuggling
from tests.contract.cases import NEXT, head
from tests.contract.generated import generated
from tests.contract.parsers import REFUSED, UNFINISHED, Message, Reading, by_h11, by_llhttp, greenhttp

GENERATED = 2000  # good requests; each comes twice more with mistakes


class Listed(NamedTuple):
    """A difference that is meant. Without what `pattern` finds there, nothing may differ."""

    clause: str
    reason: str
    pattern: re.Pattern[bytes]
    instead: bytes
    example: bytes


LISTED = [
    Listed(
        "RFC 9112 2.2",
        "a server SHOULD ignore at least one empty line before the request line; h11 ignores none, and llhttp, which "
        "does, knows neither each method (RFC 9110 9.1) nor the white space of chunk extensions (RFC 9112 7.1.1)",
        re.compile(rb"\A(\r\n){1,2}(?!\r\n)"),
        b"",
        b"\r\n" + head(b"X-OWN / HTTP/1.1"),
    ),
    Listed(
        "RFC 9112 3.2, RFC 3986 3.4",
        "bytes beyond ASCII in a query must be percent-encoded, but curl and others send them raw; behind `?` they "
        "divide nothing, and arrive as they are",
        re.compile(rb"(?<=\?)[!-~]*[\x80-\xff][!-~\x80-\xff]*(?= HTTP/1\.\d\r\n)"),
        b"q",
        head(b"GET /a?\xc3\xa9 HTTP/1.1"),
    ),
]


def aspects(reading: Reading) -> dict[str, object]:
    if not isinstance(reading, Message):
        return {}
    framing = (reading.body, reading.end)
    return {"framing": framing, "method": reading.method, "target": reading.target, "fields": reading.fields}


def difference(data: bytes) -> str:
    """What this server does that neither of the others does; an empty str if there is no such thing."""
    ours = greenhttp(data)
    if ours == REFUSED:
        return ""
    others = [reading for reading in (by_h11(data), by_llhttp(data)) if reading != REFUSED]
    if not isinstance(ours, Message):
        return "" if not others or UNFINISHED in others else "waits for more than others"
    if not others:
        return "accepts what both refuse"
    for name, value in aspects(ours).items():
        if all(aspects(other).get(name) != value for other in others):
            return f"reads another {name}"
    return ""


def differences(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Those in each of the requests that this server finds in the data."""
    while data:
        what = difference(data)
        if what and not any(explains(listed, data) for listed in LISTED):
            yield what, data
        ours = greenhttp(data)
        if not isinstance(ours, Message):
            return
        data = data[ours.end :]


def explains(listed: Listed, data: bytes) -> bool:
    """Whether the difference is gone, and the request the same but for that, without what is listed."""
    plain, count = listed.pattern.subn(listed.instead, data, count=1)
    one, other = greenhttp(data), greenhttp(plain)
    same = isinstance(one, Message) and isinstance(other, Message)
    return bool(count and same and one[2:4] == other[2:4] and not difference(plain))


def found(corpus: Iterable[bytes]) -> list[tuple[str, bytes]]:
    return [each for data in corpus for each in differences(data)]


def tables() -> list[bytes]:
    return [case.data + case.then + case.behind for case in (*heads.cases(), *bodies.cases())]


def test_no_difference_in_the_tables() -> None:
    assert found(tables()) == []


def test_no_difference_in_any_combination_of_lengths_and_codings() -> None:
    assert found(data + smuggling.CONTENT + NEXT for data in smuggling.heads()) == []


def test_no_difference_in_requests_made_up_at_random() -> None:
    corpus = list(generated(GENERATED))
    accepted = [isinstance(greenhttp(data), Message) for data in corpus]
    assert all(accepted[::3])  # the good ones
    assert accepted.count(False) > GENERATED  # and of those with mistakes not few are found out
    assert found(corpus) == []


@pytest.mark.parametrize("listed", LISTED, ids=[listed.clause for listed in LISTED])
def test_what_is_listed_still_differs(listed: Listed) -> None:
    assert difference(listed.example)
    assert explains(listed, listed.example)


def test_the_list_is_short() -> None:
    assert len(LISTED) <= 25


@pytest.mark.parametrize(
    ("data", "body", "rest"),
    [
        (head(b"POST / HTTP/1.1", b"Content-Length: 5") + b"hellorest", b"hello", b"rest"),
        (head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\nrest", b"hello", b"rest"),
        (head() + b"rest", b"", b"rest"),
    ],
)
def test_all_three_are_really_asked(data: bytes, body: bytes, rest: bytes) -> None:
    readings = [parser(data) for parser in (greenhttp, by_h11, by_llhttp)]
    for reading in readings:
        assert isinstance(reading, Message)
        assert (reading.body, data[reading.end :]) == (body, rest)
    assert readings[0] == readings[1] == readings[2]
