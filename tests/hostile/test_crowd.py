"""Ten thousand attackers at once on a server process, and honest clients whose every answer is compared meanwhile.

Outcomes and counts; how long honest clients wait is measured by `python -m perf reach heads` and `trickle`.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from tests.hostile.crowd import ASK_EVERY, SIZE, Crowd, enough_descriptors
from tests.hostile.process import PATIENCE, Process, needs_proc
from tests.hostile.test_bounds import MIB

pytestmark = needs_proc

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nA: "
HALF = HEAD + b"x" * (63 << 10)
BUFFERS = 64 * MIB
# Beside the unread input: 10,000 connections, of which libuv's watchers are the larger part (20 MB), the buffers in use
# and in stock, and what the allocator cannot give back. Without the limit it were 650 MB.
MARGIN = 32 * MIB


def test_ten_thousand_half_heads_stay_within_limit_buffers(tmp_path: Any) -> None:
    enough_descriptors()
    settings = {"limit_buffers": BUFFERS, "header_timeout": 0, "keepalive_timeout": 0, "linger_timeout": 3600}
    with Process(tmp_path / "log", log_level="warning", **settings) as process, Crowd(process.address[1]) as crowd:
        small = [process.connect().send(b"GET /small HTTP/1.1\r\nHost: a\r\n") for _ in range(50)]
        before = process.resident()
        for one in [crowd.connect() for _ in range(SIZE)]:
            crowd.send(one, HALF)
        process.until(lambda: crowd.look() or len(crowd.open) * len(HALF) <= BUFFERS)
        assert set(crowd.ends.values()) <= {"431", "closed"}
        assert crowd.honest.answers == SIZE // ASK_EVERY * 5
        assert process.peak() - before < BUFFERS + MARGIN
        assert "refused with 431: the unread input of all connections is larger than 64 MiB" in process.log()
        assert [client.ask(b"\r\n").content for client in small] == [b"/small"] * len(small)
        # And no more were refused than had to be: the heads that are left are most of the limit, and are kept.
        assert len(crowd.open) * len(HALF) > BUFFERS // 2
        kept = list(crowd.open.items())[:50]
        for _, one in kept:
            crowd.send(one, b"\r\n\r\n")
        process.until(lambda: crowd.look() or all(descriptor in crowd.ends for descriptor, _ in kept))
        assert {crowd.ends[descriptor] for descriptor, _ in kept} == {"200"}


def test_ten_thousand_tricklers_all_end_and_leave_nothing(tmp_path: Any) -> None:
    enough_descriptors()
    settings = {"header_timeout": 5, "linger_timeout": 3600}  # who was refused may stay, if not too many do
    with Process(tmp_path / "log", log_level="warning", **settings) as process:
        before = process.descriptors()
        with Crowd(process.address[1]) as crowd:
            for _ in range(SIZE):
                crowd.send(crowd.connect(), HEAD[:1])
            sent, end = 1, time.monotonic() + PATIENCE
            while crowd.open:
                assert time.monotonic() < end, f"{len(crowd.open)} did not end"
                if sent < 60_000:  # the last few take their bytes so fast that limit_request_head might be first
                    for one in list(crowd.open.values()):
                        crowd.send(one, HEAD[sent : sent + 1] or b"x")
                crowd.look(0.01 if sent > 1000 else 0)
                sent += 1
            assert crowd.honest.answers >= SIZE // ASK_EVERY * 5
            # "closed": of which the server had not even the first byte when the time was up.
            assert Counter(crowd.ends.values()).keys() <= {"408", "closed"}
            assert list(crowd.ends.values()).count("408") > SIZE // 2
        process.until(lambda: process.descriptors() <= before)
