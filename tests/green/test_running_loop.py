"""green/running_loop.pyx in patched processes of their own: six green threads, each with a loop of its own."""

import subprocess
import sys

import pytest

# `side_by_side(function)` calls it with 0 to 5 in six green threads; `await together()` returns when six are in it.
PROGRAM = """
import greenhttp.patch

import asyncio
import contextvars
import gc
import os
import sys
import threading
import time

import gevent
from greenlet import getcurrent, gettrace, greenlet, settrace

inside = 0

async def together():
    global inside
    inside += 1
    until = time.monotonic() + 20  # only where they do not run side by side it takes as long
    while inside < 6:
        assert time.monotonic() < until, f"only {inside} are here"
        await asyncio.sleep(0.001)

def side_by_side(function):
    jobs = [gevent.spawn(function, number) for number in range(6)]
    gevent.joinall(jobs, raise_error=True)
    return [job.value for job in jobs]

def nothing_left():
    gc.collect()
    return (
        gettrace() is None and asyncio._get_running_loop() is None and tuple(sys.get_asyncgen_hooks()) == (None, None)
        and sys.get_coroutine_origin_tracking_depth() == 0
    )
"""

RUN = """
async def main(number):
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    await together()
    assert asyncio.get_running_loop() is loop is asyncio.get_event_loop() is asyncio.Future().get_loop()
    assert asyncio.current_task() is task and asyncio.all_tasks() == {task}
    return number

assert side_by_side(lambda number: asyncio.run(main(number), debug=number % 2 == 0)) == [0, 1, 2, 3, 4, 5]
"""

RUNNER = """
async def main(number):
    await together()
    return number

def run(number):
    with asyncio.Runner() as runner:
        return runner.run(main(number)) + runner.run(main(number))

if hasattr(asyncio, "Runner"):
    assert side_by_side(run) == [0, 2, 4, 6, 8, 10]
"""

LOOP_OF_ITS_OWN = """
def run(number):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(together())
        return asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()

assert side_by_side(run) == [True] * 6
"""

BLOCKING = """
async def main():
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    await together()
    for _ in range(5):
        time.sleep(0.001)  # lets other green threads run in the middle of a coroutine
        assert asyncio.get_running_loop() is loop and asyncio.current_task() is task
        await asyncio.sleep(0)

side_by_side(lambda number: asyncio.run(main()))
"""

ELSEWHERE = """
seen = []
async def main():
    await together()
    await asyncio.gather(*[asyncio.to_thread(look) for _ in range(2)])

def look():
    time.sleep(0.001)
    seen.append(asyncio._get_running_loop())

side_by_side(lambda number: asyncio.run(main()))
assert seen == [None] * 12
"""

GENERATORS = """
# Each loop closes its own generators that were not run to their end, and no other one's.
loops, closed, kept = {}, [], []

async def numbers(number):
    try:
        while True:
            yield 1
    finally:
        await asyncio.sleep(0)
        closed.append((number, asyncio.get_running_loop() is loops[number]))

async def main(number):
    loops[number] = asyncio.get_running_loop()
    await together()
    kept.append(numbers(number))
    await kept[-1].__anext__()
    for _ in range(6 - number):
        await asyncio.sleep(0.001)

side_by_side(lambda number: asyncio.run(main(number)))
assert sorted(closed) == [(number, True) for number in range(6)], closed
"""

INTERRUPTED = """
# As a time-out of the request does it: what the coroutine waits for is cancelled, and the loop ends.
asleep, cancelled = [], []
async def main():
    await together()
    asleep.append(True)
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        cancelled.append(asyncio.get_running_loop())
        raise

def run():
    try:
        asyncio.run(main())
    except gevent.Timeout:
        return True

jobs = [gevent.spawn(run) for _ in range(6)]
while len(asleep) < 6:
    gevent.sleep(0.001)
for job in jobs:
    job.kill(gevent.Timeout(1))
assert [job.value for job in jobs] == [True] * 6 and len(set(cancelled)) == 6
"""

FORGOTTEN = """
# A plain greenlet that waits in a loop for ever, and that nobody refers to any more, ends.
ended = []
async def main():
    try:
        parent.switch()
    finally:
        ended.append(asyncio.get_running_loop() is not None)

parent = getcurrent()
lost = greenlet(lambda: asyncio.run(main()), gevent.get_hub())
lost.switch()
assert gettrace() is not None and asyncio._get_running_loop() is None
del lost
while gettrace() is not None:  # it is cancelled, for which it waits in its loop
    gevent.sleep(0.001)
    gc.collect()
assert ended == [True]
"""

NEVER_IDLE = """
async def main():
    while not stop:
        await asyncio.sleep(0)

def other():
    for _ in range(50):
        time.sleep(0.0001)
    stop.append(True)

stop = []
gevent.spawn(other)
side_by_side(lambda number: asyncio.run(main()))
"""

TRACED_BEFORE = """
# Whose trace function was there first is called all the while, and has its place again in the end.
calls = []
def trace(event, between):
    calls.append(event)

settrace(trace)
side_by_side(lambda number: asyncio.run(together()))
assert gettrace() is trace and "switch" in calls
settrace(None)
"""

TRACED_MEANWHILE = """
# Somebody's trace function calls the one that it replaces, and puts that back when it is no longer needed.
async def main(number):
    if number == 3:
        former = settrace(trace)
        formers.append(former)
    await together()

def trace(event, between):
    if formers[-1] is not None:
        formers[-1](event, between)

formers = []
side_by_side(lambda number: asyncio.run(main(number)))
assert gettrace() is trace and len(formers) == 1
for _ in range(3):
    inside = 0
    side_by_side(lambda number: asyncio.run(main(0)))
settrace(formers[0])
inside = 0
side_by_side(lambda number: asyncio.run(main(0)))
settrace(None)
"""

REAL_THREADS = """
from greenhttp import offload
async def main():
    await asyncio.sleep(0.001)
    return asyncio.get_running_loop()

async def both(number):
    await together()
    return len({asyncio.get_running_loop(), *[offload(asyncio.run, main()) for _ in range(3)]})

assert side_by_side(lambda number: asyncio.run(both(number))) == [4] * 6
"""

FORKED = """
async def main(number):
    await together()
    pid = os.fork() if number == 3 else 0
    if number == 3 and pid == 0:
        try:
            asyncio.run(asyncio.sleep(0.001))
            os._exit(7)
        finally:
            os._exit(1)
    await asyncio.sleep(0.001)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if pid else asyncio.get_running_loop() is not None

assert side_by_side(lambda number: asyncio.run(main(number))) == [True, True, True, 7, True, True]
"""

CHILDREN = """
# A pidfd is asked for too late: gevent has waited for the child by then.
plain = getattr(os, "pidfd_open", None)
def pidfd_open(pid, flags=0):
    if pid != os.getpid():
        raise ProcessLookupError(3, "No such process")
    return plain(pid, flags)

if plain is not None:
    os.pidfd_open = pidfd_open

async def main(number):
    await together()
    quick = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", f"raise SystemExit({number})")
    slow = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    turns.append(0)
    while len(turns) < 6:  # all have a child that goes on until it is told more: nobody may wait for it by itself
        await asyncio.sleep(0.001)
    said, _ = await slow.communicate(b"said")
    return await quick.wait(), said, slow.returncode

turns = []
assert side_by_side(lambda number: asyncio.run(main(number))) == [(number, b"said", 0) for number in range(6)]
"""

PROGRAMS = {
    "run": RUN, "runner": RUNNER, "loop_of_its_own": LOOP_OF_ITS_OWN, "blocking": BLOCKING, "elsewhere": ELSEWHERE,
    "generators": GENERATORS, "interrupted": INTERRUPTED, "forgotten": FORGOTTEN, "never_idle": NEVER_IDLE,
    "traced_before": TRACED_BEFORE, "traced_meanwhile": TRACED_MEANWHILE, "real_threads": REAL_THREADS,
    "forked": FORKED, "children": CHILDREN,
}  # fmt: skip


def done(code, *options):
    quiet = "ignore:This process:DeprecationWarning", "ignore:libuv only supports:UserWarning"  # the latter is gevent's
    program = [sys.executable, "-W", "error", *(word for each in quiet for word in ("-W", each)), *options, "-c", code]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.parametrize("name", PROGRAMS)
def test_loops_run_side_by_side_and_leave_nothing_behind(name):
    ended = done(f"{PROGRAM}{PROGRAMS[name]}assert nothing_left()\n")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_asyncio_is_not_imported_for_it_and_may_be_imported_before():
    """A green thread has what `set_event_loop` has set, also if asyncio has made its place for it before the patch."""
    assert done("import sys, greenhttp.patch\nassert 'asyncio' not in sys.modules").returncode == 0
    early = "import asyncio\nmine = asyncio.new_event_loop()\nasyncio.set_event_loop(mine)\nmine.close()\n"
    for code in (RUN, LOOP_OF_ITS_OWN):
        ended = done(f"{early}{PROGRAM}{code}assert nothing_left()\n")
        assert (ended.returncode, ended.stderr) == (0, "")


def test_a_process_that_gevent_has_patched_gets_it_with_its_server():
    server = (
        "from gevent import monkey\nmonkey.patch_all()\nimport asyncio\nfrom greenhttp import Server\n"
        "server = Server(lambda request: '', bind='127.0.0.1:0')\nserver.start()\nserver.stop()\n"
    )
    ended = done(server + PROGRAM.replace("import greenhttp.patch\n", "") + RUN)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_process_that_is_not_patched_is_left_alone():
    server = (
        "import asyncio\nplain = asyncio.events._set_running_loop\nfrom greenhttp import Server\n"
        "server = Server(lambda request: '', bind='127.0.0.1:0')\nserver.start()\nserver.stop()\n"
        "assert asyncio.events._set_running_loop is plain\n"
    )
    assert done(server).returncode == 0


UVLOOP = """
import asyncio

class Loop(asyncio.SelectorEventLoop):
    pass

Loop.__module__ = "uvloop"
"""
REFUSED = """
from greenhttp import offload
import uvloop

def run(make):
    loop = make()
    try:
        return loop.run_until_complete(asyncio.sleep(0, "ran"))
    finally:
        loop.close()

def refused(make):
    try:
        return run(make)
    except RuntimeError as error:
        return str(error)

made = uvloop.Loop()
for make in (uvloop.Loop, lambda: made):  # when it is made, or when it is to run
    print(gevent.spawn(refused, make).get())
assert run(uvloop.Loop) == gevent.spawn(offload, run, uvloop.Loop).get() == "ran"
"""


def test_uvloop_is_refused_in_green_threads_and_runs_elsewhere(tmp_path):
    """A stand-in for it: a class of loops by that name."""
    (tmp_path / "uvloop.py").write_text(UVLOOP)
    quiet = "import warnings\nwarnings.simplefilter('ignore', RuntimeWarning)\n"  # of the coroutine that never ran
    ended = done(f"{PROGRAM}{quiet}sys.path.insert(0, {str(tmp_path)!r})\n{REFUSED}assert nothing_left()\n")
    assert (ended.returncode, ended.stderr) == (0, "")
    first, second = ended.stdout.splitlines()
    assert first == second
    assert first.startswith("uvloop waits in C, ") and "greenhttp.offload(asyncio.run, ...)" in first
