"""Rules 16 to 21 of the contract: what leaves, whatever an application says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.answers import Incomplete, one
from tests.contract import sending
from tests.contract.cases import ABORTED, CLOSED, KEPT, LINGERED, NEXT
from tests.contract.running import Outcome, ServerProcess, in_memory, over_tcp
from tests.contract.sending import ENTRIES, LIST, REQUESTS, Sent, native_answers, wsgi_answers

KINDS = {"native": native_answers, "wsgi": wsgi_answers}


def test_the_table_says_nothing_twice() -> None:
    repeated = Counter(entry.name for entry in ENTRIES)
    assert [name for name, count in repeated.items() if count > 1] == []


def wrong(entry: Sent, outcome: Outcome) -> str:
    """What is not as the entry says; an empty str if all is."""
    method = REQUESTS[entry.asked][0]
    left = entry.left
    if any(text.encode() in outcome.sent for text in entry.absent):
        return "what must stay here has left"
    if left.end == ABORTED:
        return "" if outcome.end == ABORTED else f"{outcome.end} instead of aborted"
    try:
        answer, rest = one(outcome.sent, method)
    except AssertionError as error:
        return f"not HTTP: {error}"
    except Incomplete:
        return "" if not left.whole and outcome.end in (CLOSED, LINGERED) else "not whole"
    found = (answer.status, answer.framing, answer.get("Content-Length"), answer.content, answer.get("Connection"))
    if found != left[:5]:
        return f"{found} instead of {left[:5]}"
    if not answer.get("Date") or not answer.get("Server"):
        return "no Date or Server"
    if (b" 200 " in rest[:16]) != (left.end == KEPT):
        return f"followed by {rest[:16]!r}"
    return ""


def all_wrong(found: Iterator[tuple[Sent, Outcome]]) -> list[tuple[str, str]]:
    return [(entry.name, problem) for entry, outcome in found if (problem := wrong(entry, outcome))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [None, 7])
def test_in_memory(kind: str, window: int | None) -> None:
    def found() -> Iterator[tuple[Sent, Outcome]]:
        asked = [[entry.request(i) + NEXT] for i, entry in enumerate(ENTRIES)]
        yield from zip(ENTRIES, in_memory(KINDS[kind], asked, finished=False, window=window), strict=True)

    assert all_wrong(found()) == []


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess() as process:
        yield process


@pytest.mark.parametrize("kind", KINDS)
def test_over_tcp(server: ServerProcess, kind: str) -> None:
    port = server.ports[f"{kind} answers"]

    def found() -> Iterator[tuple[Sent, Outcome]]:
        asked = [entry.request(i) + NEXT for i, entry in enumerate(ENTRIES)]
        yield from zip(ENTRIES, over_tcp(port, asked), strict=True)

    assert all_wrong(found()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_content_is_closed_once_whatever_becomes_of_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: Counter[str] = Counter()
    monkeypatch.setattr(sending, "closed", closed)
    in_memory(KINDS[kind], [[entry.request(i)] for i, entry in enumerate(ENTRIES)], finished=True)
    streams = [f"/{i}" for i, entry in enumerate(ENTRIES) if entry.said.how != LIST]
    assert {name: closed[name] for name in streams} == dict.fromkeys(streams, 1)
