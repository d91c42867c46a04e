"""What an event of an EventStream costs, next to a piece of bytes, and a heartbeat of one that waits."""

from time import perf_counter_ns

import gevent
from gevent.event import Event as Flag

from greenhttp import EventStream, Response
from greenhttp.green.deadline import Sweep
from greenhttp.green.transport import MemoryStream
from greenhttp.http.connection import connect_memory
from greenhttp.testing import service_of
from perf.micro import best_of
from perf.tools.served import requests

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
MANY = 100


def pieces(request):
    return Response(b"data: %d\n\n" % n for n in range(MANY))


def events(request):
    return EventStream(f"{n}" for n in range(MANY))


def run() -> list[tuple[str, float]]:
    measured = []
    for label, app in ((f"{MANY} pieces of bytes", pieces), (f"{MANY} events", events)):
        with requests(app, GET) as operation:
            measured.append((label, best_of(operation, 100)))
    return [*measured, ("a heartbeat of one that waits", heartbeat())]


def heartbeat() -> float:
    """ns for each of 100 that are due together."""
    over = Flag()

    def waiting(last_event_id):
        over.wait()
        yield from ()

    with service_of(lambda request: EventStream(waiting, heartbeat=0.001), [], {"connections": MANY}) as service:
        for _ in range(MANY):
            connect_memory(service, MemoryStream([GET], keep_open=True))
        while service.event_streams is None or len(service.event_streams) < MANY:
            gevent.idle()
        phase, own = service.event_streams.paces[0.001]
        own.stop()
        sweep = Sweep(service.pool.loop, (phase,))
        took: list[int] = []

        def beat() -> None:
            began = perf_counter_ns()
            sweep.sweep()
            took.append(perf_counter_ns() - began)

        for _ in range(100):
            gevent.sleep(0.01)  # all are due again, also by the server's clock, which ticks every 4 ms
            service.pool.loop.run_callback(beat)
            gevent.idle()
        service.close_idle()
        over.set()
        while len(service.event_streams):
            gevent.idle()
    return min(took) / MANY
