"""The simulated loop keeps gevent's promises: order, priorities, what is stopped is not called, when it ends."""

import random

import pytest

from tests.sim import native
from tests.sim.test_sim import connected, system  # noqa: F401  the fixture

pytestmark = pytest.mark.skipif(not native.supported(), reason="worlds need Linux")


class World:
    """What a loop asks of its world."""

    holds = False

    def __init__(self, make, c, seed=1):
        from tests.sim import loop  # gevent is not wanted in a process that only orders worlds

        self.loop = getattr(loop, make)(c, random.Random(seed), self, 20_000)
        self.errors = []
        self.loop.error_handler = self

    def ints(self, size):
        return (native.ctypes.c_int * size)()

    def turn(self):
        return 0

    def stuck(self):
        raise AssertionError("nothing will ever happen again")

    def foreign_on(self):
        pass

    foreign_off = foreign_on

    def handle_error(self, context, kind, value, trace):
        self.errors.append(value)


@pytest.fixture(params=["Libev", "Libuv"])
def world(request, system):  # noqa: F811
    return World(request.param, system)


def test_timers_come_in_order_and_time_jumps(world):
    came = []
    began = world.loop.c.now()
    for seconds in (3.0, 1.0, 2.0):
        world.loop.timer(seconds).start(came.append, seconds)
    world.loop.run()
    assert came == [1.0, 2.0, 3.0]
    assert 3.0 <= (world.loop.c.now() - began) / 1e9 < 3.1


def test_a_repeating_timer_goes_on_until_it_is_stopped(world):
    came = []
    timer = world.loop.timer(1.0, 1.0)
    timer.start(lambda: came.append(1) or len(came) == 3 and timer.stop())
    world.loop.run()
    assert len(came) == 3


def test_the_loop_ends_when_nothing_is_awaited(world):
    world.loop.timer(1.0, ref=False).start(pytest.fail)
    world.loop.run()
    watcher = world.loop.timer(1.0)
    watcher.start(pytest.fail)
    watcher.ref = False
    world.loop.run()
    assert world.loop.refs == 0


def test_a_callback_that_is_stopped_is_not_called(world):
    came = []
    second = world.loop.run_callback(came.append, 2)
    world.loop.run_callback(second.stop)
    first = world.loop.run_callback(came.append, 1)
    second.stop()
    assert first.pending and not second.pending
    world.loop.run()
    assert came == [1] and not first.pending


def test_readiness_is_told_while_it_lasts(world):
    number, fd = connected(world.loop.c)
    seen = []
    reader = world.loop.io(fd, native.READ)
    reader.start(lambda: seen.append("read") or reader.stop())
    writer = world.loop.io(fd, native.WRITE)
    writer.start(lambda: seen.append("write") or len(seen) > 2 and writer.stop())
    world.loop.c.client_send(number, b"x", 1)
    world.loop.run()
    assert seen.count("read") == 1 and seen.count("write") >= 2
    assert world.loop.c.watched_count() == 0 and world.loop.refs == 0


def test_a_watcher_that_another_stops_in_the_same_turn_is_not_called(world):
    pairs = [connected(world.loop.c) for _ in range(2)]
    watchers = [world.loop.io(fd, native.READ) for _, fd in pairs]
    seen = []

    def first():
        seen.append(1)
        for watcher in watchers:
            watcher.stop()

    for watcher in watchers:
        watcher.start(first)
    for number, _ in pairs:
        world.loop.c.client_send(number, b"x", 1)
    world.loop.run()
    assert seen == [1]


def test_what_a_callback_raises_reaches_the_handler_and_stops_a_descriptor(world):
    number, fd = connected(world.loop.c)
    watcher = world.loop.io(fd, native.READ)
    watcher.start(int, "no number")
    world.loop.c.client_send(number, b"x", 1)
    world.loop.run()
    assert [type(error) for error in world.errors] == [ValueError] and not watcher.active


def test_libev_calls_higher_priorities_first(system):  # noqa: F811
    for seed in range(10):
        world = World("Libev", system, seed)
        came = []
        check = world.loop.check(ref=False, priority=-1)
        check.start(came.append, "check")
        for at in range(3):
            world.loop.timer(0.001, priority=1).start(came.append, "high")
            world.loop.timer(0.001).start(came.append, at)
        world.loop.run()
        check.stop()
        last = came[-7:]
        assert last[:3] == ["high"] * 3 and sorted(last[3:6]) == [0, 1, 2] and last[6] == "check"


def test_an_idle_watcher_keeps_the_poll_from_waiting(world):
    idle = world.loop.idle()
    turns = []
    idle.start(lambda: turns.append(world.loop.c.now()) or len(turns) == 5 and idle.stop())
    world.loop.timer(50.0, ref=False).start(pytest.fail)
    world.loop.run()
    assert turns[-1] - turns[0] < 1_000_000_000


def test_a_handle_of_libuv_is_shared_by_both_directions(system):  # noqa: F811
    world = World("Libuv", system)
    _, fd = connected(system)
    reader, writer = world.loop.io(fd, native.READ, ref=False), world.loop.io(fd, native.WRITE, ref=False)
    reader.start(pytest.fail)
    writer.start(pytest.fail)
    assert reader._watcher_ref.ref is False and world.loop.refs == 0
    reader._watcher_ref.ref = True
    assert world.loop.refs == 1
    reader.stop()
    assert world.loop.refs == 1
    writer.stop()
    assert world.loop.refs == 0
