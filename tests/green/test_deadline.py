"""green/deadline.py: phases and their sweep. No clock is waited for: a duration of 1e-9 s is over at the next look."""

import gc
import sys

import gevent
import pytest

from greenhttp.green.deadline import Phase, PythonTimed, Sweep
from tests.green.green import until

AT_ONCE = 1e-9
NEVER = 1e9


class Timed(PythonTimed):
    def __init__(self, told, name=None, action=None, slow=False):
        self.told, self.name, self.action, self.slow = told, name, action, slow

    def overdue(self, phase, now):
        self.told.append(self.name)
        assert self.phase is None
        if self.action is not None:
            self.action(self, phase)

    def too_slow(self, now):
        return self.slow


@pytest.fixture
def sweep():
    made = []

    def make(*phases, each=None):
        one = Sweep(gevent.get_hub().loop, phases, each)
        made.append(one)
        return one

    yield make
    for one in made:
        one.stop()  # again, perhaps: that is nothing


def look(sweep, told, count):
    """Sweep until `count` were told: the coarse clock moves every few milliseconds."""
    until(lambda: sweep.sweep() or len(told) >= count)


def test_one_phase_at_a_time():
    told, first, second = [], Phase("first", NEVER), Phase("second")
    timed = Timed(told)
    assert (timed.phase, len(first)) == (None, 0)
    timed.move_to(first)
    assert (timed.phase, first.members(), first.count) == (first, [timed], 1)
    timed.move_to(second)
    assert (timed.phase, len(first), second.members()) == (second, 0, [timed])
    timed.move_out()
    timed.move_out()
    assert (timed.phase, len(first), len(second)) == (None, 0, 0)
    timed.move_to(first)
    assert first.members() == [timed]
    timed.move_out()


def test_entering_again_goes_to_the_end():
    phase = Phase("phase", NEVER)
    one, two, three = (Timed([], i) for i in range(3))
    for timed in (one, two, three, one):
        timed.move_to(phase)
    assert phase.members() == [two, three, one]
    two.move_out()
    three.move_out()
    assert phase.members() == [one]
    one.move_out()
    assert phase.members() == []


def test_from_anywhere_in_the_ring():
    for at in range(5):
        phase = Phase("phase")
        timed = [Timed([], i) for i in range(5)]
        for one in timed:
            one.move_to(phase)
        timed[at].move_out()
        assert phase.members() == timed[:at] + timed[at + 1 :]
        for one in timed:
            one.move_out()
        assert phase.members() == []


def test_the_order_of_arrival_is_the_order_of_expiry(sweep):
    told, phase, other = [], Phase("phase", AT_ONCE), Phase("other", NEVER)
    timed = [Timed(told, i) for i in range(10)]
    for i in (3, 1, 4, 5, 9, 2, 6, 8, 7, 0):
        timed[i].move_to(phase)
    timed[5].move_to(other)
    timed[9].move_out()
    timed[3].move_to(phase)
    look(sweep(other, phase), told, 8)
    assert told == [1, 4, 2, 6, 8, 7, 0, 3]
    assert other.members() == [timed[5]]
    timed[5].move_out()


def test_without_a_duration_nothing_expires(sweep):
    told, limitless, phase = [], Phase("limitless"), Phase("phase", AT_ONCE)
    waiting = Timed(told, "limitless")
    waiting.move_to(limitless)
    Timed(told, "phase").move_to(phase)
    look(sweep(limitless, phase), told, 1)
    assert told == ["phase"]
    waiting.move_out()


def test_when_told_it_may_move_anywhere(sweep):
    told, phase, other = [], Phase("phase", AT_ONCE), Phase("other", NEVER)
    bystander = Timed(told, "bystander")
    actions = [
        lambda timed, phase: timed.move_to(other),
        lambda timed, phase: bystander.move_out(),  # the next one in the ring
        lambda timed, phase: timed.move_to(other),
    ]
    timed = [Timed(told, i, action) for i, action in enumerate(actions)]
    for one in (timed[0], timed[1], bystander, timed[2]):
        one.move_to(phase)
    look(sweep(phase), told, 3)
    assert told == [0, 1, 2]
    assert other.members() == [timed[0], timed[2]]
    for one in timed:
        one.move_out()


def test_one_that_enters_its_phase_again_when_told_waits_anew(sweep):
    told, phase = [], Phase("phase", 0.005)
    timed = Timed(told, "again", lambda timed, phase: timed.move_to(phase))
    timed.move_to(phase)
    one = sweep(phase)
    look(one, told, 3)
    assert phase.members() == [timed]
    timed.move_out()


def test_an_error_does_not_stop_the_sweep(sweep, monkeypatch):
    complaints = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: complaints.append(error[0]))
    told, phase, other, calls = [], Phase("phase", AT_ONCE), Phase("other", AT_ONCE), []

    def fail(timed, phase):
        raise ZeroDivisionError

    for i in range(3):
        Timed(told, i, fail if i == 1 else None).move_to(phase)
    Timed(told, "other").move_to(other)
    one = sweep(phase, other, each=lambda: calls.append(1))
    look(one, told, 4)
    assert sorted(told, key=str) == [0, 1, 2, "other"]
    assert complaints == [ZeroDivisionError]
    assert len(calls) >= 1


def test_an_error_in_the_work_done_each_time_does_not_end_the_timer(sweep, monkeypatch):
    complaints = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: complaints.append(error[0]))

    def fail():
        raise ZeroDivisionError

    one = sweep(Phase("phase", 0.05), each=fail)
    one.start()
    until(lambda: len(complaints) >= 2)
    one.stop()
    assert set(complaints) == {ZeroDivisionError}


@pytest.mark.parametrize("raised", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("hook", [ValueError, KeyboardInterrupt, None])
def test_a_timer_goes_on_whatever_is_raised_and_whatever_tells_of_it(sweep, monkeypatch, hub_errors, raised, hook):
    def tell(*error):
        if hook is not None:
            raise hook

    def fail():
        calls.append(1)
        raise raised

    monkeypatch.setattr(sys, "excepthook", tell)
    calls = []
    one = sweep(Phase("phase", 0.05), each=fail)
    one.start()
    until(lambda: len(calls) >= 3)
    one.stop()
    kinds = {kind for _, (kind, *_) in hub_errors}
    hub_errors.clear()
    assert kinds == ({raised} if raised is KeyboardInterrupt else {hook} if hook is not None else set())


@pytest.mark.parametrize(
    ("durations", "period"),
    [([], 1), ([0], 1), ([10], 1), ([100], 1), ([5, 30, 0], 0.5), ([0.05], 0.01), ([2, 0.5], 0.05)],
)
def test_the_period_is_a_tenth_of_the_shortest_duration(sweep, durations, period):
    assert sweep(*(Phase("phase", duration) for duration in durations)).period == pytest.approx(period)


def test_the_timer_sweeps_by_itself(sweep):
    told, phase, calls = [], Phase("phase", 0.02), []
    Timed(told, 1).move_to(phase)
    one = sweep(phase, each=lambda: calls.append(1))
    one.start()
    until(lambda: told)
    assert len(calls) >= 1
    assert one.phases == (phase,)


def test_rates_are_asked_for_only_where_there_is_one(sweep):
    told = []
    rated, unrated = Phase("rated", NEVER, rate=100.0, grace=3.0), Phase("unrated", NEVER)
    timed = [Timed(told, i, slow=i % 2) for i in range(6)]
    for one in timed:
        one.move_to(rated)
    careless = Timed(told, "careless", slow=True)
    careless.move_to(unrated)
    assert (rated.rate, rated.grace, unrated.rate) == (100, 3, 0)
    sweep(rated, unrated).sweep()
    assert told == [1, 3, 5]
    assert rated.members() == [timed[0], timed[2], timed[4]]
    for one in (*timed, careless):
        one.move_out()


def test_rates_are_asked_for_once_a_second(sweep):
    told, rated = [], Phase("rated", NEVER, rate=1.0)
    asked = []

    class Asked(Timed):
        def too_slow(self, now):
            asked.append(now)
            return False

    one = Asked(told)
    one.move_to(rated)
    swept = sweep(rated)
    for _ in range(100):
        swept.sweep()
    assert len(asked) == 1 or asked[-1] - asked[0] >= (len(asked) - 1) * 0.99
    one.move_out()


def test_what_does_not_say_how_fast_it_is_is_never_too_slow(sweep):
    rated = Phase("rated", NEVER, rate=1.0)
    one = PythonTimed()
    one.move_to(rated)
    assert rated.duration == NEVER
    sweep(rated).sweep()
    assert rated.members() == [one]
    one.move_out()


def test_many_that_expire_together_are_told_a_part_at_a_time(sweep):
    told, phase, calls = [], Phase("phase", AT_ONCE), []
    for i in range(300):
        Timed(told, i).move_to(phase)
    last, after = [], Phase("after", AT_ONCE)
    Timed(last).move_to(after)
    look(sweep(after), last, 1)  # by now all of them have expired
    one = sweep(phase, each=lambda: calls.append(len(told)))
    one.sweep()
    assert told == list(range(128))
    until(lambda: len(told) == 300)  # the loop sweeps the rest
    assert (told, calls) == (list(range(300)), [300])


def test_one_told_that_it_is_slow_may_end_the_others(sweep):
    told, rated = [], Phase("rated", rate=1.0)
    timed = [Timed(told, i, lambda *_: [one.move_out() for one in timed], slow=True) for i in range(3)]
    for one in timed:
        one.move_to(rated)
    sweep(rated).sweep()
    assert told == [0]
    assert len(rated) == 0


def test_a_phase_keeps_what_waits_in_it_and_nothing_longer(sweep):
    told, phase = [], Phase("phase", AT_ONCE)
    references = sys.getrefcount(told)
    for i in range(100):
        Timed(told, i).move_to(phase)
    gc.collect()
    assert len(phase) == 100
    look(sweep(phase), told, 100)
    assert told == list(range(100))
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) is Timed]
    assert sys.getrefcount(told) == references
