"""Rules 6 and 7 of the contract over every combination of Content-Length and Transfer-Encoding."""

from __future__ import annotations

import json
from collections.abc import Iterable

from greenhttp.errors import WireError
from greenhttp.wire.head import Framing, Head
from tests.contract.cases import CLOSED, LINGERED, NEXT
from tests.contract.process import recording_native
from tests.contract.running import Outcome, ServerProcess, answers_of, in_memory, over_tcp
from tests.contract.smuggling import CONTENT, Refused, framing, heads

HEADS = list(heads())
Wanted = tuple[tuple[int, ...], tuple[str, ...]]  # the answers; the bodies of the requests that the application sees


def wanted(data: bytes) -> Wanted:
    try:
        length = framing(data)
    except Refused as refusal:
        return (refusal.args[0],), ()
    if length == len(CONTENT):
        return (200, 200), (CONTENT.decode(), "")  # NEXT is the second
    if length == -1:
        return (200, 200), ("", "")
    return (200, 400), ("",)  # no content: what comes is taken for a request, and is none


WANTED = [wanted(data) for data in HEADS]


def test_the_combinations_are_many_and_meet_every_verdict() -> None:
    assert len(HEADS) > 4000
    verdicts = {answers: WANTED.count((answers, bodies)) for answers, bodies in set(WANTED)}
    assert set(verdicts) == {(400,), (501,), (200, 200), (200, 400)}
    assert min(verdicts.values()) > 20


def in_pieces(data: bytes, size: int) -> tuple[int, ...] | int | None:
    """The framing as this server reads it from pieces of that size; the status of a refusal in a tuple."""
    head = Head()
    try:
        for at in range(0, len(data), size):
            head.feed(data[at : at + size])
    except WireError as error:
        return (error.status,)
    assert head.head_size == len(data)
    return {Framing.NO_BODY: None, Framing.LENGTH: head.content_length, Framing.CHUNKED: -1}[Framing(head.framing)]


def test_every_head_is_framed_as_the_rules_say_however_it_arrives() -> None:
    wrong = []
    for data in HEADS:
        try:
            expected: object = framing(data)
        except Refused as refusal:
            expected = refusal.args
        found = {size: in_pieces(data, size) for size in (1, 3, 7, len(data))}
        if set(found.values()) != {expected}:
            wrong.append((data, expected, found))
    assert wrong == []


def different(heads: list[bytes], outcomes: Iterable[Outcome]) -> list[tuple[bytes, Wanted, Outcome]]:
    """Those with other answers, other bodies seen or another end than the rules say."""
    found = []
    for data, outcome in zip(heads, outcomes, strict=True):
        expected = wanted(data)
        answers = answers_of(outcome.sent, [])
        bodies = tuple(json.loads(answer.content)[-1] for answer in answers if answer.status == 200)
        said = tuple(answer.status for answer in answers)
        if (said, bodies) != expected or not answers[-1].closes or outcome.end not in (CLOSED, LINGERED):
            found.append((data, expected, outcome))
    return found


def test_over_tcp_one_request_in_is_one_request_seen() -> None:
    some = HEADS[::7]  # of each kind of combination; a connection over TCP costs more than one in memory
    with ServerProcess() as server:
        outcomes = list(over_tcp(server.ports["native"], [data + CONTENT + NEXT for data in some]))
        seen = server.seen("native").values()
    assert different(some, outcomes) == []
    assert sum(map(len, seen)) == sum(len(wanted(data)[1]) for data in some)


def test_in_memory_one_request_in_is_one_request_seen_when_content_comes_later() -> None:
    records: list[list[object]] = []
    pieces = [[data[:-1], data[-1:], CONTENT, NEXT] for data in HEADS]
    assert different(HEADS, in_memory(recording_native(records), pieces, finished=False)) == []
    assert len(records) == sum(len(bodies) for _, bodies in WANTED)
