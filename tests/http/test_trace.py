"""http/trace.py: `traceparent` and `tracestate` by W3C Trace Context, and who is believed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from greenhttp import connect
from greenhttp.http.trace import LONGEST, MEMBERS, Trace, read_trace
from greenhttp.server import Server
from tests.answers import one
from tests.http.apps import request
from tests.http.carriers import over_http1
from tests.http.client import Client

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALUE = f"00-{TRACE}-{PARENT}-01"

GOOD = [  # value -> flags
    (VALUE, 1),
    (f"00-{TRACE}-{PARENT}-00", 0),
    (f"00-{TRACE}-{PARENT}-02", 2),  # random, by Level 2
    (f"00-{TRACE}-{PARENT}-03", 3),
    (f"00-{TRACE}-{PARENT}-ff", 3),  # others mean nothing
    (f"00-{TRACE}-{PARENT}-08", 0),
    (f"00-{'0' * 31}1-{'0' * 15}1-01", 1),
    # later versions: as much as is known of them (3.2.4)
    (f"01-{TRACE}-{PARENT}-01", 1),
    (f"cc-{TRACE}-{PARENT}-03", 1),
    (f"cc-{TRACE}-{PARENT}-01-", 1),
    (f"cc-{TRACE}-{PARENT}-01-what comes then", 1),
    (f"fe-{TRACE}-{PARENT}-00-ab", 0),
]

BAD = [
    "",
    "-",
    VALUE[:-1],
    VALUE + "0",
    VALUE + "-",
    VALUE + "-00",
    VALUE + " ",
    " " + VALUE,
    VALUE + "\n",
    VALUE + "," + VALUE,
    VALUE.replace("-", "_"),
    VALUE.replace("-", ""),
    VALUE.upper(),
    f"00-{TRACE.upper()}-{PARENT}-01",
    f"00-{TRACE}-{PARENT.upper()}-01",
    f"00-{TRACE}-{PARENT}-0A",
    f"0-{TRACE}-{PARENT}-01",
    f"000-{TRACE}-{PARENT}-01",
    f"0x-{TRACE}-{PARENT}-01",
    f"ff-{TRACE}-{PARENT}-01",
    f"ff-{TRACE}-{PARENT}-01-more",
    f"FE-{TRACE}-{PARENT}-01",
    f"00-{'0' * 32}-{PARENT}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE[:-1]}-{PARENT}-01",
    f"00-{TRACE}0-{PARENT}-01",
    f"00-{TRACE[:-1]}g-{PARENT}-01",
    f"00-{TRACE}-{PARENT[:-1]}-01",
    f"00-{TRACE}-{PARENT}0-01",
    f"00-{TRACE}-{PARENT[:-1]}.-01",
    f"00-{TRACE}-{PARENT}-1",
    f"00-{TRACE}-{PARENT}-",
    f"00-{TRACE}-{PARENT}",
    f"00-{TRACE}-{PARENT}-0\u0661",  # a digit, but none of these
    f"cc-{TRACE}-{PARENT}-01.what",
    f"cc-{TRACE}-{PARENT}-012",
    f"cc-{'0' * 32}-{PARENT}-01",
]

STATES = [  # the values of the fields -> what is kept
    ([], ""),
    ([""], ""),
    (["a=1"], "a=1"),
    (["a=1,b=2"], "a=1,b=2"),
    (["a=1 , \tb=2\t"], "a=1,b=2"),
    (["a=1", "b=2"], "a=1,b=2"),
    (["a=1,,", "", " ,b=2"], "a=1,b=2"),
    (["a=one two"], "a=one two"),
    (["a= 1"], "a= 1"),
    (["a=!~<>"], "a=!~<>"),
    (["a_-*/0=1"], "a_-*/0=1"),
    (["tenant@system=1"], "tenant@system=1"),
    (["0tenant@system=1"], "0tenant@system=1"),
    (["0=1"], "0=1"),  # by Level 2
    ([f"{'a' * 256}=1"], f"{'a' * 256}=1"),
    ([f"a={'v' * 256}"], f"a={'v' * 256}"),
    ([",".join(f"k{n}=v" for n in range(MEMBERS))], ",".join(f"k{n}=v" for n in range(MEMBERS))),
    # malformed: none of it
    (["a"], ""),
    (["a="], ""),
    (["=1"], ""),
    (["a=1,b"], ""),
    (["a=1;b=2"], ""),
    (["A=1"], ""),
    (["_a=1"], ""),
    (["@a=1"], ""),
    (["a =1"], ""),
    (["a b=1"], ""),
    (["a=1=2"], ""),
    (["a=\t1"], ""),
    (["a=\x7f"], ""),
    (["a=\xe9"], ""),
    (["\xe9=a"], ""),
    (["a=1,b=2,a=3"], ""),
    (["a=1", "a=1"], ""),
    ([f"{'a' * 257}=1"], ""),
    ([f"a={'v' * 257}"], ""),
    ([",".join(f"k{n}=v" for n in range(MEMBERS + 1))], ""),
    (["a=1" + "," * LONGEST], ""),
]


@pytest.mark.parametrize(("value", "flags"), GOOD)
def test_a_traceparent_by_the_rules_is_a_trace(value: str, flags: int) -> None:
    trace = read_trace([value])
    assert trace is not None
    assert trace == Trace(value[3:35], value[36:52], flags, "")
    assert trace.sampled is bool(flags & 1)


@pytest.mark.parametrize("value", BAD)
def test_one_that_breaks_a_rule_is_none(value: str) -> None:
    assert read_trace([value], ["a=1"]) is None


def test_none_is_none_and_two_are_none() -> None:
    assert read_trace([]) is None
    assert read_trace([VALUE, VALUE]) is None


@pytest.mark.parametrize(("values", "kept"), STATES)
def test_a_tracestate_is_kept_within_its_limits_or_dropped_alone(values: list[str], kept: str) -> None:
    trace = read_trace([VALUE], values)
    assert trace is not None and trace.trace_id == TRACE
    assert trace.state == kept


def test_a_trace_does_not_change() -> None:
    trace: Any = read_trace([VALUE])
    with pytest.raises(AttributeError):
        trace.parent_id = PARENT


def test_fields_for_onward_requests_have_a_new_parent_each_time() -> None:
    trace = read_trace([f"cc-{TRACE}-{PARENT}-01-more"], ["a=1, b=2"])
    assert trace is not None
    many = [trace.fields() for _ in range(1000)]
    assert {tuple(fields) for fields in many} == {("traceparent", "tracestate")}
    assert {fields["tracestate"] for fields in many} == {"a=1,b=2"}
    parents = set()
    for fields in many:
        found = re.fullmatch(f"00-{TRACE}-([0-9a-f]{{16}})-01", fields["traceparent"])
        assert found
        parents.add(found[1])
        onward = read_trace([fields["traceparent"]], [fields["tracestate"]])
        assert onward is not None and onward.parent_id == found[1]
    assert len(parents) == 1000 and not parents & {PARENT, "0" * 16}


def test_without_a_state_there_is_no_field_for_it() -> None:
    trace = read_trace([VALUE], ["malformed"])
    assert trace is not None and list(trace.fields()) == ["traceparent"]


def native(request: Any) -> str:
    return repr(request.trace)


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    assert "greenhttp.trace" not in environ or environ["greenhttp.trace"] is not None
    return [repr(environ.get("greenhttp.trace")).encode()]


TOLD = [b"Traceparent: " + VALUE.encode(), b"tracestate: a=1", b"TraceState: b=2"]


@pytest.mark.parametrize("app", [native, wsgi])
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (TOLD, Trace(TRACE, PARENT, 1, "a=1,b=2")),
        (TOLD[1:], None),
        ([TOLD[0], TOLD[0]], None),
        ([TOLD[0][:-1]], None),
        ([], None),
    ],
)
def test_an_application_is_told(talk: Any, app: Any, fields: list[bytes], told: Trace | None) -> None:
    assert talk(app, request(b"GET / HTTP/1.1", *fields)).only.content == repr(told).encode()


@pytest.mark.parametrize("app", [native, wsgi])
@pytest.mark.parametrize(("allowed", "believed"), [("127.0.0.1", True), ("10.0.0.1,unix", False), ("", False)])
def test_a_stranger_s_trace_is_none(serve: Any, app: Any, allowed: str, believed: bool) -> None:
    serving = serve(app, forwarded_allow_ips=allowed)
    content = serving.ask(request(b"GET / HTTP/1.1", *TOLD)).content
    assert content == repr(Trace(TRACE, PARENT, 1, "a=1,b=2") if believed else None).encode()


def test_an_application_that_is_asked_sends_it_onward(serve: Any) -> None:
    inner = serve(native)

    def outer(request: Any) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in request.trace.fields().items())
        with connect("{}:{}".format(*inner.server.address)) as stream:
            stream.write(f"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode())
            return one(stream.read())[0].content

    content = serve(outer).ask(request(b"GET / HTTP/1.1", *TOLD)).content.decode()
    found = re.fullmatch(f"Trace\\(trace_id='{TRACE}', parent_id='(.*)', flags=1, state='a=1,b=2'\\)", content)
    assert found and found[1] != PARENT


def test_a_kept_request_tells_it_afterwards() -> None:
    kept: list[Any] = []

    def keep(request: Any) -> str:
        kept.append(request)
        return ""

    over_http1(keep, request(b"GET / HTTP/1.1", *TOLD))
    assert kept[0].trace == Trace(TRACE, PARENT, 1, "a=1,b=2")


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:{}"])
def test_a_kept_request_tells_it_when_its_connection_has_ended(bind: str, tmp_path: Any) -> None:
    kept: list[Any] = []

    def keep(request: Any) -> str:
        kept.append(request)
        return ""

    server = Server(keep, bind=bind.format(tmp_path / "socket"))
    server.start()
    try:
        client = Client(server.address)
        assert client.ask(request(b"GET / HTTP/1.1", *TOLD, b"Connection: close")).status == 200
        client.close()
    finally:
        server.stop(0)
    assert kept[0].trace == Trace(TRACE, PARENT, 1, "a=1,b=2")
