"""A read of content that something else interrupts: nothing of it may be lost, and no end may be invented."""

from __future__ import annotations

import copy
import random
from typing import Any

import gevent
import pytest

from greenhttp.testing import exchange

SIZE = 100_000
DATA = random.Random(1).randbytes(SIZE)
LENGTH = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % SIZE + DATA
CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"3e8\r\n" + DATA[at : at + 1000] + b"\r\n" for at in range(0, SIZE, 1000))
    + b"0\r\n\r\n"
)


class Interrupt(BaseException):
    pass


@pytest.mark.parametrize("request_bytes", [LENGTH, CHUNKED], ids=["length", "chunked"])
def test_an_interrupted_read_loses_no_content(request_bytes: bytes) -> None:
    interrupted = []

    def handler(request: Any) -> str:
        loop, running = gevent.get_hub().loop, gevent.getcurrent()
        got, piece = b"", b"?"
        loop.run_callback(running.throw, Interrupt)
        while piece:
            try:
                piece = request.body.read_some(1000)
                got += piece
            except Interrupt:  # wherever the read has waited, be it only to let others have their turn
                interrupted.append(len(got))
                if len(interrupted) < 20:
                    loop.run_callback(running.throw, Interrupt)
        return "whole" if got == DATA else f"{len(got)} of {SIZE}"

    # All of it is there at once: the only waits are those in which the others have their turn.
    assert exchange(handler, [request_bytes]).sent.endswith(b"\r\n\r\nwhole")
    assert interrupted and interrupted[-1] > SIZE // 2


def test_a_body_cannot_be_copied() -> None:
    def handler(request: Any) -> str:
        for thing in (request.body, request, request.headers):
            with pytest.raises(TypeError):
                copy.copy(thing)
        return "no"

    assert exchange(handler, [LENGTH]).sent.endswith(b"no")


def test_nobody_can_make_a_request_that_has_nothing_in_it() -> None:
    from greenhttp import Request

    with pytest.raises(TypeError):
        type("Fake", (Request,), {})
