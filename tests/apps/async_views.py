"""What `async def` views do, the same in Flask and in Django: each waits until all have come, then does its part.

A view that runs alone never sees the others, and says so in the end instead of waiting for ever.
"""

import asyncio
import os
import sqlite3
import sys
import time

import httpx
import psycopg
from asgiref.sync import async_to_sync, sync_to_async

TOGETHER = 6
PATIENCE = 20  # seconds for all to have come; only where they do not run side by side it takes as long
inside = 0
here = ""  # the URL of the process, which the views say


async def all_are_here():
    """Until TOGETHER have come, each from a loop of its own: nothing of asyncio's may be shared by them."""
    global inside
    inside += 1
    all_of_them = -(-inside // TOGETHER) * TOGETHER
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    until = time.monotonic() + PATIENCE
    while inside < all_of_them:
        assert time.monotonic() < until, f"{inside} of {all_of_them} have come"
        await asyncio.sleep(0.001)
    assert asyncio.get_running_loop() is loop and asyncio.current_task() is task


async def sleep():
    return "slept"


async def fetch():
    """From the process that runs this view, which must answer meanwhile."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answers = await asyncio.gather(*[client.get(here) for _ in range(2)])
    return " ".join(answer.text for answer in answers)


async def postgresql():
    async with await psycopg.AsyncConnection.connect(os.environ["SERVICE"]) as connection:
        cursor = await connection.execute("select 40 + 2, pg_sleep(0.01)")
        return str((await cursor.fetchone())[0])


async def sqlite():
    def query():
        with sqlite3.connect(":memory:") as connection:
            return connection.execute("select 40 + 2").fetchone()[0]

    return f"{await sync_to_async(query)()} {await sync_to_async(query, thread_sensitive=False)()}"


async def blocking():
    """What waits through gevent, in the middle of a coroutine."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    for _ in range(3):
        time.sleep(0.001)
        assert asyncio.get_running_loop() is loop and asyncio.current_task() is task
        await asyncio.sleep(0)
    return "waited"


def _without_a_loop():
    time.sleep(0.001)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "free"
    return "in a loop"


async def thread():
    return " ".join(await asyncio.gather(*[asyncio.to_thread(_without_a_loop) for _ in range(2)]))


async def child():
    code = "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.exit(3)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", code, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate(b"said")
    return f"{said.decode()} {process.returncode}"


async def back_and_forth():
    """Out of a coroutine into code that waits, and from there into a coroutine."""

    async def inner():
        await asyncio.sleep(0.001)
        return "inner"

    return await sync_to_async(async_to_sync(inner))()


async def both(part):
    await all_are_here()
    return await part()


def run(part):
    """In a view without `async`."""
    return asyncio.run(both(part))


def runner(part):
    """The same twice, in one loop."""
    with asyncio.Runner() as runner:
        return f"{runner.run(both(part))} {runner.run(part())}"


PARTS = {
    part.__name__: part for part in (sleep, fetch, postgresql, sqlite, blocking, thread, child, back_and_forth)
}
WAYS = {"run": run} | ({"runner": runner} if hasattr(asyncio, "Runner") else {})  # since Python 3.11
