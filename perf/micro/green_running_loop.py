"""What asyncio in green threads costs: each switch while a loop runs, and to run one, there and on a real thread."""

import asyncio
import time

import gevent
from gevent.selectors import GeventSelector

from greenhttp import offload
from greenhttp.green import running_loop
from perf.micro import best_of
from perf.micro.hub_switch import switch

TOGETHER = 100


def _run(main):
    """asyncio.run of a patched process, in one that is not."""
    loop = asyncio.SelectorEventLoop(GeventSelector())
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def _while_loops_run(count: int) -> float:
    """ns per switch between two green threads without a loop, while others wait in theirs."""
    ended = []

    async def wait():
        while not ended:
            await asyncio.sleep(0.1)

    others = [gevent.spawn(_run, wait()) for _ in range(count)]
    gevent.sleep(0.01)
    took = best_of(switch, 100_000) / 2
    ended.append(True)
    gevent.joinall(others)
    return took


async def _in_a_loop() -> float:
    return best_of(switch, 100_000) / 2


async def _three_waits() -> None:
    for _ in range(3):
        await asyncio.sleep(0.002)


def _each(call, times: int = 20) -> float:
    """Processor time per loop, in ns."""

    def repeat():
        for _ in range(times):
            call(_three_waits())

    began = time.process_time_ns()
    gevent.joinall([gevent.spawn(repeat) for _ in range(TOGETHER)])
    return (time.process_time_ns() - began) / (TOGETHER * times)


def run() -> list[tuple[str, float]]:
    running_loop.install()
    return [
        ("a switch, no loop runs", best_of(switch, 100_000) / 2),
        ("a switch, one loop waits elsewhere", _while_loops_run(1)),
        ("a switch, 100 loops wait elsewhere", _while_loops_run(100)),
        ("a switch out of a green thread with a loop or into one", _run(_in_a_loop())),
        (f"a loop of three waits, {TOGETHER} at once", min(_each(_run) for _ in range(3))),
        ("the same by offload", min(_each(lambda main: offload(_run, main)) for _ in range(3))),
    ]
