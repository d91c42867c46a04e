"""What a deadline costs: entering a phase, leaving it, and a look at ten thousand that have time."""

import gevent

from greenhttp.green.deadline import Phase, PythonTimed, Sweep
from perf.micro import best_of


def _move(times: int) -> None:
    timed, phases = PythonTimed(), (Phase("one", 60), Phase("two", 60))
    move = timed.move_to
    for _ in range(times // 2):
        move(phases[0])
        move(phases[1])
    timed.move_out()


def _sweep(sweep: Sweep):
    def loop(times: int) -> None:
        look = sweep.sweep
        for _ in range(times):
            look()

    return loop


def run() -> list[tuple[str, float]]:
    idle, rated = Phase("idle", 60), Phase("rated", 60, rate=1.0)
    waiting = [PythonTimed() for _ in range(10_000)]
    for timed in waiting:
        timed.move_to(idle)
    sweep = Sweep(gevent.get_hub().loop, [idle, rated, *(Phase(str(i), 60) for i in range(9))])
    try:
        return [
            ("from phase to phase", best_of(_move, 200_000)),
            ("a sweep of 11 phases, 10,000 waiting", best_of(_sweep(sweep), 20_000)),
        ]
    finally:
        sweep.stop()
        for timed in waiting:
            timed.move_out()
