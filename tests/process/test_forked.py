"""What a forked process may do, in a program that has a Server of its own. The ways to fork, and real servers:
tests/system/test_fork.py."""

import json
import re
import sys

import pytest
from greenlet import greenlet

from greenhttp.process.forked import _of_kinds
from tests.system.process import Process

PROGRAM = '''
import json, os, signal, sys
import gevent, gevent.socket
from gevent.event import Event
from greenhttp.server import Server

def ask(server):
    with gevent.socket.create_connection(server.address) as peer:
        peer.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
        data = b""
        while piece := peer.recv(65536):
            data += piece
    return data.rpartition(b"\\n")[2].decode()

class Odd(type):
    """The classes of an application may be anything."""
    __hash__ = None
    def __getattr__(cls, name):
        raise RuntimeError(name)

odd = Odd("odd", (), {})()
said = {}
server = Server(lambda request: str(os.getpid()), bind="127.0.0.1:0")
server.start()
own, woken, told = os.getpid(), [], Event()

def other():
    try:
        told.wait()
        woken.append("event")
    finally:
        woken.append("finally")

others = [gevent.spawn(other), gevent.spawn_later(0.01, woken.append, "later")]
gevent.sleep(0)
gevent.spawn(woken.append, "spawned")       # not started when the fork comes
near, far = gevent.socket.socketpair()
PLACE
'''

CHILD = '''
    said["state"] = repr(server).split()[-1].rstrip(">"), server.statistics(), server.stop(1)
    told.set()                              # the other waits for it, in the parent
    gevent.sleep(0.05)                      # later than the one who wakes later
    said["woken"] = woken[:]
    gevent.spawn(far.send, b"x")
    said["socket"] = near.recv(1).decode()  # it was made before the fork
    said["spawned"] = gevent.spawn(lambda: 5).get()
    try:
        Event().wait()
    except gevent.hub.LoopExit:
        said["end"] = True
    mine = Server(lambda request: str(os.getpid()), bind="127.0.0.1:0")
    mine.start()
    said["own server"] = ask(mine) == str(os.getpid())
    mine.stop(1)
    pid = os.fork()
    if pid == 0:
        gevent.sleep(0.01)
        os._exit(4)
    said["grandchild"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
'''

PARENT = '''
others[1].join()
child = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(json.dumps({"child": child, "woken": woken, "answers": ask(server) == str(own), "stopped": server.stop(5)}))
'''

MAIN = f'''
pid = os.fork()
if pid == 0:
{CHILD}
    print(json.dumps(said), flush=True)
    sys.exit(9)
{PARENT}
'''

SPAWNED = f'''
def forks():
    global pid
    with gevent.Timeout(0.3) as timer:      # started before the fork, and of this green thread
        pid = os.fork()
        if pid:
            return
        try:
            gevent.sleep(60)
        except gevent.Timeout as reached:
            said["timeout"] = reached is timer
    signal.alarm(60)
{CHILD}
    print(json.dumps(said), flush=True)
    sys.exit(9)

gevent.spawn(forks).join()
{PARENT}
'''


def run(directory, place, program=PROGRAM):
    with Process(directory, "-c", program.replace("PLACE", place)) as process:
        code, out, err = process.rest()
    assert (code, err) == (0, "")
    first, second = map(json.loads, out.splitlines())
    return first, second


EXPECTED = {
    "state": ["stopped", {}, True], "woken": [], "socket": "x", "spawned": 5, "end": True, "own server": True,
    "grandchild": 4,
}  # fmt: skip
OF_THE_PARENT = {"child": 9, "woken": ["spawned", "later"], "answers": True, "stopped": True}


def test_forked_by_the_main_green_thread(tmp_path):
    assert run(tmp_path, MAIN) == (EXPECTED, OF_THE_PARENT)


def test_forked_by_another_green_thread(tmp_path):
    child, parent = run(tmp_path, SPAWNED)
    assert child == {"timeout": True, **EXPECTED, "woken": ["spawned"]}  # that one ran before the fork
    assert parent == OF_THE_PARENT


HELD = """
import json, os, signal
import gevent
from greenhttp.server import Server

os.register_at_fork(before=lambda: gevent.sleep(0.01))     # called behind ours, as that of logging's lock

def blocked():
    return len(signal.pthread_sigmask(signal.SIG_BLOCK, []))

def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(blocked())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

server = Server(lambda request: "", bind="127.0.0.1:0")
server.start()
forks = [gevent.spawn(fork) for _ in range(3)]
gevent.joinall(forks)
print(json.dumps([fork.value for fork in forks]))
print(json.dumps(blocked()))
server.stop(1)
"""


def test_signals_are_held_no_longer_than_for_the_forks_though_what_comes_before_them_waits(tmp_path):
    assert run(tmp_path, "", HELD) == ([0, 0, 0], 0)


def test_a_process_in_which_nothing_serves_any_more_is_left_alone(tmp_path):
    place = """
server.stop(1)
pid = os.fork()
others[1].join()
os.write(1, json.dumps(woken).encode() + b"\\n")
if pid:
    os.waitpid(pid, 0)
else:
    os._exit(0)
"""
    first, second = run(tmp_path, place)
    assert first == second == ["spawned", "later"]  # as gevent does it


def test_objects_are_told_by_type_whatever_their_classes_do():
    class Odd(type):
        __hash__ = None

        def __instancecheck__(cls, _):
            raise RuntimeError("asked")

    green = greenlet(print)
    found = _of_kinds((greenlet, "Odd"), [green, 1, Odd("Odd", (), {})(), Odd("Even", (), {})(), sys])
    assert [type(each).__name__ for each in found] == ["greenlet", "Odd"]


STARTS = """
import multiprocessing, os, sys
import gevent
from greenhttp.errors import ConfigError
from greenhttp.pywsgi import WSGIServer
from greenhttp.server import Server

class Log:
    write = staticmethod(lambda text: os.write(2, text.encode()))

def server(start=True):
    made = MAKE
    if start:
        made.start()
    return made

def last(work):
    try:
        work()
    except ConfigError as error:
        os.write(2, f"raised: {error}\\n".encode())
    os._exit(0)

def forked(work):
    pid = os.fork()
    if pid == 0:
        last(work)
    assert os.waitpid(pid, 0)[1] == 0

own = server()
"""
MAKES = {
    "Server": "Server(lambda environ, start_response: [], bind='127.0.0.1:0', interface='wsgi')",
    "pywsgi": "WSGIServer(('127.0.0.1', 0), lambda environ, start_response: [], log=None, error_log=Log)",
}

CURE = "fork first, start the server afterwards"
NOTHING = rf"process \d+ was forked after the server was started, and serves nothing: {CURE}"
PLACES = {
    "waits": ("forked(lambda: [gevent.sleep(0.01), gevent.sleep(0.8)])", NOTHING + "\n"),
    "daemon": ("forked(lambda: forked(lambda: gevent.sleep(0.8)))", NOTHING + "\n"),
    "serves": ("forked(own.serve_forever)", f"raised: {NOTHING}\n"),
    "starts": ("forked(lambda: [server(), gevent.sleep(0.8)])", ""),
    "computes": ("forked(lambda: sum(range(9)))", ""),
    "multiprocessing": (
        "child = multiprocessing.get_context('fork').Process(target=gevent.sleep, args=(0.8,)); child.start();"
        " child.join()",
        "",
    ),
    "another": ("gevent.spawn(forked, lambda: gevent.sleep(0.8)).join()", ""),
}


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
@pytest.mark.parametrize(("place", "said"), PLACES.values(), ids=PLACES)
def test_a_program_that_forks_after_the_start_is_told_that_the_child_serves_nothing(tmp_path, make, place, said):
    with Process(tmp_path, "-c", STARTS.replace("MAKE", make) + place) as process:
        code, _, err = process.rest()
    assert code == 0, err
    assert re.fullmatch(said, err), err


HANDLED = """
import json, os, signal
import gevent
from greenhttp.server import Server

def request(number):
    pid = os.fork()
    if pid == 0:
        signal.signal(number, lambda *_: os._exit(7))      # after the fork, and before it waits for the first time
        gevent.spawn_later(0.01, os.kill, os.getpid(), number)
        gevent.sleep(5)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

server = Server(lambda request: "", bind="127.0.0.1:0")
gevent.signal_handler(signal.SIGTERM, server.stop)
gevent.signal_handler(signal.SIGINT, server.stop)
server.start()
for number in signal.SIGTERM, signal.SIGINT:
    child = gevent.spawn(request, number)
    child.join()
    print(json.dumps(child.value))
server.stop(1)
"""


def test_a_handler_that_a_child_sets_is_its_own_also_where_gevent_had_one_for_the_parent(tmp_path):
    assert run(tmp_path, "", HANDLED) == (7, 7)
