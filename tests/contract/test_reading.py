"""Rules 2 to 15, 21 and 22 of the contract: what is accepted, what is refused, and what becomes of the connection."""

from __future__ import annotations

from collections import Counter

import pytest

from greenhttp.testing import every_split
from tests.contract import bodies, heads
from tests.contract.cases import CLOSED, LINGERED, Case, Seen, head
from tests.contract.process import recording_native
from tests.contract.running import Outcome, ServerProcess, answers_of, in_memory, over_tcp

CASES = [*heads.cases(), *bodies.cases()]

each_case = pytest.mark.parametrize("case", CASES, ids=[f"{case.rule}: {case.name}" for case in CASES])


def test_the_table_says_nothing_twice() -> None:
    assert len(CASES) >= 300
    for key in ("name", "data"):
        repeated = Counter((getattr(case, key), case.then, case.finished) for case in CASES)
        assert [entry for entry, count in repeated.items() if count > 1] == []


def judge(case: Case, outcome: Outcome, seen: list[Seen], over_tcp: bool) -> None:
    """The answers, the requests seen and the end of the connection are those of the entry."""
    found = answers_of(outcome.sent, [each.method for each in case.all_seen])
    assert tuple(answer.status for answer in found) == case.all_answers
    assert tuple(seen) == case.all_seen
    *others, last = [answer.closes for answer in found if answer.status >= 200]
    assert others == [False] * len(others)
    assert last or case.rule == 11  # what makes a connection end there is found behind the answer
    if case.goes_on:  # NEXT was answered; it asks for the end itself
        assert outcome.end == CLOSED
    elif case.end == LINGERED and not over_tcp:
        assert outcome.end == LINGERED
    else:
        assert outcome.end in (CLOSED, LINGERED)


def conversations(case: Case) -> list[list[bytes]]:
    """Every way the bytes of an entry may arrive."""
    if case.then:
        return [[*pieces, case.then + case.behind] for pieces in every_split(case.data)]
    together = [[*rest, last + case.behind] for *rest, last in every_split(case.data)]
    return [*together, [case.data, case.behind]] if case.behind else together


@each_case
def test_in_every_split(case: Case) -> None:
    records: list[list[object]] = []
    ways = conversations(case)
    outcomes = in_memory(recording_native(records), ways, finished=case.finished)
    # Which connection a record is of is not told here: that each sees what it should is told by its own answers.
    seen = Counter(Seen(*record[1:4], tuple(record[4]), record[5]) for record in records)
    assert seen == Counter({each: count * len(ways) for each, count in Counter(case.all_seen).items()})
    for outcome in outcomes:
        judge(case, outcome, list(case.all_seen), over_tcp=False)


@pytest.fixture(scope="module")
def by_name() -> dict[tuple[str, str], tuple[Outcome, list[Seen]]]:
    """What became of each entry over TCP, by the kind of application and the name of the entry."""
    with ServerProcess() as server:
        return {
            (kind, case.name): (outcome, seen)
            for kind in ("native", "wsgi")
            for case, outcome, seen in server.converse(kind, CASES)
        }


def in_environ(seen: Seen) -> Seen:
    """What a WSGI application sees of it (PEP 3333): names in capitals, repeated fields joined."""
    environ: dict[str, str] = {}
    for name, value in seen.fields:
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else "HTTP_" + key
        environ[key] = environ[key] + ("; " if key == "HTTP_COOKIE" else ", ") + value if key in environ else value
    return seen._replace(fields=tuple(sorted(environ.items())))


def test_22_the_answer_arrives_whatever_was_sent_behind_a_refusal() -> None:
    """Lingering close: shut down writing, read and discard for a bounded time and size, then close, so that the client
    reads the answer instead of a reset."""
    wrong = {
        400: head(b"GET / HTTP/1.1", b"X : y"),
        413: head(b"POST / HTTP/1.1", b"Content-Length: 300000"),
        414: b"GET /" + b"a" * 1000,
        417: head(b"POST / HTTP/1.1", b"Expect: other"),
        431: head(b"GET / HTTP/1.1", b"X: " + b"y" * 1000),
        501: head(b"TRACE / HTTP/1.1"),
        505: head(b"GET / HTTP/2.0"),
    }
    with ServerProcess() as server:
        outcomes = list(over_tcp(server.ports["native"], [data + b"x" * 300_000 for data in wrong.values()]))
        seen = server.seen("native").values()
    answers = [answers_of(outcome.sent, ()) for outcome in outcomes]
    assert [[answer.status for answer in each] for each in answers] == [[status] for status in wrong]
    assert [outcome.end for outcome in outcomes] == [CLOSED] * len(wrong)
    assert sum(map(len, seen)) == 0


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (head(b"HEAD / HTTP/1.1", b"X : y"), 400),
        (head(b"HEAD / HTTP/1.1", host=b""), 400),
        (head(b"HEAD / HTTP/1.1", b"Expect: other"), 417),
        (head(b"HEAD / HTTP/1.1", b"X: " + b"y" * 1000), 431),
        (head(b"HEAD / HTTP/1.1", b"Content-Length: 1001"), 413),
        (head(b"HEAD http: HTTP/1.1"), 400),
    ],
)
def test_19_a_refused_head_is_answered_without_content(line: bytes, status: int) -> None:
    for before in (b"", head(), head(b"HEAD / HTTP/1.1")):
        (outcome,) = in_memory(recording_native([]), [[before + line]], finished=False)
        assert outcome.sent.endswith(b"\r\n\r\n")
        assert b"HTTP/1.1 %d " % status in outcome.sent


def test_19_what_is_refused_behind_a_head_request_has_content() -> None:
    """A refusal of what is no request at all is not mistaken for one of the HEAD before it."""
    (outcome,) = in_memory(recording_native([]), [[head(b"HEAD / HTTP/1.1") + b"NO\r\n\r\n"]], finished=False)
    assert outcome.sent.endswith(b"\r\n\r\nBad Request\n")


@each_case
def test_over_tcp(case: Case, by_name: dict[tuple[str, str], tuple[Outcome, list[Seen]]]) -> None:
    judge(case, *by_name["native", case.name], over_tcp=True)
    outcome, seen = by_name["wsgi", case.name]
    assert tuple(seen) == tuple(in_environ(each) for each in case.all_seen)
    judge(case, outcome, list(case.all_seen), over_tcp=True)
