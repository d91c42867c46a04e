"""wire/head.pyx: limits, resuming, reuse, and what it costs. The rules themselves are in tests/rfc."""

from __future__ import annotations

import pytest

from greenhttp.errors import LimitError, WireError
from greenhttp.wire.head import KNOWN_NAMES, Form, Framing, Head
from greenhttp.wire.host import is_authority
from greenhttp.wire.names import Known, known_index
from tests.wire.feeding import head_of, request, snapshot, status_of


def refusal(data: bytes, step: int, **settings: int) -> tuple[WireError, int]:
    """The error a head raises when fed `step` bytes at a time, and how many bytes it had got by then."""
    head = Head(**settings)
    for at in range(0, len(data), step):
        try:
            head.feed(data[at : at + step])
        except WireError as error:
            return error, at + step
    raise AssertionError("not refused")


@pytest.mark.parametrize("spare", [0, 1])
def test_a_request_line_as_long_as_its_limit_passes_and_one_byte_more_is_414(spare: int) -> None:
    line = b"GET /" + b"a" * 20 + b" HTTP/1.1"
    assert status_of(request(line), limit_request_line=len(line) + spare) == 200
    assert status_of(request(line), limit_request_line=len(line) - 1) == 414
    assert status_of(b"\r\n\r\n" + request(line), limit_request_line=len(line)) == 200


@pytest.mark.parametrize("spare", [0, 1])
def test_fields_as_long_as_their_limit_pass_and_one_byte_more_is_431(spare: int) -> None:
    fields = b"Host: a\r\nX: yyyyyyy\r\n"
    data = b"GET / HTTP/1.1\r\n" + fields + b"\r\n"
    assert status_of(data, limit_request_head=len(fields) + spare) == 200
    assert status_of(data, limit_request_head=len(fields) - 1) == 431


def test_one_field_more_than_the_limit_is_431() -> None:
    data = request(b"GET / HTTP/1.1", b"A: b", b"A: b")
    assert status_of(data, limit_request_fields=3) == 200
    assert status_of(data, limit_request_fields=2) == 431
    many = request(b"GET / HTTP/1.1", *[b"A: b"] * 99)
    assert head_of(many)["count"] == 100
    with pytest.raises(LimitError, match="limit_request_fields"):
        Head().feed(request(b"GET / HTTP/1.1", *[b"A: b"] * 100))


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_an_endless_request_line_is_refused_without_waiting_for_its_end(step: int) -> None:
    error, got = refusal(b"GET /" + b"a" * 100_000, step, limit_request_line=1000)
    assert (type(error), error.status, error.reason) == (LimitError, 414, "limit_request_line")
    assert got <= max(1002, step) + 7


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("endless", [b"X: " + b"a" * 100_000, b"a" * 100_000, b"\r" * 100_000, b"A: b\r\n" * 20_000])
def test_endless_fields_are_refused_without_waiting_for_their_end(step: int, endless: bytes) -> None:
    start = b"GET / HTTP/1.1\r\n"
    error, got = refusal(start + endless, step, limit_request_head=1000, limit_request_fields=10_000)
    assert error.status == 431
    assert got <= max(len(start) + 1002, step) + 7


@pytest.mark.parametrize(
    ("first_lines", "status"),
    [
        (b"GET /\r\n", 400),
        (b"GET / HTTP/2.0\r\n", 505),
        (b"TRACE / HTTP/1.1\r\n", 501),
        (b"GET / HTTP/1.1\r\nA : b\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a, b\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1x\r\n", 400),
        (b"GET / HTTP/1.1\r\nExpect: x\r\n", 417),
        (b"\x16", 400),
        (b"\n", 400),
        (b"\r\n\r\n\r\n", 400),
    ],
)
def test_a_bad_line_is_refused_before_the_rest_arrives(first_lines: bytes, status: int) -> None:
    assert status_of(first_lines) == status


def test_after_a_refusal_nothing_is_read_until_it_is_cleared() -> None:
    head = Head()
    for data in (b"GET /\r\n", request(), b""):
        with pytest.raises(WireError):
            head.feed(data)
    with pytest.raises(ValueError, match="not complete"):
        _ = head.fields
    head.clear()
    assert head.feed(request()) == len(request())


def test_a_head_is_reused_without_a_trace_of_the_one_before() -> None:
    head = Head()
    rich = request(
        b"POST https://example.com/%61?b HTTP/1.0", b"Connection: keep-alive, upgrade", b"Content-Length: 5", b"X: y"
    )
    assert head.feed(rich) == len(rich)
    assert (head.form, head.framing, head.keep_alive) == (Form.ABSOLUTE, Framing.LENGTH, True)
    chunked = request(b"POST / HTTP/1.1", b"Expect: 100-continue", b"Transfer-Encoding: chunked", b"Connection: close")
    head.clear()
    assert head.feed(chunked) == len(chunked)
    assert (head.framing, head.wants_continue, head.content_length) == (Framing.CHUNKED, True, -1)
    head.clear()
    assert head.feed(request()) == len(request())
    fresh = Head()
    fresh.feed(request())
    for name in dir(fresh):
        if not name.startswith("_") and not callable(getattr(fresh, name)):
            assert getattr(head, name) == getattr(fresh, name), name


def test_bytes_fed_to_a_complete_head_are_the_callers() -> None:
    head, data = Head(), request(b"GET / HTTP/1.1")
    assert head.feed(data) == len(data)
    assert head.feed(b"GET /other HTTP/1.1\r\n") == len(data)
    assert snapshot(head) == head_of(data)


def test_what_the_micro_benchmark_measures_is_whole_heads() -> None:
    data = request(b"GET /a?b HTTP/1.1", b"X: y")
    head = Head()
    assert head._bench_parse(data + b"more", 5) == len(data)
    assert snapshot(head) == head_of(data)


def test_the_bytes_behind_a_head_are_not_touched() -> None:
    data = request()
    head = Head()
    assert head.feed(data + b"\0\0\0") == len(data)
    assert head.feed(b"ignored") == len(data)
    assert head.fields == [("Host", "example.com")]


def test_values_are_not_to_be_had_before_the_head_is_complete() -> None:
    head = Head()
    assert head.feed(request()[:-1]) == 0
    for name in ("target", "path", "query", "host", "version", "fields"):
        with pytest.raises(ValueError, match="not complete"):
            getattr(head, name)
    with pytest.raises(ValueError, match="not complete"):
        head.get("host")


@pytest.mark.parametrize("limit", [0, -1, (1 << 30) + 1])
@pytest.mark.parametrize("name", ["limit_request_line", "limit_request_head", "limit_request_fields"])
def test_a_limit_that_offsets_cannot_hold_is_refused(name: str, limit: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        Head(**{name: limit})


def test_a_head_that_was_never_set_up_refuses_nothing_harmful() -> None:
    assert Head.__new__(Head).head_size == 0


HOSTILE = {
    "one long value": request(b"GET / HTTP/1.1", b"X: " + b"a" * 60_000),
    "one long name": request(b"GET / HTTP/1.1", b"x" * 60_000 + b": a"),
    "white space before a value": request(b"GET / HTTP/1.1", b"X:" + b" " * 60_000 + b"a"),
    "white space after a value": request(b"GET / HTTP/1.1", b"X: a" + b"\t" * 60_000),
    "nothing but white space": request(b"GET / HTTP/1.1", b"X:" + b" \t" * 30_000),
    "a long list of options": request(b"GET / HTTP/1.1", b"Connection: " + b"," * 60_000),
    "many long values": request(b"GET / HTTP/1.1", *[b"Accept: " + b"a," * 300] * 99),
    "a long query": request(b"GET /?" + b"?" * 8000 + b" HTTP/1.1"),
    "a long path": request(b"GET /" + b"/" * 8000 + b" HTTP/1.1"),
}


@pytest.mark.parametrize("step", [1, 100, 1 << 20])
@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_head_costs_more_than_two_looks_at_each_byte(data: bytes, step: int) -> None:
    head = Head()
    for at in range(0, len(data), step):
        head.feed(data[at : at + step])
    assert head.head_size == len(data)
    assert head.examined == 2 * len(data)


def test_the_known_names_are_lower_case_distinct_and_found_in_any_case() -> None:
    assert len(set(KNOWN_NAMES)) == len(KNOWN_NAMES)
    for index, name in enumerate(KNOWN_NAMES):
        assert name == name.lower()
        for spelled in (name, name.upper(), name.title()):
            assert known_index(spelled.encode()) == index
        for other in (name[:-1], name + "x", "x" + name, name.replace("-", "_") + "_", name[:-1] + "\r"):
            assert known_index(other.encode()) != index
    assert known_index(b"") == -1
    assert known_index(b"x" * 500) == -1


def test_the_ids_of_known_names_match_the_table() -> None:
    for member in Known:
        assert KNOWN_NAMES[member.value] == member.name.removeprefix("KNOWN_").lower().replace("_", "-")


def test_is_authority_reads_no_further_than_it_is_told() -> None:
    for text in (b"[", b"[:", b"[::", b"[1:", b"a%", b"a%2", b"", b"a:", b"[::1.2.3."):
        assert is_authority(text) is (text == b"a:")


def outcome(data: bytes, step: int) -> object:
    head = Head()
    try:
        for at in range(0, len(data), step):
            if head.feed(data[at : at + step]):
                return snapshot(head)
    except WireError as error:
        return error.status, error.reason
    return None


@pytest.mark.parametrize("byte", b"\r\n\0 \t:,;_#?\x7f\x8005", ids=hex)
def test_one_wrong_byte_anywhere_leads_to_the_same_end_however_it_arrives(byte: int) -> None:
    data = request(
        b"POST http://example.com:80/a%20?b HTTP/1.1",
        b"Content-Length: 12",
        b"Connection: keep-alive, close",
        b"Expect: 100-continue",
    )
    for at in range(len(data)):
        for end in (at, at + 1):  # inserted, and replaced
            changed = data[:at] + bytes([byte]) + data[end:]
            assert outcome(changed, 1) == outcome(changed, 5) == outcome(changed, len(changed))
