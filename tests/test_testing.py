"""greenhttp/testing.py."""

from __future__ import annotations

from typing import Any

import pytest

from greenhttp.errors import ConfigError
from greenhttp.testing import every_split, exchange


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", [[]]),
        (b"a", [[b"a"]]),
        (b"abc", [[b"abc"], [b"a", b"b", b"c"], [b"a", b"bc"], [b"ab", b"c"]]),
    ],
)
def test_every_split_gives_whole_bytewise_and_every_cut(data: bytes, expected: list[list[bytes]]) -> None:
    assert list(every_split(data)) == expected


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    content = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [content]


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"


def test_exchange_says_what_was_sent_and_how_it_ended() -> None:
    outcome = exchange(app, [HEAD, b"he", b"llo"])
    assert outcome.sent.startswith(b"HTTP/1.1 200 OK\r\n") and outcome.sent.endswith(b"\r\n\r\nhello")
    assert (outcome.ended, outcome.sends, outcome.log) == ("closed", 1, [])


@pytest.mark.parametrize("pieces", [[], [b"POST"], [HEAD + b"hello"]])
def test_exchange_ends_when_nothing_more_can_come(pieces: list[bytes]) -> None:
    assert exchange(app, pieces, keep_open=True).ended == "open"


def test_exchange_takes_settings_and_waits_for_time_outs() -> None:
    outcome = exchange(app, [HEAD], keep_open=True, body_timeout=0.02)
    assert outcome.sent.startswith(b"HTTP/1.1 408 ") and outcome.ended == "closed"
    with pytest.raises(ConfigError):
        exchange(app, [], no_such_setting=1)


def test_exchange_keeps_the_log_and_the_exception() -> None:
    def broken(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"part"
        raise KeyError("why")

    outcome = exchange(broken, [HEAD + b"hello"])
    (record,) = outcome.log
    assert outcome.ended == "reset"
    assert (record.level, type(record.error)) == ("error", KeyError) and "POST /" in record.message


def test_exchange_with_a_window_sends_in_as_many_turns() -> None:
    outcome = exchange(app, [HEAD + b"hello"], window=10)
    assert outcome.sends == -(-len(outcome.sent) // 10)
