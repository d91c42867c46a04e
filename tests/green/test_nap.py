"""green/nap.pyx: who sleeps wakes in the order of the deadlines, never early, and leaves nothing behind."""

import gc
import select
import signal
import subprocess
import sys
import threading
import time
import weakref

import gevent
import pytest
from gevent.event import Event
from gevent.exceptions import BlockingSwitchOutError, InvalidSwitchError
from greenlet import getcurrent, greenlet
from hypothesis import given, settings
from hypothesis import strategies as st

from greenhttp.green.nap import Naps, sleep
from tests.green.green import Background, turn, turns, until

LONG = 1000.0


def naps() -> Naps:
    """Those of this thread's hub."""
    hub = gevent.get_hub()
    if not hasattr(hub, "greenhttp_naps"):
        sleep(1e-6)
    return hub.greenhttp_naps


@pytest.fixture(autouse=True)
def nobody_left():
    yield
    assert naps().count == naps().gone


def asleep() -> int:
    return naps().count - naps().gone


def sleepers(count: int, seconds: float = LONG) -> list[Background]:
    found = [Background(sleep, seconds) for _ in range(count)]
    until(lambda: asleep() == count)
    return found


def wake(those: list[Background]) -> None:
    for sleeper in those:
        sleeper.greenlet.kill()


@pytest.mark.parametrize("seconds", [1e-9, 0.0004, 0.001, 0.02, 1 / 3])
def test_nobody_wakes_early(seconds):
    began = time.monotonic()
    sleep(seconds)
    assert time.monotonic() - began >= seconds


def test_what_can_be_a_number_of_seconds():
    class Half:
        def __float__(self):
            return 0.001

    began = time.monotonic()
    for seconds in (Half(), True, 0, -1, -float("inf")):
        assert sleep(seconds) is None
    assert time.monotonic() - began >= 1
    for wrong in ("1", None, b"1", 1j):
        with pytest.raises(TypeError, match="real number"):
            sleep(wrong)
    with pytest.raises(ValueError, match="NaN"):
        sleep(float("nan"))
    with pytest.raises(TypeError):
        sleep()
    with pytest.raises(TypeError):
        sleep(secs=1)


@pytest.mark.parametrize("seconds", [0, -3])
def test_none_at_all_lets_others_run(seconds):
    ran = []
    gevent.spawn(ran.append, 1)
    sleep(seconds)
    assert ran == [1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=300), st.sets(st.integers(0, 299)))
def test_the_order_of_waking_is_that_of_the_deadlines(milliseconds, killed):
    """A heap in C against sorted(); some are killed in their sleep. Deadlines lie apart by what the loop counts in."""
    woken, ready = [], Event()

    def one(number: int, after: int) -> None:
        ready.wait()
        sleep(base + after / 1000 - time.monotonic())
        woken.append(number)

    those = [gevent.spawn(one, number, after) for number, after in enumerate(milliseconds)]
    turns(2)
    base = time.monotonic() + 10  # nobody wakes before all sleep
    ready.set()
    until(lambda: asleep() == len(those))
    kept = []
    for number, green in enumerate(those):
        if number in killed:
            green.kill()
        else:
            kept.append(number)
    assert asleep() == len(kept)
    hurry(10)
    gevent.joinall(those, raise_error=True)
    # who shares a millisecond may come in either order: their deadlines were taken one after the other
    assert [milliseconds[number] for number in woken] == sorted(milliseconds[number] for number in kept)


def hurry(seconds: float) -> None:
    """Have all deadlines come by so much earlier: no test waits ten seconds."""
    naps().advance(seconds)


def test_ten_thousand_that_are_due_together_let_others_in_between():
    woken = []
    those = [gevent.spawn(lambda: woken.append(sleep(5))) for _ in range(10_000)]
    until(lambda: asleep() == 10_000)
    hurry(5)
    seen = []
    while len(woken) < 10_000:
        turn()
        seen.append(len(woken))
    assert all(after - before <= 2 * 128 for before, after in zip([0, *seen], seen, strict=False))
    gevent.joinall(those, raise_error=True)


def test_one_who_sleeps_again_at_once_is_not_served_twice_in_a_turn():
    count = 0

    def restless():
        nonlocal count
        while True:
            sleep(1e-9)
            count += 1

    green = gevent.spawn(restless)
    until(lambda: count)
    before = count
    turns(10)
    green.kill()
    assert count - before <= 2 * 10 + 2


def test_a_timeout_ends_a_sleep_and_the_next_one_is_a_whole_one():
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.005):
        sleep(LONG)
    began = time.monotonic()
    sleep(0.02)
    assert time.monotonic() - began >= 0.02


def test_a_killed_sleeper_runs_its_finally_and_nobody_else_wakes():
    (first, second) = sleepers(2)
    first.greenlet.kill()
    assert isinstance(first.error, gevent.GreenletExit)
    assert not second.ended
    second.interrupt(KeyError("k"))
    assert isinstance(second.error, KeyError)


def test_sleeps_that_were_cut_short_cost_no_memory():
    """An hour's sleep under a short time-out, over and over: the entries must not stay for an hour."""
    (other,) = sleepers(1)
    for _ in range(1_000):
        one = Background(sleep, 3600.0)
        until(lambda: asleep() == 2)
        one.greenlet.kill()
    assert naps().count <= 200
    assert naps().room <= 32_768
    assert not other.ended
    wake([other])


def test_heap_and_table_survive_growing_and_sifting_with_holes_in_them():
    many = sleepers(1000, 7.0)
    wake(many[::2])
    more = sleepers_beside(500, 700, 8.0)
    wake(more[:650])
    hurry(7)
    until(lambda: all(one.ended for one in many))
    assert not any(one.ended for one in more[650:])
    hurry(1)
    until(lambda: all(one.ended for one in more))
    assert [one.error for one in many[1::2]] == [None] * 500


def sleepers_beside(there: int, count: int, seconds: float) -> list[Background]:
    found = [Background(sleep, seconds) for _ in range(count)]
    until(lambda: asleep() == there + count)
    return found


def test_a_switch_by_somebody_else_is_an_error_in_the_sleeper_as_with_gevent():
    (one,) = sleepers(1)
    gevent.get_hub().loop.run_callback(one.greenlet.switch)
    one.greenlet.join()
    assert isinstance(one.error, InvalidSwitchError)


def test_a_callback_of_the_loop_cannot_sleep():
    errors = []

    def callback():
        try:
            sleep(0.001)
        except BlockingSwitchOutError as error:
            errors.append(str(error))

    gevent.get_hub().loop.run_callback(callback)
    turns(2)
    assert len(errors) == 1
    assert "callback of the loop" in errors[0]


def test_one_that_wakes_others_and_kills_others_while_they_are_being_woken():
    """The first to wake kills the second directly, inside the same walk over the heap, and sleeps again."""
    got = []

    def first():
        sleep(5)
        second.throw(KeyError("k"))
        sleep(0.001)
        got.append("first")

    def rest():
        try:
            sleep(5)
        except KeyError:
            got.append("killed")
            main.switch()
        got.append("third")

    green = gevent.spawn(first)
    until(lambda: asleep() == 1)
    hub = gevent.get_hub()
    second, third = greenlet(rest, hub), greenlet(rest, hub)
    main = green
    for raw in (second, third):
        hub.loop.run_callback(raw.switch)
    until(lambda: asleep() == 3)
    hurry(5)
    until(lambda: "first" in got)
    assert got[0] == "killed"
    assert sorted(got) == ["first", "killed", "third"]


def test_an_error_of_a_plain_greenlet_ends_nobody_elses_sleep(hub_errors):
    def bad():
        sleep(5)
        raise LookupError("mine")

    raw = greenlet(bad, gevent.get_hub())
    gevent.get_hub().loop.run_callback(raw.switch)
    until(lambda: asleep() == 1)
    others = sleepers_beside(1, 3, 5.0)
    hurry(5)
    for other in others:
        assert other.result() is None
    ((context, (kind, _, _)),) = hub_errors
    assert context is raw
    assert kind is LookupError
    hub_errors.clear()


def test_ctrl_c_during_the_walk_leaves_a_timer_for_the_rest(monkeypatch):
    """What hub.handle_error raises itself goes through the walk: whoever has not been reached wakes all the same."""

    def bad():
        sleep(5)
        raise LookupError

    raw = greenlet(bad, gevent.get_hub())
    gevent.get_hub().loop.run_callback(raw.switch)
    until(lambda: asleep() == 1)
    others = sleepers_beside(1, 3, 5.0)
    hub = gevent.get_hub()
    calls = []

    def first_raises(context, *error):
        calls.append(error[0])
        if error[0] is LookupError:
            raise KeyboardInterrupt

    monkeypatch.setattr(hub, "handle_error", first_raises)
    hurry(5)
    for other in others:
        assert other.result() is None
    assert LookupError in calls


def test_who_woke_is_held_by_nobody():
    """The pool uses a green thread again only if nobody refers to it: a sleep must leave no reference."""

    class Mine(gevent.Greenlet):
        pass

    def run():
        sleep(0.001)
        return sys.getrefcount(getcurrent())

    one = Mine(run)
    here = weakref.ref(one)
    one.start()
    one.join()
    value, one = one.value, None
    plain = Mine(lambda: (sleep(0), sys.getrefcount(getcurrent()))[1])
    plain.start()
    plain.join()
    assert value <= plain.value
    gc.collect()
    turns(2)
    assert here() is None


def test_every_thread_sleeps_in_its_own_hub():
    ended = []

    def other():
        sleep(0.01)
        ended.append(gevent.get_hub().greenhttp_naps)
        gevent.get_hub().destroy()

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(ended) == 1
    assert ended[0] is not naps()


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)


def test_a_patched_process_sleeps_with_it_and_gevent_keeps_its_own():
    done = run(
        "import greenhttp.patch, time, gevent, gevent.monkey\n"
        "from greenhttp.green.nap import sleep\n"
        "assert time.sleep is sleep and gevent.sleep is not sleep\n"
        "assert gevent.monkey.get_original('time', 'sleep').__module__ == 'time'\n"
        "assert gevent.monkey.is_object_patched('time', 'sleep')\n"
        "time.sleep(0.001)\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_loop_that_only_sleepers_keep_running_ends_with_the_last():
    done = run(
        "import greenhttp.patch, time, gevent\n"
        "a, b = gevent.spawn(time.sleep, 0.01), gevent.spawn(time.sleep, 3600)\n"
        "gevent.sleep(0)\n"
        "assert gevent.wait([a], timeout=10)\n"
        "b.kill()\n"
        "assert gevent.wait(timeout=30) is True\n"  # nothing is left to wait for
        "print('end')"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_the_main_program_can_sleep_and_ctrl_c_wakes_it():
    """Sent from outside: on libuv, gevent loses one that comes just when a child of the process ends. And again, as
    long as nothing is seen of it: gevent looks for signals before it polls, and one that comes between the two is
    noticed only when something else ends the poll."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import greenhttp.patch, time, gevent\n"
        "try:\n"
        "    gevent.spawn(print, 'sleeps', flush=True)\n"  # runs once the main program does sleep
        "    time.sleep(3600)\n"
        "except KeyboardInterrupt:\n"
        "    signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "    print('woken', flush=True)\n"
        "time.sleep(0.01)\nprint('again')\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "sleeps\n"
        process.send_signal(signal.SIGINT)
        while not select.select([process.stdout], [], [], 1)[0]:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "woken\nagain\n"), err  # gevent's hub says it, too
