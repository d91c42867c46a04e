"""A process that the application forks is no second server: real ones, forked in every way there is, in each server.

The application keeps requests waiting in several ways, forks meanwhile, and the children live on behind the requests
that have made them, turning their loops. What is carried out writes its process's number into a file.
"""

import contextlib
import os
import signal
import socket
import sys
import time

import pytest

from tests.system.process import Process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look at processes through /proc")

PATIENCE = 60  # seconds; only a hang takes as long

APP = '''
import functools, multiprocessing, os, pty, socket, subprocess, sys, threading, time
import gevent
from gevent.event import Event
from gevent.monkey import get_original
from greenhttp import offload

KINDS = ("multiprocessing", "os", "pty", "gevent", "original", "preexec", "spawned", "thread", "lock")
WAITS = ("sleep", "event", "socket", "lock")
event, lock, (near, far) = Event(), threading.Lock(), socket.socketpair()

def exists(name):
    return os.path.exists(name)

def wait_for(name):
    while not exists(name) and not exists("over"):      # the latter: the test has failed
        time.sleep(0.005)

def note(name, *words):
    with open(name, "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")

def live(kind):
    """What a child does: it turns its loop while the parent's requests come to their end."""
    note("children", kind, os.getpid())
    wait_for("go")
    for _ in range(30):
        time.sleep(0.005)
    if kind != "thread":        # gevent waits for processes in the main thread alone, also after the fork
        assert subprocess.run(["sh", "-c", "echo $$"], capture_output=True).stdout.strip().isdigit()
    assert gevent.spawn(time.sleep, 0.001).join() is None
    note("turned", kind, os.getpid())
    wait_for("end")

def live_and_exit(kind):
    try:
        live(kind)
    except BaseException as error:
        note("wrong", kind, repr(error))
    finally:
        os._exit(0)

def forked_by(fork, kind):
    pid = fork()
    if pid == 0 or pid == (0, -1):
        live_and_exit(kind)

def fork(kind):
    if kind == "multiprocessing":
        multiprocessing.get_context("fork").Process(target=live, args=(kind,)).start()
    elif kind == "os":
        forked_by(os.fork, kind)
    elif kind == "pty":
        forked_by(lambda: pty.fork()[0], kind)
    elif kind == "gevent":
        forked_by(gevent.os.fork, kind)
    elif kind == "original":
        forked_by(get_original("os", "fork"), kind)
    elif kind == "preexec":
        gevent.spawn(subprocess.Popen, ["sleep", "60"], preexec_fn=functools.partial(live_and_exit, kind))
    elif kind == "spawned":
        gevent.spawn(forked_by, os.fork, kind)
    elif kind == "thread":
        offload(forked_by, get_original("os", "fork"), kind)
    elif kind == "lock":        # the child lets go of a lock that a request of the parent's waits for
        lock.acquire()
        wait_for("waits-lock")
        pid = os.fork()
        lock.release()
        if pid == 0:
            live_and_exit(kind)

def tell():
    wait_for("go")
    event.set()
    far.send(b"x")

def hold(way):
    note("waits-" + way)
    if way == "sleep":
        wait_for("go")
    elif way == "event":
        gevent.spawn(tell)
        event.wait()
    elif way == "socket":
        near.recv(1)
    elif way == "lock":
        lock.acquire()
    note("done", way, os.getpid())

def work(path):
    what, _, which = path.strip("/").partition("/")
    if what == "hold":
        hold(which)
    elif what == "fork":
        fork(which)
    elif what in ENDS:
        ENDS[what]()
    return str(os.getpid()).encode()

# ---- children that come back

def lost():
    os.fork()

def failing():
    if os.fork() == 0:
        raise LookupError("no such shelf")

def leaving():
    if os.fork() == 0:
        sys.exit(7)

def terminated():
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
    process.start()
    process.terminate()
    process.join()
    note("terminated", process.exitcode)

def spawned():
    gevent.spawn(os.fork).join()

def offloaded():
    offload(get_original("os", "fork"))

def deadlocked():
    if os.fork() == 0:
        try:
            Event().wait()
        except gevent.hub.LoopExit:
            note("deadlocked", os.getpid())
        os._exit(0)

def generated():
    pass

ENDS = {call.__name__: call
        for call in (lost, failing, leaving, terminated, spawned, offloaded, deadlocked, generated)}

def app(environ, start_response):
    body = work(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return pieces(body) if environ["PATH_INFO"] == "/generated" else [body]

def pieces(body):
    os.fork()
    yield body

def handler(stream):
    for line in stream:
        stream.write(work(line.decode().strip()) + b"\\n")
'''

PYWSGI = """
import greenhttp.patch
from greenhttp.pywsgi import WSGIServer
from web import app
WSGIServer("unix:s", app).serve_forever()
"""

STREAM = """
import greenhttp.patch
from greenhttp import serve_stream
from web import handler
serve_stream(handler, bind="unix:s")
"""

SERVERS = {
    "alone": ("-m", "greenhttp", "-b", "unix:s", "web:app"),
    "supervised": ("-m", "greenhttp", "-w", "1", "-b", "unix:s", "web:app"),
    "worker class": ("-m", "gunicorn", "-k", "greenhttp.gunicorn.Worker", "-b", "unix:s", "web:app"),
    "pywsgi": ("pywsgi_server.py",),
    "stream": ("stream_server.py",),
}


class Served(Process):
    """One of the servers, on a UNIX socket. What it logs is a file."""

    def __init__(self, directory, server="alone", app=APP):
        if server == "worker class":
            pytest.importorskip("gunicorn")
        self.directory = directory
        self.streams = server == "stream"
        for name, text in (("web.py", app), ("pywsgi_server.py", PYWSGI), ("stream_server.py", STREAM)):
            (directory / name).write_text(text)
        line = " ".join(f"'{word}'" for word in (sys.executable, *SERVERS[server]))
        super().__init__(directory, "-c", f"import os; os.execlp('sh', 'sh', '-c', \"exec {line} 2>log >out\")")
        self.eventually(lambda: self.ask("/pid"))

    def __exit__(self, *exc):
        self.touch("over")
        super().__exit__(*exc)

    def eventually(self, question):
        """The answer, once it is true."""
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                if answer := question():
                    return answer
            assert time.monotonic() < end, self.log()
            time.sleep(0.01)

    def log(self):
        return (self.directory / "log").read_text(errors="replace")

    def touch(self, name):
        (self.directory / name).touch()

    def lines(self, name):
        """Of a file that the application has written; empty if there is none."""
        path = self.directory / name
        return path.read_text().splitlines() if path.exists() else []

    def connect(self):
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(PATIENCE)
        try:
            peer.connect(str(self.directory / "s"))
        except BaseException:
            peer.close()
            raise
        return peer

    def refuses(self):
        """Whether nobody listens any more."""
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return True
        return False

    def send(self, peer, path):
        peer.sendall(f"{path}\n".encode() if self.streams else f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def answer(self, peer):
        """The number of the process that has answered."""
        data = b""
        while not (data.endswith(b"\n") if self.streams else data.partition(b"\r\n\r\n")[2]):
            piece = peer.recv(65536)
            assert piece, f"the connection ended with {data!r}: {self.log()}"
            data += piece
        return int(data.rpartition(b"\n")[2] or data)

    def ask(self, path):
        with self.connect() as peer:
            self.send(peer, path)
            return self.answer(peer)


def rest(peer):
    """What still comes until the end of the connection."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := peer.recv(65536):
            data += piece
    return data


def children(served):
    return {line.split()[0]: int(line.split()[1]) for line in served.lines("children")}


@pytest.mark.parametrize("server", SERVERS)
def test_a_forked_process_carries_on_nothing_of_its_parents_and_accepts_nobody(tmp_path, server):
    kinds = ("multiprocessing", "os", "pty", "gevent", "original", "preexec", "spawned", "thread", "lock")
    ways = ("sleep", "event", "socket", "lock")
    with Served(tmp_path, server) as served, contextlib.ExitStack() as opened:
        own = served.ask("/pid")
        idle = opened.enter_context(served.connect())
        served.send(idle, "/pid")
        assert served.answer(idle) == own
        locker = opened.enter_context(served.connect())
        served.send(locker, "/fork/lock")
        held = {way: opened.enter_context(served.connect()) for way in ways}
        for way, peer in held.items():
            served.send(peer, f"/hold/{way}")
            served.eventually(lambda way=way: served.lines(f"waits-{way}"))
        assert served.answer(locker) == own
        for kind in kinds[:-1]:
            assert served.ask(f"/fork/{kind}") == own  # the answer does not wait for the child
        served.eventually(lambda: len(children(served)) == len(kinds))
        served.touch("go")
        for peer in held.values():
            assert served.answer(peer) == own
        served.eventually(lambda: len(served.lines("turned")) + len(served.lines("wrong")) >= len(kinds))
        assert served.lines("wrong") == []
        assert sorted(served.lines("done")) == sorted(f"{way} {own}" for way in ways)
        assert {served.ask("/pid") for _ in range(20)} == {own}
        # The helpers outlive the server; nothing of it lives on in them.
        served.kill()
        with contextlib.suppress(ProcessLookupError):
            os.kill(own, signal.SIGKILL)
        for peer in (idle, *held.values()):
            assert rest(peer) == b""
        served.eventually(served.refuses)
        assert all(os.path.exists(f"/proc/{pid}") for pid in children(served).values())
        served.touch("end")
        for pid in children(served).values():
            served.eventually(lambda pid=pid: not os.path.exists(f"/proc/{pid}") or "Z" in stat(pid))


def stat(pid):
    """The state of a process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@pytest.mark.parametrize("server", SERVERS)
def test_one_that_comes_back_from_what_it_was_forked_in_is_ended(tmp_path, server):
    with Served(tmp_path, server) as served:
        own = served.ask("/pid")

        def logged(word, times=1):
            return served.eventually(lambda: served.log().count(word) >= times and served.log())

        came = "forked here, came back to the server and was ended"
        with served.connect() as peer:
            for path in ("/lost", "/failing", "/leaving", "/terminated", "/spawned", "/offloaded", "/deadlocked"):
                served.send(peer, path)
                assert served.answer(peer) == own
            if not served.streams:
                served.send(peer, "/generated")
                assert served.answer(peer) == own
            logged(came, 3 if served.streams else 4)
            logged("LookupError in process")
            served.eventually(lambda: served.lines("terminated") and served.lines("deadlocked"))
            served.eventually(lambda: living(own) == 0)
            served.send(peer, "/pid")
            assert served.answer(peer) == own  # and nothing else has come between
        text = served.log()
        assert served.lines("terminated") == [str(-signal.SIGTERM)]
        assert f"process {own} goes on" in text
        assert text.count("LookupError: no such shelf") == 1
        assert text.count("SystemExit") == 0
        assert "disconnected" not in text


def living(parent):
    """How many children of it have not ended."""
    count = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
            words = file.read().rpartition(")")[2].split()
            count += int(words[1]) == parent and words[0] != "Z"
    return count
