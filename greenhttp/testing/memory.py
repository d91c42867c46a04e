"""One connection of the server in memory, as bytes; and all the ways in which bytes may arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from greenhttp.http.service import Service
    from greenhttp.settings.typed import ServerSettings


def every_split(data: bytes) -> Iterator[list[bytes]]:
    """All the ways to cut `data` that find what depends on how bytes arrive.

    Yields lists of non-empty pieces which join to `data`: it whole; byte by byte; and in two parts, cut at every
    position. A parser is right when all of them lead to the same end:

        for pieces in every_split(request):
            assert parse(pieces) == expected

    That is len(data) + 1 lists for two or more bytes. For no bytes it is the one empty list.
    """
    if not data:
        yield []
        return
    yield [data]
    if len(data) == 1:
        return
    yield [data[i : i + 1] for i in range(len(data))]
    for cut in range(1, len(data)):
        yield [data[:cut], data[cut:]]


class Record(NamedTuple):
    """One line for the log.

    Attributes:
        level: "info", "warning" or "error".
        message: the line.
        error: the exception that goes with it, or None.
    """

    level: str
    message: str
    error: BaseException | None


@dataclass
class Outcome:
    """What a connection came to.

    Attributes:
        sent: every byte the server sent.
        ended: "closed" (the peer sees the end of a stream), "reset" (it sees an abort) or "open" (the server waits for
            the next request, or for the rest of one).
        log: what was reported, in order.
        sends: how often something was sent; over a socket these would have been system calls.
    """

    sent: bytes = b""
    ended: str = "open"
    log: list[Record] = field(default_factory=list)
    sends: int = 0


def exchange(
    app: Callable[..., Any],
    pieces: Iterable[bytes],
    *,
    keep_open: bool = False,
    window: int | None = None,
    **settings: Unpack[ServerSettings],
) -> Outcome:
    """Run one connection of the server in memory, until it is closed or has nothing more to do.

        outcome = exchange(app, [b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"])
        assert outcome.sent.startswith(b"HTTP/1.1 200 ")

    All is real but the socket: parser, green threads, limits, time-outs. Blocks the calling green thread alone. A peer
    in memory has no address, not even where a PROXY header names one.

    Arguments:
        app: a WSGI application, or a native handler.
        pieces: what the client sends. Each piece arrives by itself, in a later turn of the loop than the one before.
        keep_open: after the last piece the client is silent; by default it has finished sending.
        window: bytes the client takes per turn of the loop; None: as many as there are.
        settings: by name, as for `Server`. A connection that waits for a time-out waits for it here too.
    """
    # Here, so that `every_split` can be had without an event loop.
    import gevent

    from greenhttp.green.arrival import Arrival
    from greenhttp.green.transport import MemoryStream
    from greenhttp.http.connection import State, arrive_memory, expect_prefaces

    outcome = Outcome()
    with service_of(app, outcome.log, settings) as service:
        expect_prefaces(service)
        stream = MemoryStream(pieces, keep_open=keep_open, window=window)
        first = arrive_memory(service, stream)

        def connection() -> Any:
            return first.heir or first if isinstance(first, Arrival) else first

        def state() -> State:
            now = connection()
            if isinstance(now, Arrival):
                return State.CLOSED if now.over else State.HEAD
            return cast(State, now.state)

        def settled() -> bool:
            if not stream.exhausted or state() not in (State.HEAD, State.LINGER):
                return False
            now = service.statistics()
            return not (now["pool_ready"] or now["running"] or now["pool_waiting"])

        try:
            while state() != State.CLOSED and not settled():
                gevent.idle()
            if state() == State.CLOSED or stream.hung_up:
                outcome.ended = "reset" if stream.reset else "closed"
            outcome.sent = bytes(stream.outgoing)
            outcome.sends = stream.gives
        finally:
            if state() != State.CLOSED:
                connection().cut()
    return outcome


@contextmanager
def service_of(app: Callable[..., Any], log: list[Record], settings: ServerSettings) -> Iterator[Service]:
    """What all connections of a server share, for connections that no Server has; it reports into `log`."""
    import gevent

    from greenhttp.green.deadline import Sweep
    from greenhttp.hosting.interface import hosted
    from greenhttp.http.service import Service
    from greenhttp.settings.values import Settings

    def report(level: str, message: str, error: BaseException | None = None) -> None:
        log.append(Record(level, message, error))

    values = Settings(**settings).resolved(1024)
    service = Service(values, values.connections, report)
    service.attach(hosted(app, values))
    service.pool.start()
    sweep = Sweep(service.pool.loop, service.phases)
    sweep.start()
    try:
        yield service
    finally:
        sweep.stop()
        service.pool.stop()
        gevent.idle()  # the pool lets its green threads go in the next turn
