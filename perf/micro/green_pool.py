"""What a job costs: submitted, taken by a green thread that is there, done."""

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


def run() -> list[tuple[str, float]]:
    pool = Pool(1000)
    pool.start()
    try:
        return [
            ("one job of 500 in a turn", best_of(_jobs(pool, PythonJob, 500), 20_000)),
            ("a turn with one job", best_of(_jobs(pool, PythonJob, 1), 5_000)),
            ("one job of 500 in a turn, each of which suspends", best_of(_jobs(pool, Blocking, 500), 10_000)),
        ]
    finally:
        pool.stop()
