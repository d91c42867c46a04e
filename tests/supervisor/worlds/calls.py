"""The kernel under the names by which the supervisor's modules call the system. What is not here is an error."""

import contextlib
import errno
import math
import os
import signal
import types

from greenhttp.errors import ConfigError
from tests.supervisor.worlds.kernel import PID, Gone, Memory, Pipe
from tests.supervisor.worlds.process import Process


def failure(number):
    return OSError(number, os.strerror(number))


class System:
    """`os`, as far as master.py and takeover.py use it."""

    WNOHANG, O_RDONLY, O_NOCTTY = os.WNOHANG, os.O_RDONLY, os.O_NOCTTY
    waitstatus_to_exitcode = staticmethod(os.waitstatus_to_exitcode)

    def __init__(self, kernel):
        self.kernel = kernel
        self.environ = kernel.environ

    def getpid(self):
        return PID

    def getcwd(self):
        return "/srv"

    def chdir(self, path):
        self.kernel.call("chdir", path)

    def umask(self, mask):
        return 0o22

    def getpgrp(self):
        return PID

    def tcgetpgrp(self, fd):
        return PID

    def open(self, path, flags):
        self.kernel.call("open", path)
        if self.kernel.limited:
            raise failure(errno.EMFILE)
        if path != "/dev/tty" or not self.kernel.ways["terminal"]:
            raise failure(errno.ENXIO)
        return self.kernel.open("tty", None)

    def isatty(self, fd):
        return self.kernel.ways["terminal"]

    def set_blocking(self, fd, on):
        self.kernel.call("set_blocking", fd, on)

    def set_inheritable(self, fd, on):
        self.kernel.call("set_inheritable", fd, on)
        (self.kernel.inheritable.add if on else self.kernel.inheritable.discard)(fd)

    def pipe(self):
        kernel = self.kernel
        kernel.call("pipe")
        kernel.fork_fails("pipe")
        kernel.last_pipe = pipe = Pipe()
        return kernel.open("r", pipe), kernel.open("w", pipe)

    def read(self, fd, size):
        self.kernel.call("read", fd)
        return self.kernel.read(fd, size)

    def write(self, fd, data):
        self.kernel.call("write", fd, data)
        return len(data)

    def close(self, fd):
        self.kernel.call("close", fd)
        self.kernel.close(fd)

    def kill(self, pid, number):
        self.kernel.call("kill", pid, signal.Signals(number).name)
        self.kernel.kill(pid, number)

    def killpg(self, pid, number):
        self.kill(pid, number)

    def fork(self):
        self.kernel.call("fork")
        self.kernel.fork_fails("fork")
        return self.kernel.fork()

    def waitpid(self, pid, options):
        self.kernel.call("waitpid")
        return self.kernel.wait()

    def posix_spawn(self, path, command, environ, setpgroup):
        kernel = self.kernel
        kernel.call("posix_spawn")
        kernel.checks += 1
        status, seconds = kernel.decided("check", kernel.checks, 0, 0.5)
        if status is None:
            raise failure(errno.EAGAIN)
        check = kernel.spawn(Process(kernel, "check"))
        if seconds < math.inf:
            kernel.at(kernel.now + seconds, lambda: check.die(status << 8), check)
        return check.pid

    def execv(self, path, command):
        kernel = self.kernel
        kernel.call("execv")
        kernel.tries += 1
        if kernel.decided("exec", kernel.tries):
            raise failure(errno.ENOENT)
        kernel.judge.replaced()
        kernel.exec()
        raise Gone

    def _exit(self, code):
        self.kernel.call("_exit", code)
        self.kernel.judge.forced(code)
        self.kernel.over = True
        raise Gone


class Signals:
    """`signal`."""

    Signals = signal.Signals
    SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK = signal.SIG_BLOCK, signal.SIG_UNBLOCK, signal.SIG_SETMASK
    SIG_DFL = signal.SIG_DFL

    @staticmethod
    def valid_signals():
        return set(signal.Signals)

    def __init__(self, kernel):
        self.kernel = kernel

    def __getattr__(self, name):
        return signal.Signals[name]

    def signal(self, number, handler):
        self.kernel.call("signal", signal.Signals(number).name)
        before = self.kernel.handlers.get(number, signal.SIG_DFL)
        if handler is signal.SIG_DFL:
            self.kernel.handlers.pop(number, None)
        else:
            self.kernel.handlers[number] = handler
            self.kernel.bare = False
        return before

    def set_wakeup_fd(self, fd, warn_on_full_buffer=True):
        self.kernel.call("set_wakeup_fd", fd)
        self.kernel.wake = self.kernel.fds[fd][1] if fd >= 0 else None
        return -1

    def pthread_sigmask(self, how, numbers):
        kernel = self.kernel
        kernel.call("pthread_sigmask", how)
        numbers = {signal.Signals(number) for number in numbers}
        if how == signal.SIG_SETMASK:
            return kernel.set_mask(numbers)
        return kernel.set_mask(kernel.mask | numbers if how == signal.SIG_BLOCK else kernel.mask - numbers)


class Poll:
    """`select.poll()`."""

    def __init__(self, kernel):
        self.kernel, self.registered = kernel, {}

    def register(self, fd, events):
        self.kernel.call("register", fd)
        self.registered[fd] = events

    def unregister(self, fd):
        self.kernel.call("unregister", fd)
        del self.registered[fd]

    def poll(self, wait):
        kernel = self.kernel
        if wait == 0:  # a look at the listeners
            kernel.call("look")
            return [(fd, events) for fd, events in self.registered.items() if kernel.readable(fd)]
        if not kernel.over:
            kernel.judge.looks()
        kernel.call("poll", wait)
        if kernel.limited:
            raise failure(errno.EINVAL)
        until = math.inf if wait is None else kernel.clock() + math.ceil(wait) / 1000
        while True:
            if kernel.spurious:
                kernel.spurious -= 1
                ready = []
                break
            ready = [(fd, events) for fd, events in self.registered.items() if kernel.readable(fd)]
            if ready:
                break
            left = until - kernel.clock()
            if left <= 1e-9:
                break
            over = kernel.now + left / kernel.rate if kernel.rate else math.inf
            following = kernel.heap[0][0] if kernel.heap else math.inf
            if over == following == math.inf:
                kernel.judge.wrong("waits for ever", "nothing is left that could happen")
            kernel.run(min(over, following))
        kernel.say(f"  -> {[fd for fd, _ in ready]}")
        kernel.judge.looked()
        return ready


class Board:
    """`greenhttp.process.board.Board`."""

    def __init__(self, kernel, entries, fd=-1):
        self.kernel, self.entries = kernel, entries
        kernel.call("memory")
        if fd < 0:
            kernel.fork_fails("memory")
            kernel.last_board = Memory(entries)
            self.fd = kernel.open("board", kernel.last_board)
        else:
            self.fd = fd
        self.memory = kernel.fds[self.fd][1]

    def close(self):
        if self.fd >= 0:
            self.kernel.call("close", self.fd)
            self.kernel.close(self.fd)
            self.fd = -1

    @property
    def last_beat(self):
        when = self.memory.owner.last_beat()
        return 0.0 if when is None else self.kernel.read_at(when)

    @property
    def spoken(self):
        return self.memory.owner.spoken

    def listed(self):
        return []


class Loads:
    """`greenhttp.process.board.Loads`."""

    def __init__(self, kernel):
        self.places = kernel.places

    def take(self):
        place = next(place for place in range(1000) if place not in self.places)
        self.places.add(place)
        return place

    def give_back(self, place):
        self.places.discard(place)

    def silence(self, place):
        pass


class Listener:
    """A listening socket; `fileno` is all it is."""

    def __init__(self, kernel, fileno=None):
        self.kernel = kernel
        self.fd = kernel.open("listener", None) if fileno is None else fileno
        self.file = None

    def fileno(self):
        return self.fd

    def setblocking(self, on):
        pass

    def set_inheritable(self, on):
        self.kernel.inheritable.discard(self.fd)

    def close(self):
        self.kernel.call("close", self.fd)
        self.kernel.judge.unlistened()
        self.kernel.close(self.fd)


class Log:
    """A logger that tells the judge, and a stream that does."""

    def __init__(self, kernel):
        self.kernel = kernel

    def log(self, level, line, *words):
        self.kernel.say(f"  log: {line % words if words else line}")
        self.kernel.judge.logged(level, line % words if words else line)

    def info(self, line, *words):
        self.log(20, line, *words)

    def warning(self, line, *words):
        self.log(30, line, *words)

    def error(self, line, *words):
        self.log(40, line, *words)

    def critical(self, line, *words):
        self.log(50, line, *words)

    def write(self, text):
        self.kernel.say(f"  out: {text[:40]!r}")
        self.kernel.judge.wrote(text)

    def flush(self):
        pass

    def isatty(self):
        return False


def watcher(kernel):
    """`watch.start`."""
    kernel.call("pipe")
    if kernel.limited and kernel.births:
        raise failure(errno.EMFILE)
    process = kernel.spawn(Process(kernel, "watcher"))
    process.pipe = Pipe(process)
    return process.pid, kernel.open("r", process.pipe)


def sleep(kernel, seconds):
    """Where poll cannot be used. Signals do not end it."""
    kernel.call("sleep", seconds)
    kernel.run(kernel.now + seconds)
    kernel.judge.looked()


def listen(kernel, address):
    if address.port == 1:
        raise ConfigError("bind: the port is taken")
    return Listener(kernel)


def install(kernel, code):
    """Put these into the place of the real ones in one program's modules. See world.load for `code`."""
    master, takeover, watch = code.master, code.takeover, code.watch
    system, log = System(kernel), Log(kernel)
    for module in (master, takeover, watch, code.journal):
        module.os, module.signal = system, Signals(kernel)
    install_journal(kernel, code, system, log)
    takeover.sys = types.SimpleNamespace(executable="/usr/bin/python", orig_argv=["python", "-m", "greenhttp"])
    takeover.Listener = lambda fileno: Listener(kernel, fileno)
    master.fork, master.waitpid, master.kill = system.fork, system.waitpid, system.kill
    master.poll = lambda: Poll(kernel)
    master.monotonic = master.now = kernel.clock
    master.sleep = lambda seconds: sleep(kernel, seconds)
    master.Board = lambda entries, fd=-1: Board(kernel, entries, fd)
    master.Loads = lambda: Loads(kernel)
    master.listen = lambda address, *_: listen(kernel, address)
    master.is_lost = lambda *_: False
    master.close_listener = lambda sock, address: sock.close()
    master.sender = lambda number: kernel.judge.handles(signal.Signals(number))
    master.watch_senders = lambda numbers: None
    master.oom_counter = lambda: lambda: 0
    master.log = takeover.log = log
    master.endings = types.SimpleNamespace(settle=lambda numbers, code: kernel.settled.update(numbers))
    master.sys = types.SimpleNamespace(stdout=log, stderr=log)
    watch.check, watch.start = lambda _: None, lambda *_: watcher(kernel)
    master.system = types.SimpleNamespace(
        pid_file=_nothing, pipe=system.pipe, drop=lambda *_: None, inherited=lambda _: [],
        watchdog_period=lambda _: kernel.ways["watchdog"],
        notify=lambda _, *lines: kernel.judge.notified(lines),
    )  # fmt: skip

    class Hooked(code.hooked):
        def fork(self, number):
            kernel.forks, kernel.attempt = kernel.forks + 1, True
            kernel.judge.forking(number)
            return super().fork(number)

        def listens(self, listeners):
            self.server.address = []

    master.hooked = types.SimpleNamespace(Hooked=Hooked, read=lambda *_: {})


def install_journal(kernel, code, system, log):
    """The log's process, as supervisor/journal.py keeps it; its pipe and what it does are the kernel's."""
    master, journal = code.master, code.journal

    def fork():
        kernel.call("fork")
        kernel.logs += 1
        if kernel.decided("log", kernel.logs) == ["fork"]:
            raise failure(errno.EAGAIN)
        return kernel.spawn(Process(kernel, "log")).pid

    def wait(pid, options):
        process = kernel.processes[pid]
        if not process.dead:
            return 0, 0
        del kernel.processes[pid]
        return pid, process.status

    def end(pid):
        process = kernel.processes.get(pid)
        if process is not None and kernel.decided("log", kernel.logs) != ["stuck"]:
            kernel.at(kernel.now + 0.003, lambda: process.die(0), process)

    @contextlib.contextmanager
    def set_up(settings, make):
        keeper = make(types.SimpleNamespace(end=end, reopen=lambda: True), None, None)
        kernel.judge.keeper = keeper
        try:
            yield types.SimpleNamespace(keeper=keeper, elsewhere=False, path=None, reopen=keeper.reopen)
        finally:
            keeper.stop(1.0)

    journal.fork, journal.waitpid, journal.kill = fork, wait, system.kill
    journal.monotonic, journal.waits = kernel.clock, lambda seconds: kernel.run(kernel.now + seconds)
    journal.ready, journal.log = (lambda *_: True), log
    master.LogProcess = journal.LogProcess
    master.held = lambda pid: "it is stopped" if kernel.processes[pid].stopped else ""
    master.logs = types.SimpleNamespace(
        set_up=set_up, empty=lambda stream: None, say_kept=lambda: None, cry=log.info,
        announce=lambda line, *_, **__: log.info("%s", line),
        told=lambda text, line, starting: log.write(line),
    )  # fmt: skip


def _nothing(*_, **__):
    return contextlib.nullcontext([])
