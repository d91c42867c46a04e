"""process/sender.pyx: who has sent a signal."""

import os
import signal
import subprocess
import sys
import time

import pytest

from greenhttp.process.sender import described, sender, watch


@pytest.fixture
def heard():
    """Numbers of the signals that Python's handler of USR2 has been called with."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: numbers.append(number))
    watch([signal.SIGUSR2])
    yield numbers
    signal.signal(signal.SIGUSR2, before)


def send_from_a_child() -> int:
    child = subprocess.Popen([sys.executable, "-c", f"import os; os.kill({os.getpid()}, {int(signal.SIGUSR2)})"])
    assert child.wait(60) == 0
    return child.pid


def test_the_process_and_its_user_are_told_once_and_python_s_handler_is_called(heard):
    pid = send_from_a_child()
    assert heard == [signal.SIGUSR2]
    assert sender(signal.SIGUSR2) == (pid, os.getuid())
    assert sender(signal.SIGUSR2) is None


def test_it_is_the_last_one_that_counts(heard):
    send_from_a_child()
    last = send_from_a_child()
    assert sender(signal.SIGUSR2) == (last, os.getuid())


def test_a_thread_of_this_process_may_have_sent_it(heard):
    signal.raise_signal(signal.SIGUSR2)
    assert heard == [signal.SIGUSR2]
    assert sender(signal.SIGUSR2) == (os.getpid(), os.getuid())


def test_watching_twice_calls_the_handler_once(heard):
    watch([signal.SIGUSR2])
    send_from_a_child()
    assert heard == [signal.SIGUSR2]


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        watch([signal.SIGUSR2])
        send_from_a_child()
        assert sender(signal.SIGUSR2) is None
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_timer_of_the_kernel_is_nobody():
    numbers: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: numbers.append(number))
    try:
        watch([signal.SIGALRM])
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        while not numbers:
            time.sleep(0.001)  # not pause(): the alarm may come just before it
        assert sender(signal.SIGALRM) is None
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("number", [0, -1, 65, 1000])
def test_a_number_that_is_no_signal_is_an_error_and_has_no_sender(number):
    with pytest.raises(OSError):
        watch([number])
    assert sender(number) is None


def test_for_people_it_has_names_as_far_as_there_are_any():
    own = described(os.getpid(), 0)
    assert own.startswith(f"process {os.getpid()}") and own.endswith(" itself of user root")
    assert described(2**31 - 1, 2**32 - 2) == f"process {2**31 - 1} of user {2**32 - 2}"
    assert described(0, 0) == "a process outside of this container"
