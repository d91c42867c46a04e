"""offloading/offload.py: real threads and processes do the calls, in order, bounded; who gives up leaves a count.

Threads are held by real locks that the test releases, so that nothing depends on speed.
"""

import contextvars
import os
import signal
import subprocess
import sys
import threading
import traceback

import gevent
import gevent.socket
import pytest
from gevent import monkey

import greenhttp
from greenhttp import ConfigError, OffloadError, OffloadTimeout, Server, offload, offloaded
from greenhttp.offloading.helper import Helper
from tests.green.green import until

module = sys.modules["greenhttp.offloading.offload"]
IDLE = {"running": 0, "abandoned": 0, "waiting": 0}
variable = contextvars.ContextVar("variable", default=0)


class Held:
    """Calls that last until they are told to end."""

    def __init__(self):
        self.lock = threading.Lock()
        self.lock.acquire()
        self.made = []
        self.entered = False

    def __call__(self, name=None):
        self.entered = True
        with self.lock:
            self.made.append(name)
        return name

    def end(self):
        self.lock.release()


@pytest.fixture
def held():
    made = Held()
    yield made
    if made.lock.locked():
        made.end()
    until(lambda: module.statistics() == IDLE)


@pytest.fixture
def bounded():
    """bounded(threads, processes) for the length of a test"""
    before = dict(module.limits)
    yield module.bound
    module.limits.update(before)


def running(count):
    until(lambda: module.statistics()["running"] == count)


def test_another_real_thread_makes_the_call_and_the_hub_turns_meanwhile(held):
    here = threading.get_ident()
    assert offload(threading.get_ident) != here
    call = gevent.spawn(offload, held, "done")
    running(1)  # turns the hub
    assert held.made == []
    held.end()
    assert call.get() == "done"


def test_what_it_is_given_reaches_the_function():
    assert offload(lambda *args, **kwargs: (args, kwargs), 1, 2, key=3) == ((1, 2), {"key": 3})


def test_so_many_at_a_time_and_the_others_in_order(held, bounded):
    bounded(1, 0)
    calls = [gevent.spawn(offload, held, number) for number in range(5)]
    until(lambda: module.statistics() == {"running": 1, "abandoned": 0, "waiting": 4})
    held.end()
    gevent.joinall(calls, raise_error=True)
    assert held.made == [0, 1, 2, 3, 4]


def test_a_higher_bound_counts_from_then_on(held, bounded):
    bounded(3, 0)
    calls = [gevent.spawn(offload, held, number) for number in range(5)]
    until(lambda: module.statistics() == {"running": 3, "abandoned": 0, "waiting": 2})
    held.end()
    gevent.joinall(calls, raise_error=True)
    assert sorted(held.made) == [0, 1, 2, 3, 4]


def test_a_deadline_abandons_the_call_which_keeps_its_place_until_it_ends(held, bounded, caplog):
    bounded(1, 0)
    with pytest.raises(OffloadTimeout, match=r"did not finish within 0\.5 s"):
        offload(held, "late", timeout=0.5)  # long enough to begin
    assert module.statistics() == {"running": 1, "abandoned": 1, "waiting": 0}
    assert "Held() was abandoned but still runs: it holds one of 1 threads (offload_threads)" in caplog.text
    with pytest.raises(TimeoutError):  # its wait for a place counts; it never begins
        offload(held, "never", timeout=0.01)
    assert module.statistics()["waiting"] == 0
    held.end()
    assert offload(lambda: "next") == "next"
    assert held.made == ["late"]


def test_who_waits_may_be_killed(held):
    call = gevent.spawn(offload, held)
    running(1)
    call.kill()
    assert module.statistics() == {"running": 1, "abandoned": 1, "waiting": 0}


def test_somebody_elses_timeout_is_left_alone(held):
    with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(0.01) as timeout:
        offload(held, timeout=20)
    assert caught.value is timeout


def fail():
    raise KeyError("here")


@pytest.mark.parametrize("process", [False, True])
def test_what_is_raised_comes_with_its_traceback(process):
    with pytest.raises(KeyError) as caught:
        offload(fail, process=process)
    text = "".join(traceback.format_exception(caught.value))
    assert 'in fail\n    raise KeyError("here")' in text
    assert isinstance(caught.value.__cause__, Exception) is process


def test_exit_is_meant_for_who_called():
    with pytest.raises(SystemExit, match="3"):
        offload(sys.exit, 3)


def test_context_variables_go_there_as_copies():
    def change():
        before = variable.get()
        variable.set(before + 1)
        return before, variable.get()

    variable.set(5)
    assert (offload(change), variable.get()) == ((5, 6), 5)


def test_an_offloaded_call_that_offloads_just_calls(bounded):
    bounded(1, 1)
    outer, inner = offload(lambda: (threading.get_ident(), offload(threading.get_ident, timeout=1)))
    assert outer == inner
    assert offload(lambda: offload(os.getpid, process=True) == os.getpid(), process=True)


@offloaded
def plain(number, more=0):
    """Adds."""
    return number + more, threading.get_ident()


@offloaded(process=True, timeout=60)
def far(number, more=0):
    return number + more, os.getpid()


def test_the_decorator():
    assert (plain.__name__, plain.__doc__) == ("plain", "Adds.")
    assert plain(1, more=2)[0] == 3 and plain(1)[1] != threading.get_ident()
    assert far(1, more=2)[0] == 3 and far(1)[1] != os.getpid()


# ---- processes


def test_a_process_is_kept_for_the_next_call(bounded):
    bounded(1, 1)
    assert offload(os.getpid, process=True) == offload(os.getpid, process=True) != os.getpid()


def test_a_process_is_neither_patched_nor_reads_our_stdin():
    assert offload(lambda: (monkey.is_module_patched("socket"), sys.stdin.read()), process=True) == (False, "")


@pytest.mark.parametrize(
    ("death", "said"),
    [(lambda: os._exit(9), "ended with code 9|died"), (lambda: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV|died")],
)
def test_a_process_that_dies_is_an_error_and_the_next_call_has_a_new_one(death, said):
    with pytest.raises(OffloadError, match=rf"the process that ran .*<lambda>\(\) (was killed by )?({said})"):
        offload(death, process=True)
    assert offload(abs, -3, process=True) == 3


def forever():
    while True:
        pass


def test_a_process_that_died_between_two_calls_is_replaced(bounded):
    bounded(1, 1)
    before = offload(os.getpid, process=True)
    os.kill(before, signal.SIGKILL)
    os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)  # it has ended, and is still to be reaped
    assert offload(os.getpid, process=True) != before


def told_to_end(number):
    os.kill(os.getpid(), number)
    return subprocess.run(["sh", "-c", f"kill -{int(number)} $$"], check=False).returncode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_process_leaves_the_signals_of_its_group_to_the_server_and_its_programs_do_not(number):
    assert offload(told_to_end, number, process=True) == -number


def test_a_deadline_ends_the_process_and_frees_its_place(bounded):
    bounded(1, 1)
    before = offload(os.getpid, process=True)
    with pytest.raises(OffloadTimeout, match=r"forever\(\) did not finish within"):
        offload(forever, process=True, timeout=0.05)
    assert offload(os.getpid, process=True) != before
    until(lambda: module.statistics() == IDLE)


def test_a_call_that_is_given_up_before_there_is_a_process_is_ended_too(bounded, monkeypatch):
    bounded(1, 1)
    held, start = Held(), Helper._start

    def late(self):
        held()
        start(self)

    assert offload(os.getpid, process=True)
    with pytest.raises(OffloadError):
        offload(os._exit, 1, process=True)  # the next one needs a new process
    monkeypatch.setattr(Helper, "_start", late)
    call = gevent.spawn(offload, forever, process=True)
    running(1)
    call.kill()
    assert module.statistics()["abandoned"] == 1
    held.end()
    until(lambda: module.statistics() == IDLE)


def test_a_thread_that_cannot_be_started_takes_no_place(bounded, monkeypatch):
    def none_left(*args):
        raise RuntimeError("can't start new thread")

    bounded(1, 0)
    crew = module.Crew(gevent.get_hub(), False)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_start_thread", none_left)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            crew.do(module.Call(int, ("1",), {}), None)
    assert (crew.size, len(crew.waiting)) == (0, 0)
    assert crew.do(module.Call(int, ("1",), {}), 10) == 1


RUNG = """
import gevent
from gevent import monkey
from greenhttp import offload
from greenhttp.offloading.offload import statistics

lock = monkey.get_original("_thread", "allocate_lock")()

def finish():
    with lock:
        pass

lock.acquire()
call = gevent.spawn(offload, finish)
while statistics()["running"] != 1:
    gevent.sleep(0)
lock.release()
while statistics()["running"]:
    pass  # the hub does not turn: the bell is rung, and nobody has heard it
gevent.get_hub().loop.run_callback(gevent.getcurrent().switch)  # back here
call.throw(gevent.GreenletExit)  # at once, not by a callback of the hub, which would hear the bell before
gevent.sleep(0.001)  # at least one turn of the loop, with a poll
assert offload(int, "1") == 1
"""


@pytest.mark.parametrize("loop", ["libev-cext", "libuv-cffi"])
def test_a_call_given_up_the_moment_it_finishes_leaves_nothing_behind(loop):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNG], capture_output=True, text=True, timeout=20, check=False,
        env={**os.environ, "GEVENT_LOOP": loop},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


unpacking = Held()


class Unpacked:
    """Takes its time where it arrives."""

    def __reduce__(self):
        return unpacking_is_held, ()


def unpacking_is_held():
    return unpacking()


def test_a_call_given_up_after_its_process_has_answered_costs_the_next_one_nothing(bounded):
    bounded(1, 1)
    call = gevent.spawn(offload, Unpacked, process=True)
    running(1)
    until(lambda: unpacking.entered)
    call.kill()
    unpacking.end()
    assert offload(abs, -3, process=True) == 3


class Stubborn(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def test_what_cannot_be_pickled_is_said():
    with pytest.raises(OffloadError, match=r"abs\(\) or its arguments cannot be pickled: .*lock"):
        offload(abs, threading.Lock(), process=True)
    with pytest.raises(TypeError, match="cannot pickle"):
        offload(threading.Lock, process=True)

    def stubborn():
        raise Stubborn(1, 2)

    with pytest.raises(OffloadError, match=r"the exception of .*stubborn\(\) cannot be unpickled"):
        offload(stubborn, process=True)


def test_large_arguments_and_results_go_both_ways():
    data = os.urandom(1 << 20) * 8
    assert offload(bytes, data, process=True) == data


def test_without_cloudpickle_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(module._here, "crews", {}, raising=False)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install greenhttp\[processes\]"):
        offload(abs, 1, process=True)


# ---- in programs and servers

PATCHED = """
import greenhttp.patch
import os, socket, sys, threading, time
import gevent
import gevent.socket
from greenhttp import offload

def waits():
    time.sleep(0.01)
    a, b = socket.socketpair()
    a.sendall(b"x")
    with a, b:
        return b.recv(1)

def name():
    return __name__

if __name__ == "__main__":
    assert gevent.joinall([gevent.spawn(offload, waits) for _ in range(30)], raise_error=True)[0].value == b"x"
    assert offload(name, process=True) == "__main__"
    print("pid", offload(os.getpid, process=True))
"""


def test_a_patched_program_ends_and_its_processes_with_it(tmp_path):
    (tmp_path / "program.py").write_text(PATCHED)
    command = [sys.executable, "-W", "error", tmp_path / "program.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    pid = int(done.stdout.split()[1])

    def gone():
        try:
            with open(f"/proc/{pid}/stat") as stat:
                return stat.read().rpartition(")")[2].split()[0] == "Z"  # nobody may be there to reap it
        except OSError:
            return True

    until(gone)


def test_request_timeout_abandons_and_the_server_counts_it(held):
    server = Server(lambda request: offload(held), bind="127.0.0.1:0", request_timeout=3)
    server.start()
    try:
        client = gevent.socket.create_connection(server.address)
        client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 503")
        assert server.statistics()["offload_abandoned"] == 1
        held.end()
        until(lambda: server.statistics()["offload_running"] == 0)
        client.close()
    finally:
        server.stop(0)


def test_a_server_says_how_many(bounded):
    server = Server(lambda request: "", bind="127.0.0.1:0", offload_threads=3, offload_processes=2)
    server.start()
    server.stop(0)
    assert module.limits == {False: 3, True: 2}
    assert greenhttp.offload is offload
