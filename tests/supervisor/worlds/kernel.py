"""The system a world runs on: clock, descriptors, signals, processes. Nothing real is touched; time is a number.

Two times. `now` is that of the world, in which processes act. `clock()` is what the clock reads: it may stand still,
tick slowly, or leap while nobody runs. Each system call of the master costs `tick` seconds, and before its effect
whatever is due by then happens: this is how a signal or a death comes between any two calls.
"""

import errno
import heapq
import itertools
import math
import signal
from collections import Counter

from tests.supervisor.worlds.process import Process, Worker

PID = 50  # of the supervisor
MOST_CALLS = 200_000  # a master that makes more turns for ever
SMALL = 3.0  # seconds; less than that nobody notices to have been asleep
CALM_TICK = 2e-5


class Gone(BaseException):
    """The program that ran has been replaced or has ended: none of its calls has an effect any more."""


class Pipe:
    """Bytes on their way. `writers` counts descriptors to write to, of all processes."""

    def __init__(self, owner=None):
        self.data, self.writers, self.owner, self.flood_until = bytearray(), 1, owner, -1.0


class Memory:
    """A worker's board."""

    def __init__(self, entries):
        self.entries, self.owner = entries, None


class Kernel:
    """Arguments:
    script: see script.Script.
    judge: model.Judge; it is told what can be seen.
    """

    def __init__(self, script, judge, trace=None):
        self.script, self.judge, self.trace = script, judge, trace
        self.ways = script.ways
        self.now = 0.0
        self.tick = self.ways["tick"]
        self.slowest = max([self.tick, *(words[0] for _, what, *words in script.items if what == "tick")])
        self.since, self.reading, self.rate = 0.0, 1000.0, 1.0  # of the clock: reads `reading` at `since`
        self.history = [(0.0, 1000.0, 1.0, 0.0)]
        self.leapt = 0.0  # by how much the clock has leapt in all
        self.blur = 0.0  # of which, with short absences of the master, nobody can know
        self.absent = 0.0  # how long the master alone has been kept from running
        self.stalled = False
        self.noticed = 0.0  # of which it can know
        self.absences = 0  # of either kind
        self.heap, self.order = [], itertools.count()
        self.fds = {0: ("std", None), 1: ("std", None), 2: ("std", None)}
        self.inheritable = set()
        self.processes = {}  # by number: all that are not reaped
        self.next_pid = 100
        self.handlers, self.mask, self.pending, self.wake = {}, set(), set(), None
        self.settled = set()  # signals that change nothing any more
        self.bare = False  # a program has replaced another and has no handlers yet
        self.environ = {}
        self.calls, self.counts = 0, Counter()
        self.over = self.calm = False
        self.spurious = 0
        self.limited_until = -1.0  # no descriptor can be had, and poll refuses those there are
        self.places = set()
        self.last_pipe = self.last_board = None
        self.births = self.forks = self.checks = self.tries = self.execs = self.rereads = self.logs = 0
        self.attempt = False  # whether a worker is being made
        self.queued = False  # whether a connection waits that nobody has accepted
        self.settings = None  # of the program and of the workers it makes
        self.moments = {}
        for when, *action in script.items:
            if isinstance(when, tuple):
                self.moments.setdefault(when, []).append(action)
            elif when is not None:
                self.at(when, lambda action=action: self.act(*action), adverse=True)

    # ---- time

    def clock(self):
        return self.reading + (self.now - self.since) * self.rate

    def awake(self):
        """What the clock would read if it had never leapt."""
        return self.clock() - self.leapt

    def read_at(self, when):
        """What the clock read at that moment of the world."""
        return self._at(when)[0]

    def awake_at(self, when):
        """What it would have read without its leaps."""
        reading, leapt = self._at(when)
        return reading - leapt

    def _at(self, when):
        since, reading, rate, leapt = next(entry for entry in reversed(self.history) if entry[0] <= when)
        return reading + (when - since) * rate, leapt

    def _set(self, reading, rate):
        self.since, self.reading, self.rate = self.now, reading, rate
        self.history.append((self.now, reading, rate, self.leapt))

    def at(self, when, call, process=None, adverse=False):
        """Let that happen then, unless the process has ended, or it is adverse and there is peace by then."""
        heapq.heappush(self.heap, (when, next(self.order), process, adverse, call))

    def run(self, until):
        """All that happens up to that moment."""
        while self.heap and self.heap[0][0] <= until:
            when, _, process, adverse, call = heapq.heappop(self.heap)
            self.now = max(self.now, when)
            if (adverse and self.calm) or (process is not None and process.dead):
                continue
            if process is not None and self.now < process.held_until:
                if process.held_until < math.inf:
                    self.at(process.held_until, call, process, adverse)
                else:
                    process.put_off.append((call, adverse))
                continue
            call()
        self.now = max(self.now, until)

    def call(self, name, *words):
        """The master makes this system call."""
        if self.over:
            raise Gone
        self.calls += 1
        self.counts[name] += 1
        if self.calls > MOST_CALLS:
            self.judge.wrong("turns for ever", f"more than {MOST_CALLS} system calls")
        self.run(self.now + self.tick)
        if not self.calm:
            for action in self.moments.pop((name, self.counts[name]), ()):
                self.act(*action)
        self.say(f"{name}({', '.join(map(str, words))})")

    def say(self, text):
        if self.trace is not None:
            self.trace(f"{self.now:10.4f} {self.clock():10.4f}  {text}")

    # ---- adversities

    def act(self, what, *words):
        """See script.KINDS."""
        self.say(f"* {what} {' '.join(map(str, words))}")
        getattr(self, f"act_{what}")(*words)

    def act_signal(self, name):
        self.deliver(signal.Signals[f"SIG{name}"])

    def act_leap(self, seconds):
        """Nobody runs, and the clock goes on: a machine that was asleep, a container that was frozen."""
        self.leapt += seconds
        self.absences += 1
        self.blur += seconds if seconds < SMALL else 0.0
        self._set(self.clock() + seconds, self.rate)

    def act_stall(self, seconds):
        """The master alone does not run."""
        if self.stalled:
            return  # it does not run anyway
        self.stalled = True
        self.absences += 1
        clock, awake = self.clock(), self.awake()
        self.run(self.now + seconds)
        self.stalled = False
        self.absent += self.awake() - awake
        self.noticed += self.awake() - awake if self.clock() - clock >= SMALL else 0.0

    def act_clock(self, rate, seconds):
        self._set(self.clock(), rate)
        self.at(self.now + seconds, lambda: self._set(self.clock(), 1.0))

    def act_tick(self, seconds, duration):
        self.tick = seconds
        self.at(self.now + duration, lambda: setattr(self, "tick", self.ways["tick"]))

    def act_spurious(self, times):
        self.spurious = times

    def act_connect(self):
        """A client comes; whoever accepts takes it at once."""
        living = [p for p in self.processes.values() if p.kind == "worker" and not p.dead]
        listening = any(kind == "listener" for kind, _ in self.fds.values())
        if listening and not any(process.state in ("armed", "serving") for process in living):
            self.queued = True

    def act_limit(self, seconds):
        """Somebody lowers RLIMIT_NOFILE under what is open."""
        self.limited_until = self.now + seconds

    @property
    def limited(self):
        return self.now < self.limited_until

    def act_orphan(self, status):
        self.spawn(Process(self, "orphan")).die(status)

    def act_worker(self, which, what, *words):
        """Something happens to one of the workers that live."""
        living = [p for p in self.processes.values() if p.kind == "worker" and not p.dead]
        if living:
            getattr(living[which % len(living)], what)(*words)

    def act_log(self):
        """The process that writes the log dies."""
        for process in [p for p in self.processes.values() if p.kind == "log" and not p.dead]:
            process.die(9)

    def act_watcher(self, what):
        for process in [p for p in self.processes.values() if p.kind == "watcher" and not p.dead]:
            if what == "dies":
                process.die(1 << 8)
            else:
                process.pipe.data += b"shop.py\n"

    def rest(self):
        """From now on nothing adverse happens; what has happened has its consequences."""
        self.calm = True
        self.tick, self.spurious, self.limited_until = CALM_TICK, 0, -1.0
        self._set(self.clock(), 1.0)
        for process in self.processes.values():
            if process.kind == "worker" and not process.patience and self.now < process.held_until:
                process.held_until = self.now  # nobody would ever end that
                for call, adverse in process.put_off:
                    self.at(self.now, call, process, adverse)
                process.resume()

    def decided(self, what, n, *default):
        """What the script has decided of the n-th of these."""
        words = None if self.calm else self.script.nth(what, n)
        return default if words is None else words

    def fork_fails(self, where):
        if self.attempt and (self.decided("fork", self.forks) == [where] or self.limited and where != "fork"):
            self.attempt = False
            self.judge.fork_failed()
            raise OSError(errno.EAGAIN, "no more of that")

    def reread(self):
        """The settings are read anew; None: they cannot be used."""
        self.call("reread")
        self.rereads += 1
        (change,) = self.decided("reread", self.rereads, {})
        good = change is not None and "bind" not in change and not self.limited
        if good:
            self.settings = self.settings.replace(**change)
        self.judge.reread(good, self.settings)
        if self.limited:
            raise OSError(errno.EMFILE, "no descriptor")
        return None if change is None else self.settings.replace(**change)

    # ---- descriptors

    def open(self, kind, what):
        fd = next(fd for fd in itertools.count(3) if fd not in self.fds)
        self.fds[fd] = (kind, what)
        return fd

    def close(self, fd):
        if fd not in self.fds:
            self.judge.wrong("descriptors", f"closes {fd}, which is not open")
        kind, what = self.fds.pop(fd)
        self.inheritable.discard(fd)
        if kind == "w":
            what.writers -= 1
        if kind == "r" and what.owner is not None and what.owner.kind == "worker" and not self.over:
            self.judge.closed(what.owner, bytes(what.data))

    def readable(self, fd):
        kind, what = self.fds.get(fd, ("none", None))
        if kind == "listener":
            return self.queued
        return kind == "none" or kind == "r" and bool(what.data or not what.writers or what.flood_until > self.now)

    def read(self, fd, size):
        pipe = self.fds[fd][1]
        if pipe.flood_until > self.now:
            self.run(self.now + 0.002)
            pipe.data += b"x" * 60 + b"\n"
        if not pipe.data:
            if pipe.writers:
                raise BlockingIOError(errno.EAGAIN, "nothing there")
            return b""
        data = bytes(pipe.data[:size])
        del pipe.data[:size]
        if pipe.owner is not None and pipe.owner.kind == "worker":
            self.judge.heard(pipe.owner, data)
        return data

    # ---- signals to the master

    def deliver(self, number):
        """A signal for the master has been sent."""
        if number in self.mask:
            self.pending.add(number)
        elif number in self.handlers:
            self.judge.arrived(number)
            if self.wake is not None:
                self.wake.data.append(number)
            self.handlers[number](number, None)
        elif self.bare:
            self.judge.wrong("signals", f"{number.name} ends the supervisor between two programs")

    def set_mask(self, mask):
        before, self.mask = self.mask, set(mask)
        for number in sorted(self.pending - self.mask):
            self.pending.discard(number)
            self.deliver(number)
        return before

    # ---- processes

    def spawn(self, process):
        if self.ways["reuse"]:
            process.pid = next(pid for pid in itertools.count(100) if pid not in self.processes)
        else:
            process.pid, self.next_pid = self.next_pid, self.next_pid + 1
        self.processes[process.pid] = process
        return process

    def fork(self):
        """A worker, which has what was made last: a pipe and a board."""
        self.births, self.attempt = self.births + 1, False
        worker = self.spawn(Worker(self, self.births, self.last_pipe, self.last_board))
        self.last_pipe.owner = self.last_board.owner = worker
        self.last_pipe.writers += 1
        worker.begin()
        self.judge.forked(worker)
        return worker.pid

    def kill(self, pid, number):
        number = signal.Signals(number)
        if pid == PID:
            self.judge.sent_to_itself(number)
            self.deliver(number)
            return
        self.judge.told(pid, number)
        if pid not in self.processes:
            raise ProcessLookupError(errno.ESRCH, "no such process")
        self.processes[pid].signal(number)

    def wait(self):
        if not self.processes:
            raise ChildProcessError(errno.ECHILD, "no child")
        dead = [process for process in self.processes.values() if process.dead]
        if not dead:
            return 0, 0
        process = min(dead, key=lambda process: process.died)
        del self.processes[process.pid]
        self.judge.reaped(process)
        return process.pid, process.status

    def exec(self):
        """Another program takes this one's place: what may not be inherited is closed."""
        self.execs += 1
        for fd in [fd for fd in self.fds if fd > 2 and fd not in self.inheritable]:
            self.close(fd)
            self.judge.count("closed at exec")
        for process in [p for p in self.processes.values() if p.kind == "log"]:
            process.kind = "orphan"  # it ends with the last who writes into the old pipe
            self.at(self.now + 0.1, lambda process=process: process.die(0), process)
        self.handlers, self.bare, self.wake, self.places = {}, True, None, set()
        self.environ = dict(self.environ)
        self.over = True
