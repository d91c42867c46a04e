"""The properties on the corpus and on bytes made from it, with the ordinary build. `make fuzz` goes on from there."""

from __future__ import annotations

import re
from pathlib import Path

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import rules
from tests.fuzz.properties import TARGETS, arrivals, arrived, check

HERE = Path(__file__).parent
CORPUS = {target: {path.name: path.read_bytes() for path in sorted((HERE / "corpus" / target).iterdir())}
          for target in TARGETS}  # fmt: skip
WORDS = [
    re.sub(rb"\\x(..)|\\(.)", lambda m: bytes([int(m[1], 16)]) if m[1] else m[2], word)
    for word in re.findall(rb'^"(.*)"$', (HERE / "http.dict").read_bytes(), re.MULTILINE)
]
EXAMPLES = {"head": 250, "body": 250, "host": 300, "names": 300, "forwarded": 400, "proxy": 400, "response": 300,
            "connection": 60, "arrival": 100}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def nothing_is_left():
    """Of the one server that the target of arrivals keeps: others count green threads."""
    yield
    if arrivals.cache_info().currsize:
        arrivals().stop(0)
        arrivals.cache_clear()
        gevent.sleep(0.01)  # in which its green threads end



def mutated(target: str) -> st.SearchStrategy[bytes]:
    """An input of the corpus with some cuts, each filled with a word, a byte or a piece of another input."""
    known = st.sampled_from(list(CORPUS[target].values()))
    filling = st.one_of(st.just(b""), st.sampled_from(WORDS), st.binary(max_size=2), known)
    cuts = st.lists(st.tuples(st.integers(0, 400), st.sampled_from((0, 0, 1, 1, 2, 5, 30)), filling), max_size=4)

    def apply(data: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
        for at, size, new in cuts:
            at %= len(data) + 1
            data = data[:at] + new + data[at + size :]
        return data[:2000]

    return st.builds(apply, known, cuts)


@pytest.mark.parametrize(("target", "name"), [(target, name) for target in TARGETS for name in CORPUS[target]])
def test_the_corpus_keeps_the_properties(target: str, name: str) -> None:
    check(target, CORPUS[target][name])


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_made_from_the_corpus_keeps_the_properties(target: str) -> None:
    @settings(
        max_examples=EXAMPLES[target], derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(mutated(target))
    def run(data: bytes) -> None:
        check(target, data)

    run()


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_holds_accepted_and_refused_inputs(target: str) -> None:
    accepted = {
        "head": lambda data: rules.read_head(data) is not None,
        "body": lambda data: rules.read_chunked(data).size is not None,
        "host": lambda data: rules.read_authority(data) is not None,
        "names": lambda data: re.fullmatch(rules.TOKEN, data) is not None,
        "forwarded": lambda data: rules.read_forwarded(data) is not None,
        "proxy": lambda data: rules.read_proxy(data) is not None,
        "response": lambda data: b"\r" not in data and b"\n" not in data,
        "connection": lambda data: any(message.whole for message in rules.read_connection(data, {}, {})),
        "arrival": lambda data: arrived([data]) == "handshake",
    }[target]
    kinds = [accepted(data) for data in CORPUS[target].values()]
    assert min(kinds.count(True), kinds.count(False)) >= 3


# ---- the proof that they can fail: a rule read otherwise than the server reads it must be noticed


@pytest.mark.parametrize(
    ("target", "name", "rule", "pattern"),
    [
        ("head", "get", "REQUEST_LINE", rb"(P[A-Z]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([0-9])"),
        ("head", "space_before_colon", "FIELD_LINE", rb"([^:]+?)[ \t]*:(.*)"),
        ("head", "host_list", "AUTHORITY", rb"([a-z,. ]+)(?::([0-9]{0,5}))?"),
        ("body", "space_after", "SIZE_LINE", rb"([0-9A-Fa-f]{1,16}) ?()\r\n"),
        ("body", "trailer_space_before_colon", "TRAILER_LINE", rb"([^:]+?) ?:.*\r\n"),
        ("host", "user", "AUTHORITY", rb"(?:user@)?([a-z]+)(?::([0-9]{0,5}))?"),
        ("forwarded", "open_quote", "ELEMENT", rb"[^,]*"),
        ("forwarded", "one", "ELEMENT", rb"(?!for)[^,]*"),
        ("forwarded", "v4_port", "NODE", rb"([0-9.]+)(?::([0-9]{1,4}))?"),
        ("proxy", "tcp4", "PROXY_LINE", rb"(never)"),
        ("proxy", "unknown_lf", "PROXY_UNKNOWN", rb"PROXY UNKNOWN.*\n"),
        ("response", "crlf_in_value", "VALUE", r"(?s).*"),
        ("response", "obs_text", "VALUE", r"[\t -~]*"),
        ("connection", "post", "FIELD_LINE", rb"((?!Content-Length)[A-Za-z-]+):(.*)"),
        ("connection", "chunked_trailers", "TRAILER_LINE", rb"(never):"),
    ],
)
def test_a_rule_that_reads_otherwise_is_noticed(
    monkeypatch: pytest.MonkeyPatch, target: str, name: str, rule: str, pattern: bytes | str
) -> None:
    monkeypatch.setattr(rules, rule, re.compile(pattern))
    with pytest.raises(AssertionError):
        check(target, CORPUS[target][name])
