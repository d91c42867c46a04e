"""Rules 6 and 7 of the contract over every combination of Content-Length and Transfer-Encoding."""

from __future__ import annotations

import json
from collections.abc import Iterable

from greenhttp.errors import WireError
from greenhttp.wire.head import Framing, Head
from tests.contract.cases import CLOSED, LINGERED, NEXT
from tests.contract.process import BEHIND_A_PROXY, recording_native
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


# ---- with fields of proxies among them

PROXYS = (
    b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: b", b"X-Forwarded-Port: 443",
    b"X-Forwarded-Prefix: /below", b"X-Request-Id: 5", b"X-Forwarded-Ssl: on",
    b'Forwarded: for="[2001:db8::1]";by=chunked',
)  # fmt: skip


def mixed(data: bytes, turn: int) -> bytes:
    """The head with PROXYS between its lines, in an order that the turn decides; a folded line stays with its own."""
    line, *fields = data[:-4].split(b"\r\n")
    left = [*PROXYS[turn % len(PROXYS) :], *PROXYS[: turn % len(PROXYS)]]
    found = [line]
    for number, field in enumerate(fields):
        if not field.startswith((b" ", b"\t")):
            found += [left.pop() for _ in range((turn + number) % 3) if left]
        found.append(field)
    return b"\r\n".join([*found, *left, b"", b""])


MIXED = [mixed(data, turn) for turn, data in enumerate(HEADS)]


def test_fields_of_proxies_change_no_framing() -> None:
    assert [wanted(data) for data in MIXED] == WANTED
    behind = {**BEHIND_A_PROXY, "forwarded_allow_ips": ("127.0.0.1",)}
    for settings in (behind, {**behind, "forwarded_field": "forwarded"}):
        records: list[list[object]] = []
        pieces = [[data[:-1], data[-1:], CONTENT, NEXT] for data in MIXED]
        outcomes = in_memory(recording_native(records), pieces, finished=False, **settings)
        assert different(MIXED, outcomes) == []
        assert len(records) == sum(len(bodies) for _, bodies in WANTED)


def test_nor_from_strangers_over_tcp_and_the_application_sees_none_of_them() -> None:
    some = MIXED[::7]
    told = {f"HTTP_{line.partition(b':')[0].decode().upper().replace('-', '_')}" for line in PROXYS}
    with ServerProcess() as server:
        for kind in ("strangers", "behind a proxy"):
            outcomes = list(over_tcp(server.ports[kind], [data + CONTENT + NEXT for data in some]))
            seen = [each for several in server.seen(kind).values() for each in several]
            assert different(some, outcomes) == []
            assert len(seen) == sum(len(wanted(data)[1]) for data in some)
            hosts = {(each.target, each.host) for each in seen}
            names = {name for each in seen for name, _ in each.fields} & told
            if kind == "strangers":
                assert (hosts, names) == ({("/", "a"), ("/next", "a")}, set())
            else:
                assert (hosts, names) == ({("/", "b"), ("/next", "a")}, told - {"HTTP_FORWARDED"})
