"""supervisor/policy.py: events in, actions out. Whole worlds around it are in test_worlds.py."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from greenhttp.supervisor.policy import Exit, Limits, Order, Policy, Say, Settled, Start, State, Tell

LIMITS = Limits(
    boot=60, graceful=30, grace=5, settled=1, steady=20, first_pause=0.5, longest_pause=4, longest_crash_pause=2,
    give_up=3,
)  # fmt: skip


class World:
    """A policy and the processes it believes in: orders are followed as slowly as the test wants."""

    def __init__(self, target=2, limits=LIMITS):
        self.now = 100.0
        self.policy = Policy(target, limits)
        self.alive = {}  # number -> generation
        self.orders = []
        self.said = []
        self.code = None
        self.settled = 0
        self.policy.begin(self.now)
        self.obey()

    def obey(self):
        for action in self.policy.take():
            assert self.code is None, "nothing happens after the end"
            match action:
                case Start(number, generation):
                    assert number not in self.alive
                    self.alive[number] = generation
                case Tell(number, order):
                    assert number in self.alive
                    self.orders.append((number, order))
                case Settled():
                    self.settled += 1
                case Say(level, line):
                    self.said.append(f"{level}: {line}")
                case Exit(code):
                    assert not self.alive
                    self.code = code
        return self

    def pass_time(self, seconds=1.0):
        end = self.now + seconds
        while (due := self.policy.due()) is not None and due <= end and self.code is None:
            self.now = max(self.now, due)
            self.policy.tick(self.now)
            self.obey()
        self.now = end
        self.policy.tick(self.now)
        return self.obey()

    def ready(self, *numbers):
        for number in numbers:
            self.policy.ready(number, self.now)
            self.obey()
        return self

    def gone(self, *numbers, how="exit code 0", code=3):
        for number in numbers:
            del self.alive[number]
            self.policy.gone(number, how, self.now, code)
            self.obey()
        return self

    def new_orders(self):
        orders, self.orders = self.orders, []
        return orders

    def states(self):
        return {number: worker.state for number, worker in self.policy.workers.items()}


def serving(target=2):
    """A world in which the first generation serves and has settled."""
    world = World(target)
    world.ready(*list(world.alive)).pass_time(2)
    assert not world.new_orders()
    return world


def test_the_first_generation_is_started_at_once():
    world = World(3)
    assert world.alive == {1: 1, 2: 1, 3: 1}
    assert world.ready(1, 2, 3).policy.serving == 3


def test_a_worker_that_dies_is_replaced():
    world = serving().gone(1, how="killed by SIGSEGV")
    assert sorted(world.alive) == [2, 3]
    assert world.said == ["error: worker 1 died: killed by SIGSEGV"]


def test_a_reload_replaces_one_at_a_time_and_no_old_one_leaves_before_a_new_one_serves():
    world = serving(2)
    world.policy.reload(world.now)
    world.obey()
    assert world.alive == {1: 1, 2: 1, 3: 2} and not world.orders
    world.ready(3)
    assert not world.orders  # it might die right after
    world.pass_time(1)
    assert world.new_orders() == [(1, Order.DRAIN)]
    assert world.alive == {1: 1, 2: 1, 3: 2, 4: 2}
    world.ready(4)
    assert world.new_orders() == [(2, Order.DRAIN)]
    world.gone(1, 2).pass_time(5)
    assert world.alive == {3: 2, 4: 2} and not world.orders
    assert not [line for line in world.said if not line.startswith("info")]


def test_a_generation_that_cannot_start_leaves_the_old_one_serving():
    world = serving(2)
    world.policy.reload(world.now)
    world.obey().gone(3, how="exit code 3")
    assert world.pass_time(600).alive == {1: 1, 2: 1}
    assert not world.orders
    assert [line for line in world.said if "the old one keeps serving" in line]
    world.gone(1, how="killed by SIGKILL")  # and it is still replaced if one of it dies
    assert sorted(world.alive) == [2, 4]


def test_a_generation_that_dies_right_after_it_was_ready_does_too():
    world = serving(2)
    world.policy.reload(world.now)
    world.obey().ready(3).pass_time(0.5).gone(3, how="exit code 1")
    assert world.pass_time(600).alive == {1: 1, 2: 1}
    assert not world.orders


def test_a_generation_that_takes_too_long_does_too():
    world = serving(1)
    world.policy.reload(world.now)
    world.obey().pass_time(61)
    assert world.new_orders() == [(2, Order.KILL)]
    world.gone(2, how="killed by SIGKILL as ordered").pass_time(600)
    assert world.alive == {1: 1} and not world.orders
    world.policy.reload(world.now)
    world.obey().ready(3).pass_time(1)
    assert world.new_orders() == [(1, Order.DRAIN)]


def test_a_second_reload_during_one_starts_over_with_what_is_newest():
    world = serving(1)
    world.policy.reload(world.now)
    world.obey()
    world.policy.reload(world.now)
    world.obey()
    assert world.new_orders() == [(2, Order.DRAIN)]
    assert world.alive == {1: 1, 2: 2, 3: 3}
    world.ready(2).gone(2, how="killed by SIGTERM as ordered").ready(3).pass_time(1)
    assert world.new_orders() == [(1, Order.DRAIN)]
    assert not [line for line in world.said if not line.startswith("info")]


def test_the_first_start_that_fails_is_the_end_with_the_code_it_gives():
    world = World(3)
    world.gone(2, how="exit code 3", code=3)
    assert world.new_orders() == [(1, Order.KILL), (3, Order.KILL)]
    assert world.gone(1, 3, how="killed by SIGKILL as ordered").code == 3
    assert World(1).gone(1, code=1).code == 1


def test_a_reload_before_anybody_serves_leaves_those_that_start_and_its_failure_is_not_the_end():
    world = World(2)
    world.policy.reload(world.now)
    assert world.obey().alive == {1: 1, 2: 1, 3: 2} and not world.orders
    world.gone(3, how="exit code 3")
    assert world.code is None and not world.orders
    assert world.said == [
        "error: the new generation failed (exit code 3); the old one goes on starting. Send HUP to try again"
    ]
    assert world.settled == 0
    world.ready(1, 2).pass_time(10)
    assert world.alive == {1: 1, 2: 1} and not world.orders and world.settled == 1


def test_where_those_before_the_reload_fail_too_that_is_the_end():
    world = World(2)
    world.policy.reload(world.now)
    world.obey().gone(3, how="exit code 3", code=3).gone(1, how="exit code 1", code=1)
    assert world.new_orders() == [(2, Order.KILL)]
    assert world.gone(2, how="killed by SIGKILL as ordered").code == 1


def test_those_before_the_reload_may_fail_as_long_as_the_new_ones_start():
    world = World(2)
    world.policy.reload(world.now)
    world.obey().gone(1, how="exit code 3").gone(2, how="exit code 3")
    assert world.said[0] == "warning: worker 1 could not be started (exit code 3); a newer generation is starting"
    assert world.code is None and set(world.alive.values()) == {2}
    world.ready(*list(world.alive)).pass_time(2)
    assert world.code is None and world.policy.serving == 2


def test_those_before_the_reload_leave_when_the_new_generation_is_proven_before_them():
    world = World(2)
    world.policy.reload(world.now)
    world.obey().ready(3)
    assert not world.orders
    world.pass_time(1)
    assert sorted(world.new_orders(), key=str) == [(1, Order.DRAIN), (2, Order.DRAIN)]
    assert world.alive == {1: 1, 2: 1, 3: 2, 4: 2}


def test_reloads_before_anybody_serves_do_not_pile_up():
    world = World(2)
    for _ in range(5):
        world.policy.reload(world.now)
        world.obey()
    told = [number for number, order in world.new_orders() if order is Order.DRAIN]
    assert told == [3, 4, 5, 6] and sorted(world.alive) == [1, 2, 3, 4, 5, 6, 7]


def test_starts_that_fail_later_are_repeated_ever_more_slowly_while_others_serve():
    world = serving(2).gone(1, how="killed by SIGSEGV")
    pauses = []
    for _ in range(6):
        (number,) = set(world.alive) - {2}
        began = world.now
        world.gone(number, how="exit code 3")
        while set(world.alive) == {2}:
            world.pass_time(0.125)
        pauses.append(world.now - began)
    assert pauses == [0.5, 1, 2, 4, 4, 4]
    (number,) = set(world.alive) - {2}
    world.ready(number).pass_time(LIMITS.steady)
    world.gone(number, how="killed by SIGSEGV")
    assert len(world.alive) == 2  # at once: it was a success in between


def test_eight_workers_that_fail_together_are_one_attempt_and_one_line():
    world = serving(8)
    world.gone(*range(1, 9), how="killed by SIGKILL")  # at once, all of them
    world.said.clear()
    pauses = []
    while world.code is None and len(pauses) < 10:
        batch, began = list(world.alive), world.now
        assert len(batch) == 8
        world.gone(*batch, how="exit code 3")
        while not world.alive and world.code is None:
            world.pass_time(0.125)
        pauses.append(world.now - began)
    assert world.code == 3
    assert pauses == [0.5, 1, 0]
    assert world.said == [
        "error: worker 9 could not be started (exit code 3); next attempt in 0.5 s",
        "error: worker 17 could not be started (exit code 3); next attempt in 1 s",
        "error: worker 25 could not be started (exit code 3);"
        " this was the last attempt, unless another worker of it becomes ready",
        "critical: no worker serves, and 3 attempts to start one failed (exit code 3); giving up",
    ]


def test_of_one_attempt_each_other_reason_is_told():
    world = serving(3).gone(1, 2, 3, how="killed by SIGKILL")
    world.said.clear()
    world.gone(4, 5, how="exit code 3").gone(6, how="killed by SIGSEGV")
    assert world.said == [
        "error: worker 4 could not be started (exit code 3); next attempt in 0.5 s",
        "error: worker 6 could not be started either (killed by SIGSEGV)",
    ]


def test_a_start_that_fails_beside_workers_that_have_died_is_told_once():
    world = serving(2)
    world.policy.resize(2, world.now)
    world.obey().gone(1, how="killed by SIGKILL").said.clear()
    world.gone(3, 4, how="exit code 3")
    assert world.said == ["error: worker 3 could not be started (exit code 3)"]


def test_the_last_attempt_is_over_when_all_of_it_have_failed():
    world = serving(2).gone(1, 2, how="killed by SIGKILL")
    for _ in range(2):
        world.gone(*list(world.alive), how="exit code 3").pass_time(1)
    first, second = world.alive
    world.gone(first, how="exit code 3")
    assert world.code is None and list(world.alive) == [second]
    assert world.pass_time(10).alive.keys() == {second}, "no further attempt while it is open how the last one ends"
    world.ready(second)
    assert world.code is None and len(world.alive) == 2


def test_who_fails_later_than_others_of_its_attempt_is_replaced_within_the_next_one():
    world = serving(2).gone(1, 2, how="killed by SIGKILL")
    world.gone(3, how="exit code 3").pass_time(0.5)
    assert sorted(world.alive) == [4, 5]
    world.said.clear()
    world.gone(4, how="exit code 3")
    assert sorted(world.alive) == [5, 6] and not world.said
    world.gone(5, 6, how="exit code 3")
    assert world.said == ["error: worker 5 could not be started (exit code 3); next attempt in 1 s"]
    assert not world.pass_time(0.9).alive and sorted(world.pass_time(0.1).alive) == [7, 8]


def test_where_no_process_can_be_had_at_the_start_there_are_more_attempts_and_the_last_line_says_why():
    world = World(8)
    for _ in range(3):
        world.gone(*list(world.alive), how="no process for it: Too many open files", code=None).pass_time(1)
    assert world.code == 3
    assert world.said[0] == (
        "error: worker 1 could not be started (no process for it: Too many open files); next attempt in 0.5 s"
    )
    assert world.said[-1] == (
        "critical: no worker serves, and 3 attempts to start one failed (no process for it: Too many open files);"
        " giving up"
    )


def test_where_processes_can_be_had_again_the_start_goes_on():
    world = World(2).gone(1, 2, how="no process for it", code=None).pass_time(0.5)
    assert list(world.alive) == [3, 4]
    assert world.ready(3, 4).pass_time(2).policy.serving == 2
    assert World(1).gone(1, how="no process for it", code=None).pass_time(1).gone(2, code=1).code == 1


def crash_loop(world, seconds, times):
    """Each worker dies so many seconds after it was ready; how long it takes until the next one starts."""
    pauses = []
    for _ in range(times):
        world.ready(*list(world.alive)).pass_time(seconds)
        began = world.now
        world.gone(*list(world.alive), how="exit code 1")
        while not world.alive:
            world.pass_time(0.125)
        pauses.append(world.now - began)
    return pauses


def test_a_crash_loop_has_pauses_and_a_worker_that_served_for_long_ends_it():
    world = serving(1)
    assert crash_loop(world, 3, 6) == [0, 0.5, 1, 2, 2, 2]
    assert world.said[-2:] == [
        "error: worker 6 died: exit code 1",
        "error: worker 6 served only for 3 s, like others before it; restarting in 2 s",
    ]
    assert crash_loop(world, LIMITS.steady, 3) == [0, 0, 0]
    assert crash_loop(world, 3, 3) == [0, 0.5, 1]


def test_workers_that_crash_together_are_one_crash():
    assert crash_loop(serving(8), 3, 4) == [0, 0.5, 1, 2]


def test_the_death_of_one_that_served_before_an_upgrade_is_no_part_of_a_crash_loop():
    world = World(0)
    world.policy.target = 1
    world.policy.adopt(7, 1, True, 30, "", world.now)
    world.alive[7] = 1
    world.gone(7, how="killed by SIGSEGV")
    assert crash_loop(world, 3, 2) == [0, 0.5]


def test_one_that_has_served_for_long_is_replaced_at_once_while_others_are_in_a_crash_loop():
    world = serving(2).pass_time(LIMITS.steady)
    world.gone(1, how="exit code 1")
    for _ in range(3):
        (number,) = set(world.alive) - {2}
        world.ready(number).pass_time(3).gone(number, how="exit code 1").pass_time(1)
    (number,) = set(world.alive) - {2}
    world.ready(number).gone(2, how="killed by SIGKILL")
    assert len(world.alive) == 2


def test_no_number_of_failures_is_too_many():
    world = serving(2).gone(1, how="killed by SIGKILL")
    for _ in range(1100):
        (number,) = set(world.alive) - {2}
        world.gone(number, how="exit code 3").pass_time(LIMITS.longest_pause)
    assert len(world.alive) == 2


def test_when_nobody_serves_and_start_after_start_fails_it_gives_up_loudly():
    world = serving(1).gone(1, how="killed by SIGKILL")
    while world.code is None and world.now < 1000:
        for number in list(world.alive):
            world.gone(number, how="exit code 3", code=3)
        world.pass_time(1)
    assert world.code == 3
    assert [line for line in world.said if line.startswith("critical")]


def test_one_that_dies_right_after_it_is_ready_over_and_over_is_started_ever_more_slowly_and_never_given_up():
    """It may have died of a request, which is sent again and again: an outage of all would be worse."""
    world = serving(1)
    pauses = []
    world.gone(1, how="killed by SIGSEGV")
    for _ in range(12):
        (number,) = world.alive
        world.ready(number).gone(number, how="killed by SIGSEGV")
        assert not world.alive and world.code is None
        before = world.now
        while not world.alive:
            world.pass_time(0.25)
        pauses.append(world.now - before)
    assert pauses == sorted(pauses) and pauses[-1] <= LIMITS.longest_pause + 0.25


def test_the_end_of_a_start_and_of_each_reload_is_told_once_well_or_not():
    world = World(2)
    assert world.settled == 0
    world.ready(1)
    assert world.settled == 0
    world.ready(2).pass_time(2)
    assert world.settled == 1
    world.policy.reload(world.now)
    world.obey().ready(3).pass_time(1)
    assert world.settled == 1
    world.ready(4).pass_time(2)
    assert world.settled == 2
    world.policy.reload(world.now)
    world.obey().gone(5, how="exit code 3")
    assert world.settled == 3
    world.pass_time(2)
    assert world.settled == 3 and not any("generation 3 has taken over" in line for line in world.said)


def test_a_worker_that_drained_before_an_upgrade_is_waited_for_and_killed_in_the_end():
    world = World(1)
    world.ready(1).pass_time(2)
    world.policy.adopt(9, 1, False, 30, "", world.now)
    world.alive[9] = 1
    world.policy.stop(True, world.now)
    world.obey().gone(1)
    assert world.code is None
    world.pass_time(LIMITS.graceful + LIMITS.grace)
    assert (9, Order.DUMP) in world.new_orders()
    world.pass_time(2)
    assert (9, Order.KILL) in world.new_orders()
    world.gone(9, how="killed by SIGKILL as ordered")
    assert world.code == 0


def test_there_are_never_more_than_1000_workers():
    world = World(1000)
    world.policy.resize(1, world.now)
    world.obey()
    assert world.policy.target == 1000


def test_a_worker_that_has_done_enough_serves_until_its_successor_does():
    world = serving(2)
    world.policy.wants_out(1, "1000 requests", world.now)
    world.obey()
    assert sorted(world.alive) == [1, 2, 3] and not world.orders
    world.ready(3)
    assert world.new_orders() == [(1, Order.DRAIN)]
    world.gone(1).pass_time(10)
    assert sorted(world.alive) == [2, 3] and not world.orders


def test_all_that_have_done_enough_at_once_leave_one_after_the_other():
    world = serving(3)
    for number in (1, 2, 3):
        world.policy.wants_out(number, "old", world.now)
        world.obey()
    assert len(world.alive) == 4
    world.ready(4)
    assert world.new_orders() == [(1, Order.DRAIN)]
    world.ready(5)
    assert world.new_orders() == [(2, Order.DRAIN)]


def test_those_that_are_replaced_in_vain_are_so_ever_more_slowly_and_one_line_warns():
    world = serving(2)
    pauses, began = [], world.now
    for number in (1, 2):
        world.policy.wants_out(number, "64 MiB of 32 MiB (max_rss)", world.now, "it had 63 MiB")
        world.obey()
    while len(pauses) < 6:
        last = world.policy.last
        while world.policy.last == last:
            world.pass_time(0.125)
        pauses.append(world.now - began)
        began = world.now
        world.ready(last + 1)
        ((old, order),) = world.new_orders()
        assert order is Order.DRAIN and len(world.alive) == 3
        world.policy.wants_out(last + 1, "64 MiB of 32 MiB (max_rss)", world.now, "it had 63 MiB")
        world.obey().gone(old)
    assert pauses == [0.5, 1, 2, 4, 4, 4]
    assert [line for line in world.said if "warning" in line] == [
        "warning: worker 1 will be replaced: 64 MiB of 32 MiB (max_rss); it had 63 MiB"
    ]
    assert "info: worker 2 will be replaced: 64 MiB of 32 MiB (max_rss)" in world.said


def test_such_pauses_hold_up_neither_the_dead_nor_a_reload_nor_another_wish():
    world = serving(2)
    for number in (1, 2):
        world.policy.wants_out(number, "too much", world.now, "as before")
        world.obey()
    world.gone(1, how="killed by SIGKILL")
    assert sorted(world.alive) == [2, 3]
    world.ready(3).new_orders()
    world.policy.wants_out(3, "enough", world.now)
    assert sorted(world.obey().alive) == [2, 3, 4]
    world = serving(1)
    world.policy.wants_out(1, "too much", world.now, "as before")
    world.obey().policy.reload(world.now)
    assert sorted(world.obey().alive) == [1, 2]
    world.ready(2)
    world.policy.wants_out(2, "too much", world.now, "as before")
    world.obey()
    assert sum(line.startswith("warning") for line in world.said) == 2, "one for each generation"


def test_nothing_is_due_of_that_while_all_ends():
    world = serving(1)
    world.policy.wants_out(1, "too much", world.now, "as before")
    world.policy.stop(True, world.now)
    assert world.obey().policy.due() == world.now + LIMITS.graceful + LIMITS.grace


def test_a_hung_worker_is_asked_where_it_is_then_killed_and_replaced_at_once():
    world = serving(2)
    world.policy.hung(1, "its event loop is blocked for 30 s", world.now)
    world.obey()
    assert world.new_orders() == [(1, Order.DUMP)] and sorted(world.alive) == [1, 2, 3]
    world.policy.hung(1, "again", world.now)
    world.obey().pass_time(1)
    assert world.new_orders() == [(1, Order.KILL)]
    world.gone(1, how="killed by SIGKILL as ordered").ready(3).pass_time(100)
    assert sorted(world.alive) == [2, 3] and not world.orders


def test_more_and_fewer_workers_but_never_none():
    world = serving(2)
    world.policy.resize(1, world.now)
    assert sorted(world.obey().alive) == [1, 2, 3]
    world.ready(3).pass_time(2)
    world.policy.resize(-1, world.now)
    world.obey()
    assert world.new_orders() == [(1, Order.DRAIN)]  # the oldest
    world.gone(1)
    for _ in range(3):
        world.policy.resize(-1, world.now)
    world.obey()
    assert world.policy.target == 1 and world.new_orders() == [(2, Order.DRAIN)]


def test_resting_drains_all_and_a_reload_brings_as_many_back():
    world = serving(2)
    world.policy.rest(world.now)
    world.obey()
    assert world.new_orders() == [(1, Order.DRAIN), (2, Order.DRAIN)]
    world.gone(1, 2).pass_time(100)
    assert world.alive == {} and world.code is None
    world.policy.reload(world.now)
    assert len(world.obey().alive) == 2


def test_a_graceful_stop_waits_and_kills_what_does_not_end():
    world = serving(2)
    world.policy.stop(True, world.now)
    world.obey()
    assert world.new_orders() == [(1, Order.DRAIN), (2, Order.DRAIN)]
    world.gone(1).pass_time(34)
    assert not world.orders
    world.pass_time(2)
    assert world.new_orders() == [(2, Order.DUMP), (2, Order.KILL)]  # it says where it is first
    assert world.gone(2, how="killed by SIGKILL as ordered").code == 0


def test_what_waits_at_the_end_is_answered_by_one_worker_that_starts_for_it():
    world = serving(2)
    world.policy.rest(world.now)
    world.obey().gone(1, 2).new_orders()
    world.policy.stop(True, world.now, waiting=True)
    assert sorted(world.obey().alive) == [3] and world.code is None
    world.pass_time(10).ready(3)
    assert world.new_orders() == [(3, Order.DRAIN)]
    world.pass_time(LIMITS.graceful + LIMITS.grace - 11)
    assert not world.orders
    world.pass_time(1)
    assert world.new_orders() == [(3, Order.DUMP)], "its time is that of the stop"
    assert world.gone(3, how="killed by SIGKILL as ordered").code == 0


def test_who_starts_when_all_ends_goes_on_if_connections_wait_and_nobody_serves():
    world = World(3)
    world.policy.stop(True, world.now, waiting=True)
    assert world.obey().new_orders() == [(2, Order.DRAIN), (3, Order.DRAIN)]
    world.gone(2, 3, how="killed by SIGTERM as ordered").ready(1)
    assert world.new_orders() == [(1, Order.DRAIN)]
    assert world.gone(1).code == 0


def test_who_cannot_start_for_what_waits_is_told_of_and_no_other_starts():
    world = World(1)
    world.policy.stop(True, world.now, waiting=True)
    world.obey().gone(1, how="exit code 3")
    assert world.code == 0
    assert world.said == ["error: worker 1 could not be started (exit code 3); waiting connections are reset"]
    world = World(1)
    world.policy.stop(True, world.now, waiting=True)
    world.obey().pass_time(LIMITS.graceful)
    assert world.new_orders() == [(1, Order.KILL)]
    assert world.said == ["error: worker 1 was not ready in time to answer the connections that wait"]
    assert world.gone(1, how="killed by SIGKILL as ordered").code == 0


def test_where_others_serve_nobody_starts_for_what_waits():
    world = serving(2)
    world.policy.stop(True, world.now, waiting=True)
    assert sorted(world.obey().alive) == [1, 2]


def test_an_end_at_once_starts_nobody_and_ends_who_started_for_what_waits():
    world = World(1)
    world.policy.stop(True, world.now, waiting=True)
    world.policy.stop(False, world.now)
    assert world.obey().new_orders() == [(1, Order.KILL)]
    assert world.gone(1, how="killed by SIGKILL as ordered").code == 0


def test_a_quick_stop_during_a_graceful_one():
    world = serving(2)
    world.policy.stop(True, world.now)
    world.obey().new_orders()
    world.policy.stop(False, world.now)
    world.obey()
    assert world.new_orders() == [(1, Order.QUIT), (2, Order.QUIT)]
    world.pass_time(7)
    assert world.new_orders() == [(1, Order.DUMP), (2, Order.DUMP), (1, Order.KILL), (2, Order.KILL)]
    assert world.gone(1, 2).code == 0


def test_a_second_quick_stop_gives_nobody_more_time():
    world = serving(2)
    world.policy.stop(False, world.now)
    world.obey().pass_time(4)
    assert world.new_orders() == [(1, Order.QUIT), (2, Order.QUIT)]
    world.policy.stop(False, world.now)
    world.obey().pass_time(1)
    assert world.new_orders() == [(1, Order.DUMP), (2, Order.DUMP)]


def test_nothing_is_started_any_more_once_it_stops():
    world = serving(1)
    world.policy.stop(True, world.now)
    world.obey()
    world.policy.reload(world.now)
    world.policy.resize(1, world.now)
    world.policy.rest(world.now)
    assert sorted(world.obey().alive) == [1]


def test_workers_of_the_program_before_are_replaced_like_an_old_generation():
    world = World.__new__(World)
    World.__init__(world, 0)
    world.policy.target = 2
    for number in (1, 2):
        world.policy.adopt(number, 4, True, 30, "", world.now)
        world.alive[number] = 4
    world.policy.reload(world.now)
    world.obey()
    assert world.alive == {1: 4, 2: 4, 3: 5}
    world.ready(3).pass_time(1).ready(4)
    assert world.new_orders() == [(1, Order.DRAIN), (2, Order.DRAIN)]


def test_one_that_somebody_else_told_to_drain_is_replaced_at_once_and_its_end_is_no_death():
    world = serving(2)
    world.policy.drains(1, "SIGTERM, sent by process 7", world.now)
    world.obey()
    assert list(world.alive) == [1, 2, 3]
    assert world.said[-1] == "warning: worker 1 drains: SIGTERM, sent by process 7"
    world.gone(1).ready(3)
    assert not world.new_orders() and not any("died" in line for line in world.said)


def test_one_whose_application_told_it_to_drain_is_replaced_at_once_and_its_end_is_no_death():
    world = serving(2)
    world.pass_time(60)
    world.policy.drains(1, "sys.exit(3)", world.now, True)
    world.obey()
    assert list(world.alive) == [1, 2, 3]
    world.ready(3)
    world.policy.gone(1, "exit code 3", world.now, 3, True)
    world.obey()
    assert world.said[-2:] == [
        "warning: worker 1 drains: sys.exit(3)", "info: worker 1 finished its requests and ended: exit code 3",
    ]  # fmt: skip


def test_those_whose_application_tells_them_to_drain_at_once_come_ever_more_slowly():
    world = serving(1)
    pauses = []
    for number in range(2, 6):
        world.policy.drains(number - 1, "sys.exit(3)", world.now, True)
        world.obey()
        began = world.now
        while number not in world.alive:
            world.pass_time(0.1)
            world.obey()
        pauses.append(round(world.now - began, 1))
        world.ready(number)
    assert pauses == sorted(pauses) and pauses[-1] > 2 > 0.2 > pauses[0] - 0.5, pauses


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 8), st.lists(st.tuples(st.sampled_from(["ready", "gone", "gone", "wait"]), st.integers(0, 9))))
def test_what_is_said_of_the_next_attempt_is_true(target, events):
    """Nobody starts before, and somebody at that moment, unless all are there by then."""
    world = serving(target)
    promised = None
    for what, which in [*events, ("wait", 9)]:
        numbers, last = sorted(world.alive), world.policy.last
        number = numbers[which % len(numbers)] if numbers else None
        if what == "ready" and number and world.states()[number] is State.STARTING:
            world.ready(number)
        elif what == "gone" and number:
            world.gone(number, how="exit code 1")
        elif what == "wait":
            until = world.now + which / 2
            while promised is not None and promised <= until:
                world.pass_time(max(0.0, promised - world.now - 0.01))
                assert world.policy.last == last, f"somebody starts before {promised}"
                world.pass_time(0.02)
                started = world.policy.last > last
                assert started or world.code is not None or promised is None or len(world.alive) == target
                promised, last = None, world.policy.last
            world.pass_time(max(0.0, until - world.now))
        if world.code is not None:
            return
        if promised is not None and world.now < promised:
            assert world.policy.last == last, f"somebody starts before {promised}"
        for line in world.said:
            if found := re.search(r"(?:next attempt|restarting) in ([\d.]+) s$", line):
                moment = world.now + float(found[1])
                assert promised is None or moment >= promised - 0.1 or world.now >= promised
                assert promised is None or world.now >= promised or abs(moment - promised) < 0.1, world.said
                promised = moment
        world.said.clear()


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ready", "ready", "gone", "reload", "leave", "more", "fewer", "hung", "wait", "rest"]),
        st.integers(0, 9),
    ),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 4), EVENTS)
def test_whatever_happens(target, events):
    """Nobody who serves is told to leave while there are fewer than there should be, unless it hangs; the number of
    starting ones is bounded; and once things go well again, there are as many of the newest as there should be."""
    world = serving(target)
    for what, which in events:
        if world.code is not None:
            return
        numbers = sorted(world.alive)
        number = numbers[which % len(numbers)] if numbers else None
        before = {n for n, s in world.states().items() if s is State.SERVING}
        if what == "ready" and number and world.states()[number] is State.STARTING:
            world.ready(number)
        elif what == "gone" and number:
            world.gone(number, how="killed by SIGSEGV")
        elif what == "reload":
            world.policy.reload(world.now)
        elif what == "leave" and number and number in before:
            world.policy.wants_out(number, "old", world.now)
        elif what == "hung" and number:
            world.policy.hung(number, "stuck", world.now)
        elif what in ("more", "fewer"):
            world.policy.resize(1 if what == "more" else -1, world.now)
        elif what == "wait":
            world.pass_time(which / 2)
        elif what == "rest":
            world.policy.rest(world.now)
        world.obey()
        drained = [n for n, order in world.new_orders() if order is Order.DRAIN and n in before]
        left = [s for s in world.states().values() if s is State.SERVING]
        if drained:
            assert len(left) >= world.policy.target
        starting = [s for s in world.states().values() if s is State.STARTING]
        assert len(left) + len(starting) <= max(world.policy.target, len(before)) + 1
    if world.policy.target == 0:
        world.policy.resize(1, world.now)
        world.obey()
    for _ in range(200):
        if world.code is not None:
            return
        for number, state in world.states().items():
            if state is State.STARTING:
                world.ready(number)
            elif state in (State.DRAINING, State.KILLED) and number in world.alive:
                world.gone(number)
        world.pass_time(2)
    served = [w for w in world.policy.workers.values() if w.state is State.SERVING]
    assert len(served) == world.policy.target
    assert {w.generation for w in served} == {world.policy.generation}
    assert not any(w.leaving for w in served)
