"""What the ground under the hot path costs: a greenlet switch, the loop's clock, a clean context."""

import contextvars
import time

import gevent
from greenlet import getcurrent, greenlet

from perf.micro import best_of


def _empty(times: int) -> None:
    for _ in range(times):
        pass


def switch(times: int) -> None:
    """To another green thread and back."""
    main = getcurrent()

    def other():
        while True:
            main.switch()

    there = greenlet(other).switch
    for _ in range(times):
        there()


def _through_hub(times: int) -> None:
    """Suspend and be resumed by the hub's callback list, as gevent.sleep(0) does."""
    sleep = gevent.sleep
    for _ in range(times):
        sleep(0)


def _spawn(times: int) -> None:
    """A greenlet that lives for one function: what a pool of them saves."""
    main, nothing = getcurrent(), (lambda: None)
    for _ in range(times):
        greenlet(nothing, main).switch()


def _call(function):
    def loop(times: int) -> None:
        call = function
        for _ in range(times):
            call()

    return loop


def run() -> list[tuple[str, float]]:
    loop, times = gevent.get_hub().loop, 200_000
    nothing = lambda: None  # noqa: E731
    kept = contextvars.Context()
    measured = [
        ("greenlet switch, there and back", best_of(switch, times)),
        ("greenlet made, run once, dropped", best_of(_spawn, times // 4)),
        ("gevent.sleep(0): hub and back", best_of(_through_hub, times // 4)),
        ("loop.now()", best_of(_call(loop.now), times)),
        ("time.time()", best_of(_call(time.time), times)),
        ("time.monotonic()", best_of(_call(time.monotonic), times)),
        ("contextvars.Context()", best_of(_call(contextvars.Context), times)),
        ("Context().run(nothing)", best_of(_call(lambda: contextvars.Context().run(nothing)), times)),
        ("context.run(nothing), context kept", best_of(_call(lambda: kept.run(nothing)), times)),
        ("copy_context().run(nothing)", best_of(_call(lambda: contextvars.copy_context().run(nothing)), times)),
        ("(a Python call of nothing)", best_of(_call(nothing), times)),
    ]
    empty = best_of(_empty, times)
    return [(label, ns - empty) for label, ns in measured]
