"""green/pool.py: jobs and the green threads that do them."""

import contextvars
import gc
import subprocess
import sys
import weakref

import gevent
import pytest
from gevent.event import Event
from greenlet import greenlet

from greenhttp.green.deadline import Phase, Sweep
from greenhttp.green.pool import Pool, PythonJob
from tests.green.green import Background, turn, turns, until


class Job(PythonJob):
    """Calls a function, in a green thread; counts what happens to it."""

    def __init__(self, function=None, *arguments, again=0):
        self.function, self.arguments = function, arguments
        self.done = self.refused = 0

    def work(self):
        if self.function is not None:
            self.function(*self.arguments)
        self.done += 1

    def turned_away(self):
        self.refused += 1


@pytest.fixture
def make():
    pools = []

    def make(*arguments, **keywords):
        pool = Pool(*arguments, **keywords)
        pool.start()
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.stop()
    turns()


@pytest.fixture
def complaints(monkeypatch):
    """What goes to sys.excepthook."""
    seen = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, traceback: seen.append(value))
    return seen


def do(pool, function=None, *arguments):
    """Do it as a job, to its end."""
    job = Job(function, *arguments)
    job.submit(pool)
    until(lambda: job.done or job.refused)
    return job


def current(pool):
    """The green thread that the pool uses next, referred to by nobody here."""
    seen = []
    do(pool, lambda: seen.append(id(gevent.getcurrent())))
    return seen[0]


def in_hub(function, *arguments):
    done = Event()
    gevent.get_hub().loop.run_callback(lambda: (function(*arguments), done.set()))
    done.wait()


def test_a_job_is_done_in_a_green_thread_of_the_pool(make):
    pool, seen = make(4), []
    job = Job(lambda: seen.append((type(gevent.getcurrent()).__name__, job.worker.job is job)))
    job.submit(pool)
    assert (job.done, pool.statistics()["pool_ready"]) == (0, 1)
    turn()
    assert seen == [("Worker", True)]
    assert job.worker is None
    figures = {"pool_size": 1, "pool_idle": 1, "pool_running": 0, "pool_started": 1, "pool_ready": 0, "pool_waiting": 0}
    assert pool.statistics() == figures


def test_a_job_may_block_and_others_go_on(make):
    pool, gate, order = make(4), Event(), []
    jobs = [Job(lambda i=i: (order.append(i), gate.wait(), order.append(-i))) for i in (1, 2, 3)]
    for job in jobs:
        job.submit(pool)
    turn()
    assert order == [1, 2, 3]
    assert pool.running == 3
    gate.set()
    until(lambda: all(job.done for job in jobs))
    assert order[3:] == [-1, -2, -3]
    assert pool.running == 0


def test_a_job_that_needs_no_green_thread_gets_none(make):
    pool = make(1)

    class Short(Job):
        def wanted(self):
            self.done += 1
            return False

    jobs = [Short() for _ in range(10)]
    gate = Event()
    blocking = Job(gate.wait)
    for job in jobs[:5]:
        job.submit(pool)
    turn()
    blocking.submit(pool)
    for job in jobs[5:]:
        job.submit(pool)  # no green thread is free: the hub itself goes on with them
    turn()
    assert [job.done for job in jobs] == [1] * 10
    assert not blocking.done
    gate.set()
    until(lambda: blocking.done)
    assert pool.started == 1


def test_never_more_green_threads_than_the_limit(make):
    pool, gate = make(3, 100), Event()
    most = 0

    def work():
        nonlocal most
        most = max(most, pool.running)
        gate.wait()

    jobs = [Job(work) for _ in range(50)]
    for job in jobs:
        job.submit(pool)
    turns()
    assert (pool.running, pool.size, pool.statistics()["pool_waiting"]) == (3, 3, 47)
    gate.set()
    until(lambda: all(job.done for job in jobs))
    assert (most, pool.started, pool.patience.count) == (3, 3, 0)


def test_who_waits_first_is_served_first(make):
    pool, gate, order = make(1, 100), Event(), []
    do_first = Job(gate.wait)
    do_first.submit(pool)
    turn()
    jobs = [Job(order.append, i) for i in range(20)]
    for job in jobs[:10]:
        job.submit(pool)
    turn()
    for job in jobs[10:]:
        job.submit(pool)  # in the same turn as the green thread becomes free: still behind those that waited
    gate.set()
    until(lambda: len(order) == 20)
    assert order == list(range(20))


def test_beyond_the_queue_jobs_are_refused(make):
    pool, gate = make(2, 3), Event()
    jobs = [Job(gate.wait) for _ in range(10)]
    for job in jobs:
        job.submit(pool)
    turn()
    assert [job.refused for job in jobs] == [0] * 5 + [1] * 5
    gate.set()
    until(lambda: sum(job.done for job in jobs) == 5)
    assert do(pool).done  # there is room again


def test_the_queue_is_as_long_as_the_pool_unless_told_otherwise(make):
    pool, gate = make(2), Event()
    jobs = [Job(gate.wait) for _ in range(6)]
    for job in jobs:
        job.submit(pool)
    turn()
    assert sum(job.refused for job in jobs) == 2
    gate.set()
    turns()
    none = make(1, 0)
    assert none.queue_limit == 0
    with pytest.raises(ValueError, match="at least one"):
        Pool(0)


def test_patience_ends(make):
    patience = Phase("queue", 1e-9)
    pool, gate = make(1, 5, patience), Event()
    sweep = Sweep(gevent.get_hub().loop, [patience])
    first, second, third = Job(gate.wait), Job(), Job()
    first.submit(pool)
    second.submit(pool)
    turn()
    assert pool.patience.members() == [second]
    until(lambda: sweep.sweep() or second.refused)
    assert (second.done, patience.count) == (0, 0)
    third.submit(pool)
    turn()
    gate.set()
    until(lambda: third.done)
    assert (second.done, third.refused) == (0, 0)
    sweep.stop()


def test_green_threads_are_used_again(make):
    pool = make(100)
    assert len({current(pool) for _ in range(50)}) == 1
    assert pool.started == 1


def test_a_job_submitted_twice_is_done_once_and_can_come_back(make):
    pool = make(2)
    job = Job()
    job.submit(pool)
    job.submit(pool)
    turns()
    assert job.done == 1
    job.submit(pool)
    turns()
    assert job.done == 2


def test_again_comes_after_what_became_ready_meanwhile(make):
    pool, order = make(1), []

    def first():
        order.append("first")
        if len(order) == 1:
            job.again(pool)
            job.again(pool)
            for other in others:
                other.submit(pool)

    job = Job(first)
    others = [Job(order.append, i) for i in range(3)]
    job.submit(pool)
    turns()
    assert order == ["first", 0, 1, 2, "first"]


def test_again_lets_the_loop_poll(make):
    """A job that always goes on does not keep a descriptor from being noticed."""
    pool = make(1)
    count = 0

    def work():
        nonlocal count
        count += 1
        job.again(pool)

    job = Job(work)
    job.submit(pool)
    before = count
    turns(10)
    assert 5 <= count - before <= 30
    job.function = None
    turns()


# ---- nothing of one job reaches the next


def test_a_timeout_that_was_never_cancelled_stays_behind(make):
    pool = make(1)
    left = []

    def careless():
        left.append(gevent.Timeout.start_new(0.2))

    do(pool, careless)
    started = pool.started
    waited = do(pool, gevent.sleep, 0.4)
    assert waited.done == 1
    assert not left[0].pending
    assert pool.started == started + 1  # another green thread than the one which the timeout will hit


@pytest.mark.parametrize("end", ["throw", "kill", "switch", "kill in the hub"])
def test_what_was_kept_of_a_green_thread_cannot_reach_a_later_job(make, end, complaints):
    pool, kept = make(1), []
    do(pool, lambda: kept.append(gevent.getcurrent()))
    gate = Event()
    later = Job(gate.wait)
    later.submit(pool)
    turn()
    if end == "throw":
        assert kept[0].throw(ZeroDivisionError()) is None
    elif end == "switch":
        assert kept[0].switch() is None
    elif end == "kill":
        kept[0].kill()
    else:
        in_hub(kept[0].kill)
    turns()
    assert later.done == 0
    gate.set()
    until(lambda: later.done)
    assert complaints == []
    assert pool.size == 1
    assert do(pool).done


def test_what_is_thrown_past_the_pool_into_an_idle_green_thread_is_nothing(make, complaints):
    pool, kept = make(1), []
    do(pool, lambda: kept.append(gevent.getcurrent()))
    gevent.get_hub().loop.run_callback(greenlet.throw, kept[0], ValueError())
    turns()
    done = do(pool, lambda: None)
    assert (done.done, complaints) == (1, [])
    assert pool.statistics()["pool_running"] == 0


def test_a_green_thread_kept_while_it_works_is_reached(make, complaints):
    pool = make(1)
    caught = []

    def work():
        try:
            Event().wait()
        except ZeroDivisionError as error:
            caught.append(error)

    job = Job(work)
    job.submit(pool)
    turn()
    job.worker.kill(ZeroDivisionError())
    turns()
    assert len(caught) == job.done == 1
    assert complaints == []


def test_a_kill_that_comes_after_its_job_is_nothing(make, complaints):
    pool, gate, order = make(1), Event(), []
    job = Job(gate.wait)
    job.submit(pool)
    turn()
    following = Job(lambda: (order.append("begun"), turn(), order.append("done")))
    following.submit(pool)
    turn()
    gate.set()
    until(lambda: order or job.done)
    worker = following.worker
    if worker is not None:
        worker._kill(job, ZeroDivisionError)
    del worker
    until(lambda: following.done)
    assert order == ["begun", "done"]
    assert complaints == []


def test_each_job_has_a_context_of_its_own(make):
    pool, seen = make(1), []
    variable = contextvars.ContextVar("variable", default="clean")
    variable.set("outside")

    def work(value):
        seen.append(variable.get())
        variable.set(value)
        turn()
        seen.append(variable.get())

    for value in ("one", "two"):
        do(pool, work, value)
    assert seen == ["clean", "one", "clean", "two"]
    assert variable.get() == "outside"
    assert pool.started == 1


def test_a_pool_may_keep_the_context_of_the_green_thread(make):
    pool, seen = make(1, keep_context=True), []
    variable = contextvars.ContextVar("variable", default="clean")
    variable.set("outside")

    def work(value):
        seen.append(variable.get())
        variable.set(value)

    for value in ("one", "two", "three"):
        do(pool, work, value)
    assert seen == ["clean", "one", "two"]
    assert variable.get() == "outside"


@pytest.mark.parametrize("keep", [False, True])
def test_two_jobs_at_a_time_have_two_contexts(make, keep):
    pool, seen, gate = make(2, keep_context=keep), [], Event()
    variable = contextvars.ContextVar("variable", default="clean")

    def work(value):
        variable.set(value)
        gate.wait()
        seen.append(variable.get())

    for value in ("one", "two"):
        Job(work, value).submit(pool)
    turn()
    gate.set()
    until(lambda: len(seen) == 2)
    assert seen == ["one", "two"]


@pytest.mark.parametrize("error", [ZeroDivisionError, gevent.Timeout, gevent.GreenletExit, SystemExit])
def test_a_job_that_raises_does_not_end_its_green_thread(make, complaints, error):
    pool = make(1)

    def fail():
        raise error()

    job = Job(fail)
    job.submit(pool)
    turns()
    assert [type(complaint) for complaint in complaints] == [error]
    complaints.clear()
    gc.collect()
    assert do(pool).done
    assert pool.size == 1


def test_a_job_that_raises_without_waiting_for_a_green_thread_does_not_stop_the_others(make, complaints):
    class Broken(Job):
        def wanted(self):
            raise ZeroDivisionError

    pool, gate = make(1, 10), Event()
    Job(gate.wait).submit(pool)
    turn()
    Broken().submit(pool)  # in the hub
    after = Job()
    after.submit(pool)
    turn()
    assert pool.patience.members() == [after]
    gate.set()
    until(lambda: after.done)
    Broken().submit(pool)  # in a green thread
    assert do(pool).done
    assert [type(complaint) for complaint in complaints] == [ZeroDivisionError] * 2


def test_a_refusal_that_raises_does_not_stop_the_others(make, complaints):
    class Broken(Job):
        def turned_away(self):
            raise ZeroDivisionError

    pool, gate = make(1, 0), Event()
    Job(gate.wait).submit(pool)
    turn()
    Broken().submit(pool)
    after = Job()
    after.submit(pool)
    turn()
    assert after.refused == 1
    gate.set()
    turns()
    assert [type(complaint) for complaint in complaints] == [ZeroDivisionError]


# ---- size


def test_after_a_burst_the_pool_shrinks_step_by_step_to_sixteen(make):
    pool, gate = make(200), Event()
    jobs = [Job(gate.wait) for _ in range(100)]
    for job in jobs:
        job.submit(pool)
    turn()
    gate.set()
    until(lambda: all(job.done for job in jobs))
    assert pool.size == 100
    in_hub(pool.shrink)
    assert pool.size == 100  # they were needed since the last look
    sizes = []
    while not sizes or sizes[-1] != 16 or len(sizes) < 30:
        in_hub(pool.shrink)
        sizes.append(pool.size)
        assert len(sizes) < 100
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 89  # an eighth of the 84 beyond sixteen, rounded up
    assert sizes[-1] == 16
    assert pool.statistics()["pool_idle"] == 16
    assert do(pool).done


def test_those_in_use_are_not_let_go(make):
    pool, gate, hold = make(200), Event(), Event()
    jobs = [Job(hold.wait) for _ in range(30)] + [Job(gate.wait) for _ in range(50)]
    for job in jobs:
        job.submit(pool)
    turn()
    gate.set()
    until(lambda: sum(job.done for job in jobs) == 50)
    for _ in range(40):
        in_hub(pool.shrink)
    assert (pool.size, pool.running) == (46, 30)
    hold.set()
    until(lambda: all(job.done for job in jobs))


def test_stop_lets_the_green_threads_go_also_those_that_were_busy():
    pool, gate = Pool(10), Event()
    pool.start()
    jobs = [Job(gate.wait) for _ in range(3)]
    for job in jobs:
        job.submit(pool)
    turn()
    do(pool)
    assert pool.size == 4
    pool.stop()
    turns()
    assert pool.size == 3
    gate.set()
    until(lambda: all(job.done for job in jobs))
    turns()
    assert pool.size == 0
    pool.stop()
    turns()


def test_nothing_is_left_of_a_pool():
    pool = Pool(10)
    pool.start()
    do(pool)
    kept = [weakref.ref(worker) for worker in find("Worker")]
    pool.stop()
    turns()
    del pool
    gc.collect()
    assert not [worker for worker in kept if worker() is not None]
    assert not [thing for thing in gc.get_objects() if type(thing) is Pool]


def find(name):
    return [thing for thing in gc.get_objects() if type(thing).__name__ == name]


def test_ten_thousand_jobs_leave_nothing_behind(make):
    pool = make(50, 10_000)
    # Those that wait too, and those that run beside each other.
    gate = Event()

    def work(i):
        if i % 3 == 0:
            turn()
        elif i % 7 == 0:
            gate.wait()

    def batch():
        gate.clear()
        jobs = [Job(work, i) for i in range(10_000)]
        for job in jobs:
            job.submit(pool)
        turns(3)
        gate.set()
        until(lambda: all(job.done == 1 for job in jobs))

    batch()
    gc.collect()
    before, workers = len(gc.get_objects()), len(find("Worker"))
    references = sys.getrefcount(pool), sys.getrefcount(Job)
    batch()
    gc.collect()
    assert abs(len(gc.get_objects()) - before) < 100
    assert len(find("Worker")) == workers == pool.size == 50
    assert (sys.getrefcount(pool), sys.getrefcount(Job)) == references
    assert not find("Job")
    assert pool.started == 50
    assert pool.statistics() == {
        "pool_size": 50, "pool_idle": 50, "pool_running": 0, "pool_started": 50, "pool_ready": 0, "pool_waiting": 0,
    }  # fmt: skip


ALONE = """
import gevent, gevent.event
from greenhttp.green.pool import Pool, PythonJob

class Job(PythonJob):
    def work(self):
        done.set()

done = gevent.event.Event()
pool = Pool(1)
pool.start()
Job().submit(pool)
done.wait()
assert gevent.wait(timeout=60)      # an idle pool is nothing to wait for
"""


def test_a_submitted_job_keeps_the_loop_going_and_an_idle_pool_does_not():
    subprocess.run([sys.executable, "-W", "error", "-c", ALONE], check=True, timeout=60)


def test_a_pool_that_is_idle_does_not_keep_the_loop_from_blocking(make):
    pool = make(1)
    do(pool)
    turns()
    loop, polls = gevent.get_hub().loop, 0

    def polled():
        nonlocal polls
        polls += 1

    watcher = loop.check(ref=False)
    watcher.start(polled)
    waiting = Background(gevent.sleep, 0.05)
    waiting.result()
    watcher.stop()
    watcher.close()
    assert polls < 10
