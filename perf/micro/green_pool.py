"""What a job costs: submitted, taken by a green thread that is there, done."""

import contextvars

import gevent
import gevent.event

from greenhttp.green.pool import Pool, PythonJob
from perf.micro import best_of


class Last(PythonJob):
    def __init__(self, wake):
        self.work = wake


def _jobs(pool: Pool, each: type, together: int):
    jobs = [each() for _ in range(together)]

    def loop(times: int) -> None:
        for _ in range(times // together):
            done = gevent.event.Event()
            for job in jobs:
                job.submit(pool)
            Last(done.set).submit(pool)
            done.wait()

    return loop


class Blocking(PythonJob):
    def work(self):
        gevent.sleep(0)


VARIABLE = contextvars.ContextVar("VARIABLE")


class Setting(PythonJob):
    def work(self):
        VARIABLE.set(self)


def run() -> list[tuple[str, float]]:
    pool, keeping = Pool(1000), Pool(1000, keep_context=True)
    pool.start()
    keeping.start()
    try:
        return [
            ("one job of 500 in a turn", best_of(_jobs(pool, PythonJob, 500), 20_000)),
            ("a turn with one job", best_of(_jobs(pool, PythonJob, 1), 5_000)),
            ("one job of 500 in a turn, each of which suspends", best_of(_jobs(pool, Blocking, 500), 10_000)),
            ("... sets a context variable, then a fresh context", best_of(_jobs(pool, Setting, 500), 20_000)),
            ("... sets a context variable in the context kept", best_of(_jobs(keeping, Setting, 500), 20_000)),
        ]
    finally:
        pool.stop()
        keeping.stop()
