"""What a sleep costs beyond the time slept, of a thousand green threads at once: ours and gevent's."""

import time

import gevent

from greenhttp.green.nap import sleep

ONE_TURN = 0.001  # so that whoever sleeps is always due when the loop comes round
TOGETHER = 1000


def _each(function, times: int) -> float:
    """Processor time per sleep, in ns: the clock on the wall would count the waiting."""

    def repeat():
        for _ in range(times):
            function(ONE_TURN)

    began = time.process_time_ns()
    gevent.joinall([gevent.spawn(repeat) for _ in range(TOGETHER)])
    return (time.process_time_ns() - began) / (TOGETHER * times)


def run() -> list[tuple[str, float]]:
    return [
        (f"time.sleep, patched, {TOGETHER:,} at once", min(_each(sleep, 20) for _ in range(7))),
        (f"gevent.sleep, {TOGETHER:,} at once", min(_each(gevent.sleep, 20) for _ in range(7))),
    ]
