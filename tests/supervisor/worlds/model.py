"""What must hold. A judge beside the system calls sees what the master does and what it is told, not what it thinks.

It shares no code with the supervisor. What a worker has said it reads once more from the bytes that the master reads;
what a signal means it counts itself; when a time-out is over it knows from the world. Where the master may have
decided a moment before it acted, the moment is that of its last poll.

Long, but one thing: all rules look at the same workers and the same turn of the master.
"""

import json
import math
import os
import re
import signal
from dataclasses import dataclass, field

from tests.supervisor.worlds.kernel import Gone
from tests.supervisor.worlds.script import SIGNALS

GRACE = 5.0  # seconds beyond graceful_timeout until a worker is killed
PAUSE = 0.5  # seconds at least between failed attempts
GIVE_UP = 5  # failed attempts in a row, while none serves
SETTLED = 1.0  # seconds after which a worker, or a generation, counts as a success
STEADY = 30.0  # seconds after which the death of a worker is no part of a crash loop
SLACK = 3.0  # seconds that the master may be late
DEATH = re.compile(r"worker (\d+) (died(?! right after)|could not be started)")


@dataclass
class Seen:
    """A worker, as far as the master can know it. Moments are those of `Kernel.awake`."""

    number: int
    process: object
    born: float
    generation: int
    graceful: float
    patience: float
    decided: int = 0  # its start was decided between these two moments of `Judge.order`
    forked: int = 0
    unclear: bool = False  # whether it was decided before a reload of the same turn, or behind it
    unread: bytes = b""
    ready: float | None = None
    ready_running: float = 0.0  # the same, without the time that the master was kept from running
    order: signal.Signals | None = None  # the last one it was given
    ordered: float = 0.0
    left: bool = False  # it has said that it drains
    perhaps: bool = False  # it has settled, perhaps; surely
    surely: bool = False
    steady: bool = False  # it has served for long, perhaps; surely
    long: bool = False
    before: int = 0  # failures that had been counted by then
    leaving: bool = False  # that it has asked to be replaced is no news any more
    tired: bool = False  # it must be replaced
    vain: bool = False  # in vain
    code: int | None = None  # that it has said its failure should have

    @property
    def free(self):
        return self.order is None and not self.left

    @property
    def serving(self):
        return self.ready is not None and self.free

    @property
    def starting(self):
        return self.ready is None and self.free


@dataclass
class Judge:
    """Arguments:
    ways: of the script.
    """

    ways: dict
    kernel: object = None
    failure: tuple[str, str] | None = None
    workers: dict[int, Seen] = field(default_factory=dict)  # by the id of the process
    number: int = 0
    wanted: int = 0
    low: int = 0  # the least and the most that was wanted since the last poll
    high: int = 0
    lost: int = 0  # who served at the last poll and does not since
    generation: int = 1
    proven: int = 0  # the newest generation of which one has settled for sure; perhaps
    perhaps: int = 0
    served: int = 0  # whether anybody has: 0 no, 1 perhaps, 2 yes
    order: int = 0  # counts starts and failures
    order_polled: int = 0  # what it was at the last poll
    first_surely: int = 0  # when an attempt failed last: for sure; perhaps
    first_perhaps: int = 0
    undone: int = 0  # when a reload was undone last
    crashes: int = 0  # attempts in a row whose workers have served, but not for long: for sure
    failures: int = 0  # attempts in a row that have failed for sure
    counted: int = 0  # all that may have failed
    forgotten: int = 0  # so many of them are not in a row with those that follow
    failed_at: float | None = None
    stopping: str = ""  # stop, quick, broken; "given up" is allowed and not certain
    codes: set[int] = field(default_factory=set)  # that it may end with
    stopped: float = 0.0
    vain_at: float | None = None  # when the first asked in vain, or the last successor of one that did has started
    waited: bool = False  # whether connections waited at the end
    tried: bool = False  # whether one was to answer them, and could not start or has died
    quick: int = 0
    signals: list = field(default_factory=list)  # that have come and are not handled
    due: int = 0  # so many of them had come when the last poll returned
    handled: bool = False  # one since then
    started: bool = False  # somebody may have been told to start since then, since one has died or spoken
    reloaded: bool = False  # since then
    speaker: object = None  # the last worker that has said something since then
    expected: list = field(default_factory=list)  # lines that must be logged before the next poll: pattern, reason
    told_of: set = field(default_factory=set)  # numbers of workers whose death was logged
    dead: dict = field(default_factory=dict)  # those that are reaped, by number
    texts: list = field(default_factory=list)
    checked: int | None = None  # the status of the last check
    systemd: str = ""
    alive: float = 0.0  # when systemd heard of it last
    alive_absent: float = 0.0
    polled: float = 0.0
    polled_at: float = 0.0
    polled_absent: float = 0.0
    polled_clock: float = 0.0
    polled_noticed: float = 0.0
    woken: float = 0.0
    reaped_at: float = math.inf  # the last one since then, on the world's time
    decided_at: float = math.inf  # by a signal or reload since then, on the world's time
    stopped_absent: float = 0.0
    stopped_absences: int = 0
    events: dict = field(default_factory=dict)  # how often what happened, for the README

    # ---- help

    def wrong(self, rule, text):
        if self.failure is None:
            self.failure = rule, text
        self.kernel.over = True
        raise Gone

    def begin(self, kernel):
        self.kernel = kernel
        self.wanted = self.low = self.high = kernel.settings.workers
        self.polled = self.alive = kernel.awake()

    @property
    def now(self):
        return self.kernel.awake()

    def decided(self):
        """When that which happens now may have been decided at the earliest."""
        return self.polled + self.kernel.noticed - self.polled_noticed

    def over(self, since, seconds):
        """Whether so much time has passed, for all that anybody can know."""
        return self.now - since >= seconds - self.kernel.blur - 1e-6

    def some(self, what):
        return [seen for seen in self.workers.values() if getattr(seen, what)]

    def expect(self, pattern, reason):
        self.expected.append((re.compile(pattern), reason))

    def want(self, count):
        self.wanted = count
        self.low, self.high = min(self.low, count), max(self.high, count)

    def settled(self, seen, surely):
        if surely:  # a tick has seen it; each absence may have cost it more than a second
            running = self.polled_at - self.polled_absent - seen.ready_running
            return running >= self.settling + 0.1 + 1.5 * self.kernel.absences
        return self.over(seen.ready, self.settling)

    def prove(self):
        """Of each generation of which one has served for long enough, this is known."""
        for seen in self.some("serving"):
            if not seen.perhaps and self.settled(seen, False):
                seen.perhaps, seen.before, self.failures = True, self.counted, 0
                self.perhaps = max(self.perhaps, seen.generation)
            if not seen.long and self.over(seen.ready, STEADY - SLACK):  # a tick sees it about then, or has seen it
                seen.steady, seen.long, self.crashes = True, self.over(seen.ready, STEADY + SLACK), 0
            if not seen.surely and self.settled(seen, True):
                seen.surely = True
                self.forgotten = max(self.forgotten, seen.before)  # later failures may have been counted anew
                self.proven = max(self.proven, seen.generation)

    @property
    def settling(self):
        return 0.0 if self.ways["reload"] else SETTLED

    # ---- the poll

    def looks(self):
        """The master has done all that it wanted to do, and is going to wait."""
        kernel = self.kernel
        self.polled_at, self.polled_absent = self.now, kernel.absent
        self.prove()
        for _, reason in self.expected:
            self.wrong("the log", reason)
        if self.due:
            self.wrong("signals", f"{self.signals[0][0].name} has come and is not handled")
        if kernel.mask:
            self.wrong("signals", f"{sorted(kernel.mask)} are blocked while it waits")
        if zombies := [p for p in kernel.processes.values() if p.dead and p.died[0] < self.woken]:
            self.wrong("reaping", f"{zombies[0].kind} {zombies[0].pid} is dead and was not waited for")
        for check in [p for p in kernel.processes.values() if p.kind == "check" and not p.dead]:
            self.hurried(check)
        listeners = sum(kind == "listener" for kind, _ in kernel.fds.values())
        pipes = sum(kind in "rw" for kind, _ in kernel.fds.values())
        boards = sum(kind == "board" for kind, _ in kernel.fds.values())
        watchers = sum(p.kind == "watcher" for k, p in ((k, w.owner) for k, w in kernel.fds.values() if k == "r") if p)
        if (pipes - watchers, boards) != (4 + len(self.workers), len(self.workers)) or listeners > 1:
            self.wrong("descriptors", f"{pipes} ends of pipes and {boards} boards of {len(self.workers)} workers,"
                       f" {listeners} listeners")  # fmt: skip
        if self.ends:
            graceful = max((seen.graceful for seen in self.workers.values()), default=0.0)
            bound = self.stopped + GRACE + SLACK + self.ways["slow_death"] + 50 * kernel.slowest
            bound += graceful if self.stopping == "stop" else 0.0
            if self.now > bound + kernel.absent - self.stopped_absent + 1.5 * (kernel.absences - self.stopped_absences):
                self.wrong("the end", f"{len(self.workers)} workers are left long after the {self.stopping}")

    def hurried(self, check):
        """A check that takes longer than a start may is ended."""
        late = self.kernel.absent + 1.5 * self.kernel.absences + 100 * self.kernel.slowest
        seconds = self.now - check.begun
        if seconds > max(self.ways["boot"], self.kernel.settings.boot_timeout) + SLACK + late:
            self.wrong("upgrade", f"a check runs for {seconds:.0f} s")

    def looked(self):
        kernel = self.kernel
        self.woken = kernel.now
        self.polled, self.polled_clock, self.polled_noticed = self.now, kernel.clock(), kernel.noticed
        self.due, self.order_polled = len(self.signals), self.order
        self.low = self.high = self.wanted
        self.lost, self.handled, self.started, self.reloaded, self.speaker = 0, False, False, False, None
        self.decided_at = self.reaped_at = math.inf

    # ---- signals

    def arrived(self, number):
        if number != signal.SIGCHLD:
            self.signals.append((number, self.now, self.kernel.absent))

    def sent_to_itself(self, number):
        self._forget(number)
        self.due = 0

    def _forget(self, number):
        """The first of that kind."""
        found = [name for name, *_ in self.signals]
        if number in found:
            del self.signals[found.index(number)]

    def handles(self, number):
        """The master asks who has sent it: from now on it counts."""
        if number not in [name for name, *_ in self.signals]:
            self.wrong("signals", f"{number.name} is handled and has not come")
        came, absent = next(words for name, *words in self.signals if name == number)
        self._forget(number)
        self.due, self.handled = max(0, self.due - 1), True
        late = self.now - came - (self.kernel.absent - absent)
        if late > SLACK + 200 * self.kernel.slowest:
            self.wrong("signals", f"{number.name} is handled after {late:.1f} s")
        self.count(number.name)
        if number != signal.SIGHUP:  # which decides when the settings have been read
            self.decided_at = min(self.decided_at, self.kernel.now)
        if number == signal.SIGTERM and not self.ends:
            self.stop("stop" if self.kernel.settings.graceful_timeout else "quick", 0)
        elif number in (signal.SIGINT, signal.SIGQUIT):
            self.quick += 1
            self.stop("quick", 0)
        elif not self.ends:
            if number in (signal.SIGTTIN, signal.SIGTTOU):
                self.want(max(1, self.wanted + (1 if number == signal.SIGTTIN else -1)))
            elif number == signal.SIGWINCH and not self.ways["terminal"]:
                self.want(0)

    @property
    def ends(self):
        """Whether all ends for sure."""
        return self.stopping in ("stop", "quick", "broken")

    def stop(self, how, code):
        if not self.ends:
            self.codes = {code} | (self.codes if self.stopping else set())
        if self.stopping != how:
            self.stopping, self.stopped = how, self.now
            self.stopped_absent, self.stopped_absences = self.kernel.absent, self.kernel.absences
            self.waited = self.kernel.queued

    def count(self, what):
        self.events[what] = self.events.get(what, 0) + 1

    def unlistened(self):
        """The master closes its listener. What waits is taken by who has it too, and may go on."""
        there = self.some("free") or self.tried
        if self.stopping == "stop" and self.waited and self.kernel.queued and not there:
            self.wrong("the end", "a connection waits, and nobody is left who could answer it")

    # ---- making workers

    def forking(self, number):
        if number <= self.number:
            self.wrong("numbers", f"worker {number} follows {self.number}")
        self.number = number

    def fork_failed(self):
        self.count("fork failed")
        self.tried = self.tried or self.ends
        self.order += 1
        self.failed(self.generation, None, False, not self.reloaded, self.order_polled, self.order)

    def forked(self, process):
        settings = self.kernel.settings
        self.count("fork")
        if self.stopping == "given up":  # it could have, and has not
            self.stopping = ""
        self.order += 1
        seen = Seen(self.number, process, self.decided(), self.generation, settings.graceful_timeout, settings.timeout,
                    self.order_polled, self.order, self.reloaded)  # fmt: skip
        self.workers[id(process)] = seen
        if self.ends:
            self.waited = self.waited or self.kernel.queued
            # One that was started without such time would leave without a look at what waits.
            others = [one for one in self.some("free") if one is not seen and one.graceful]
            if self.stopping != "stop" or not self.waited or others:
                self.wrong("too many", f"worker {seen.number} starts although all ends")
            return
        starting, serving = len(self.some("starting")), len(self.some("serving"))
        if starting > max(0, self.high - serving) + 1 or not self.high:
            self.wrong("too many", f"{starting} start and {serving} serve, {self.high} are wanted")
        self.succeeds(seen)
        before = self.failed_at is not None and self.failed_at < self.polled_clock  # else decided together
        if before and self.kernel.clock() < self.failed_at + PAUSE - self.kernel.blur - 1e-6:
            seconds = self.kernel.clock() - self.failed_at
            self.wrong("pauses", f"worker {seen.number} starts {seconds:.3f} s after a failure")

    def succeeds(self, seen):
        """Whether it is the successor of those that have asked in vain: it has not come at once."""
        serving = self.some("serving")
        tired = [one for one in serving if one.tired]
        needed = len(serving) < self.high or self.lost or len(self.some("starting")) > 1
        old = any(one.generation < self.generation for one in serving)
        if needed or old or not tired or not all(one.vain for one in tired):
            return
        if self.handled or self.kernel.execs or any(one.unclear for one in (seen, *serving)):
            # an upgrade has forgotten the pauses; else it may be: then nobody knows how long the next one has to wait
            self.vain_at = -math.inf
            return
        seconds = math.inf if self.vain_at is None else self.kernel.clock() - self.vain_at
        if seconds < PAUSE - self.kernel.blur - 1e-6:
            self.wrong("pauses", f"worker {seen.number} follows one that asked in vain after {seconds:.3f} s")
        self.vain_at = self.polled_clock
        self.count("successor of one that asked in vain")

    def first(self, decided, forked, surely):
        """Whether who was started then is the first of its attempt that comes to nothing: no, perhaps, yes.

        An attempt are all whose start was decided before one of them failed.
        """
        self.order += 1
        if forked < self.first_surely:
            return "no"
        surely = surely and decided >= self.first_perhaps
        self.first_perhaps = self.order
        if surely:
            self.first_surely = self.order
        return "yes" if surely else "perhaps"

    def crashed(self, seen, surely):
        """It has served, but perhaps not for long."""
        if self.ends:
            return
        self.prove()
        running = self.polled_at - self.polled_absent - seen.ready_running
        if running >= STEADY + SLACK + 1.5 * self.kernel.absences:
            return
        first = self.first(seen.decided, seen.forked, surely and not seen.steady)
        if first == "no":
            return
        self.crashes = self.crashes + 1 if first == "yes" else 0
        if self.crashes > 1:
            self.failed_at = self.polled_clock
            self.count("pause in a crash loop")

    def failed(self, generation, code, booted, surely, decided, forked, who=None):
        """A start came to nothing. `code`: None where there could be no process, and there is no `who`."""
        if self.ends:
            return
        self.prove()
        self.vain_at = -math.inf  # if a reload is undone, those that asked before it are who they were
        older = [seen for seen in self.some("free") if seen.generation < generation]
        if generation == self.generation and self.proven < generation and older:
            unclear = self.perhaps >= generation
            self.decided_at = min(self.decided_at, self.reaped_at)
            for seen in self.some("serving"):
                failed = seen.generation == generation  # it is replaced without asking, and if it asks, that is no news
                seen.leaving = seen.leaving or failed or seen.unclear
                seen.tired = seen.tired or failed and not unclear and not seen.unclear
            for seen in older:
                seen.generation, seen.unclear = generation, seen.unclear or unclear
            self.proven = self.perhaps = generation
            self.failures, self.failed_at, self.handled = 0, None, True
            self.first_perhaps = self.order = self.order + 1
            if who is not None or not self.reloaded:  # else it may have been of the generation before
                self.undone = self.order
            self.counted += unclear
            self.count("reload undone")
            if self.served < 2 and who is not None and who.unclear:  # nobody was there whom it could be undone for
                self.stop("given up", code)
            return
        if generation == self.generation and self.proven < generation and any(s.unclear for s in self.some("free")):
            self.perhaps = self.proven = generation  # some may be older, and the reload undone
            surely = False
            for seen in self.some("serving"):
                seen.leaving = True
        alone = not self.handled
        self.handled = True  # others may have been told to leave because of that
        # Kept for the case that the new generation fails, unless it has failed already.
        if (generation < self.generation or who is not None and who.unclear) and not booted:
            self.order = self.first_perhaps = self.order + 1
            self.failures, self.counted = 0, self.counted + 1
            if (not alone or generation == self.generation) and self.served < 2:
                self.stop("given up", code)
            return
        limbo = any(seen.perhaps and not seen.surely for seen in self.some("serving"))
        first = self.first(decided, forked, surely)
        if not surely or booted or limbo:
            self.failures = 0
        elif first == "yes":
            self.failures += 1
        self.counted += first != "no"
        if first == "yes" and self.settling:
            self.failed_at = self.polled_clock
        if self.served < 2 and code is not None:
            self.stop("given up" if self.served or not surely else "broken", code)
        elif self.counted - self.forgotten >= GIVE_UP and not self.some("serving"):
            sure = self.failures >= GIVE_UP and first == "yes"
            sure = sure and code is not None  # else others of the attempt may not be forked yet
            starting = [seen for seen in self.some("starting") if seen is not who]
            if not starting or not alone:
                self.stop("broken" if sure and not starting else "given up", 3 if code is None else code)

    # ---- what workers say

    def heard(self, process, data):
        seen = self.workers[id(process)]
        *lines, seen.unread = (seen.unread + data).split(b"\n")
        for line in lines:
            try:
                word = json.loads(line)
            except (ValueError, RecursionError):
                continue
            self.word(seen, word)

    def word(self, seen, word):
        n = seen.number
        alone = not self.handled and self.speaker in (None, seen)  # or what others have said may have decided about it
        self.speaker = seen
        self.started = self.started or "leaving" in word
        if isinstance(word.get("ready"), list) and seen.ready is None:
            if seen.free and alone:
                lines = f"^worker {n} serves, process {seen.process.pid}$|^{word['ready'][0]}$"
                self.expect(lines, f"worker {n} has said that it is ready")
            if seen.free:
                self.started = True
                self.served = max(self.served, 1 if self.handled else 2)
                seen.ready, seen.ready_running = self.now, self.now - self.kernel.absent
        elif "leaving" in word and seen.serving and not seen.leaving and not self.ends:
            seen.leaving = seen.tired = True
            seen.vain = "vain" in word
            if seen.vain and self.vain_at is None:
                self.vain_at = self.polled_clock
            if alone:
                line = f"^worker {n} will be replaced: {word['leaving']}(; {word.get('vain')})?$"
                self.expect(line, f"worker {n} has asked to leave")
        elif "drains" in word and seen.free and (not self.ends or self.stopping == "stop"):
            self.prove()
            self.lost += seen.serving
            self.started = True
            seen.left, seen.ordered = True, self.now
            if alone and not self.ends and not seen.leaving:  # who has asked to leave may have been told to since
                self.expect(f"^worker {n} drains: {word['drains']}$", f"worker {n} has said that it drains")
        elif "failed" in word:
            seen.code = word["code"]
            self.texts.append(word["failed"])

    # ---- orders

    def told(self, pid, number):
        """The master sends a signal."""
        kernel = self.kernel
        process = kernel.processes.get(pid)
        if process is None:
            self.wrong("reaped", f"{number.name} is sent to {pid}, which is not there any more")
        if process.kind == "check" and not process.dead:
            self.hurried(process)
        if process.kind != "worker" or number == signal.SIGUSR1:
            return
        seen = self.workers[id(process)]
        self.count(number.name + " sent")
        if number == signal.SIGTERM:
            self.drained(seen)
        elif number == signal.SIGQUIT and self.stopping not in ("quick", "broken", "given up"):
            self.wrong("orders", f"worker {seen.number} has to leave at once")
        elif number == signal.SIGABRT and (seen.order in (signal.SIGTERM, signal.SIGQUIT) or seen.left):
            self.killed(seen)  # what follows: first it may say where it is
        elif number == signal.SIGABRT:
            self.silent(seen)
        elif number == signal.SIGKILL and seen.order != signal.SIGKILL:
            self.killed(seen)
        seen.order, seen.ordered = number, self.decided()

    def drained(self, seen):
        if seen.order is not None:
            self.wrong("orders", f"worker {seen.number} is told to drain, and was told {seen.order.name} before")
        if self.order_polled < self.undone < seen.forked:
            self.wrong("too many", f"worker {seen.number} starts although its reload is undone, and has to leave")
        free = self.some("free")
        oldest = seen.generation == min((one.generation for one in free), default=0)
        if oldest and not self.some("serving") and not self.lost and self.perhaps < self.generation:
            needed = len(free) <= self.low and not self.started and self.undone <= self.order_polled
            needed = needed and not any(one.unclear for one in free)
            if needed and not self.ends and self.checked != 0:
                self.wrong("too early", f"worker {seen.number} has to leave although nobody serves yet")
        serving = [one for one in self.some("free") if self.serves(one)]
        just = seen.process.said_at >= self.decided_at  # it was starting when that was decided
        self.prove()
        if seen.generation < self.generation <= self.perhaps and seen.process.said_at >= self.woken:
            just = True  # it is not needed any more, as far as anybody has heard by the last poll
        if seen in serving and not just and not self.ends:
            others = len(serving) - 1 + self.lost
            if others < self.low:
                self.wrong("too early", f"worker {seen.number} has to leave while {others} others serve of {self.low}")
            if seen.generation < self.generation and self.perhaps < self.generation and self.low and not self.handled:
                self.wrong("too early", f"worker {seen.number} has to leave before the new generation is proven")

    def serves(self, seen):
        """As far as the master knows, or could know: its word was there before that was decided."""
        there = seen.unread + bytes(seen.process.pipe.data)
        early = 0 <= seen.process.said_at < self.decided_at < math.inf
        return seen.ready is not None or early and re.search(rb'^{"ready": \[.*\]}$', there, re.M) is not None

    def silent(self, seen):
        beat = seen.process.last_beat(self.woken)
        if beat is None or not self.over(self.kernel.awake_at(beat), seen.patience) or not seen.patience:
            self.wrong("killed", f"worker {seen.number} does beat")

    def killed(self, seen):
        """It has its reason, and comes after its time-out."""
        if self.quick > 1:
            return
        if seen.order == signal.SIGABRT:
            fair = self.over(seen.ordered, 1.0)
        elif seen.order == signal.SIGQUIT:
            fair = self.over(seen.ordered, GRACE)
        elif seen.order == signal.SIGTERM or seen.left:
            fair = self.over(seen.ordered, seen.graceful + GRACE)
            fair = fair or self.stopping == "stop" and self.waited and self.over(self.stopped, seen.graceful + GRACE)
        elif (seen.ready is None or seen.ready >= self.polled) and self.stopping in ("quick", "broken", "given up"):
            fair = True
        elif seen.ready is None and self.stopping == "stop":
            fair = self.over(self.stopped, seen.graceful)
        elif seen.ready is None and self.over(seen.born, self.kernel.settings.boot_timeout):
            self.failed(seen.generation, 3, False, True, seen.decided, seen.forked, seen)
            fair = True
        else:
            fair = False
        if not fair:
            self.silent(seen)

    # ---- deaths

    def reaped(self, process):
        self.reaped_at = self.kernel.now
        if process.kind == "check":
            self.checked = process.status

    def closed(self, process, unread):
        """The master is done with a worker: it has been waited for, its last words have been read."""
        self.prove()
        seen = self.workers.pop(id(process))
        n = seen.number
        if process.pid in self.kernel.processes and self.kernel.processes[process.pid] is process:
            self.wrong("descriptors", f"the pipe of worker {n} is closed before its end")
        if unread:
            self.wrong("lost words", f"{unread[:60]} of worker {n}")
        self.count("death")
        self.dead[n] = seen
        self.tried = self.tried or self.ends and seen.free
        if not seen.free:
            return
        serving = seen.ready is not None
        self.lost += serving
        if not self.ends:
            quiet = not serving and seen.decided < self.first_perhaps  # one line for all of an attempt
            quiet = quiet or not serving and self.started  # or it was not needed any more
            if not self.handled and (process.status or not serving) and not quiet:
                self.due_death(seen)
            code = seen.code if seen.code is not None else 3
            surely, turned = not self.handled and not self.started, (seen.decided, seen.forked)
            if not serving:
                self.failed(seen.generation, code, False, surely, *turned, seen)
            elif not self.settled(seen, True):
                self.failed(seen.generation, 3, True, surely and not self.settled(seen, False), *turned, seen)
            else:
                self.crashed(seen, surely)
            if surely and self.first_surely == self.order:  # who starts in this turn: that was decided after it
                self.order_polled = self.order
                if self.failed_at == self.polled_clock:
                    self.failed_at -= 1e-9
            self.started = True

    def due_death(self, seen):
        """Unless all ends, the log names it, or gives its own words."""
        n = seen.number
        lines = f"worker {n} (died(?! right after)|could not|ended before)|the new generation failed|giving up"
        if seen.code is not None:
            lines += f"|birth {seen.process.birth} has failed"
        self.expect(lines, f"worker {n} has died and the log does not say so")

    # ---- settings, upgrades

    def reread(self, good, settings):
        if good:
            self.reloaded = True
            self.generation += 1
            self.failures, self.crashes, self.forgotten, self.vain_at = 0, 0, self.counted, None
            self.failed_at = None
            self.handled = True
            self.want(settings.workers)
            self.decided_at = min(self.decided_at, self.kernel.now)
        self.count("reload" if good else "reload refused")

    def replaced(self):
        """Another program takes over."""
        if self.signals:
            self.wrong("signals", f"{self.signals[0][0].name} has come and is lost in the upgrade")
        if self.checked != 0:
            self.wrong("upgrade", f"the check has not ended well: {self.checked}")
        if self.ends:
            self.wrong("upgrade", "although it stops")
        self.stopping = ""
        for _, reason in self.expected:
            self.wrong("the log", f"{reason}, and an upgrade comes before it is said")
        self.count("upgrade")
        for seen in self.some("serving"):
            seen.ready = seen.ready_running = -math.inf  # the new program takes it for settled
            seen.perhaps = seen.surely = True
            seen.vain = False  # it is only known that they have asked
        self.alive = self.now + 200 * self.kernel.slowest  # to begin takes many calls
        self.checked = None
        self.generation += 1
        self.failures, self.crashes, self.forgotten, self.vain_at = 0, 0, self.counted, None
        self.failed_at = None
        self.served = 2 if self.some("serving") else 0
        self.quick = 0
        self.want(self.kernel.settings.workers)
        self.low = 0
        self.decided_at = math.inf
        self.woken = -1.0  # the new program has not yet heard of any death
        self.stopped_absent = self.stopped_absences = 0

    # ---- lines

    def logged(self, level, line):
        self.expected = [(pattern, reason) for pattern, reason in self.expected if not pattern.search(line)]
        if (found := DEATH.match(line)) is not None:
            n = int(found[1])
            if n in self.told_of:
                self.wrong("the log", f"it tells twice of the end of worker {n}: {line}")
            self.told_of.add(n)
        for seen in self.workers.values():
            serves = line.startswith(f"worker {seen.number} serves") or line == f"worker of birth {seen.process.birth}"
            if serves and seen.order is not None:
                self.wrong("the log", f"worker {seen.number} was told to leave: {line}")
        found = re.match(r"worker (\d+) (died(?! right after)|ended before it was ready)", line)
        if found and int(found[1]) in self.dead:
            seen = self.dead[int(found[1])]
            if seen.ready is not None and found[2] == "ended before it was ready":
                self.wrong("the log", f"it had been ready: {line}")
            order, by = seen.order, os.waitstatus_to_exitcode(seen.process.status)
            if order is not None and by == -order and "as ordered" not in line:
                self.wrong("the log", f"{order.name} was the supervisor's own: {line}")
            if (order is None or by != -order) and "as ordered" in line:
                self.wrong("the log", f"nobody here has ordered that: {line}")

    def wrote(self, text):
        if text not in self.texts:
            self.wrong("lost words", f"it repeats what nobody has said: {text[:60]!r}")
        self.expected = [(pattern, reason) for pattern, reason in self.expected if not pattern.search(text)]

    def notified(self, lines):
        state = lines[0].partition("=")[0]
        if state == "WATCHDOG":
            late = self.now - self.alive - (self.kernel.absent - self.alive_absent)
            if late > 2 * self.ways["watchdog"] + SLACK + 200 * self.kernel.slowest:
                self.wrong("systemd", f"hears from it again after {late:.1f} s")
            self.alive, self.alive_absent = self.now, self.kernel.absent
        else:
            self.systemd = state

    # ---- in the end

    def recovered(self, renewed):
        """Adversity is over, and time enough has passed."""
        if self.ends:
            return
        now = self.kernel.now
        serving = [p for p in self.kernel.processes.values() if p.kind == "worker" and p.state == "serving"
                   and not p.dead and now >= p.held_until and self.workers[id(p)].free]  # fmt: skip
        others = len(self.workers) - len(serving)
        if len(serving) != self.wanted or others:
            states = [(seen.number, seen.process.state, seen.order, seen.left) for seen in self.workers.values()]
            self.wrong("recovery", f"{len(serving)} serve, {others} do not, {self.wanted} are wanted: {states}")
        if tired := [seen.number for seen in self.some("tired") if seen.free]:
            self.wrong("recovery", f"worker {tired[0]} has asked to be replaced long ago")
        if not any(p.kind == "log" and not p.dead for p in self.kernel.processes.values()):
            self.wrong("recovery", "nobody writes the log")
        if renewed and any(self.workers[id(p)].generation < self.generation for p in serving):
            self.wrong("recovery", "after a reload in peace workers of before serve")
        if self.systemd == "RELOADING":
            self.wrong("systemd", "waits for the end of a reload that is over")

    def forced(self, code):
        if self.quick < 2 or code != 1:
            self.wrong("the end", f"by force with {code}, after {self.quick} signals to end at once")

    def ended(self, code):
        if not self.stopping:
            self.wrong("the end", f"with {code}, without a reason")
        if deadly := [name for name in SIGNALS[:-1] if signal.Signals[f"SIG{name}"] not in self.kernel.settled]:
            self.wrong("signals", f"{deadly[0]} would end it in another way while it goes down")
        late = self.stopping == "given up" and code == 3  # the last of them was not ready in time
        if code not in self.codes and not late:
            self.wrong("the end", f"with {code} instead of {self.codes}, after: {self.stopping}")
        if self.workers:
            self.wrong("the end", f"{len(self.workers)} workers are not waited for")
        left = [kind for fd, (kind, _) in self.kernel.fds.items() if fd > 2 and kind not in ("r", "w")]
        pipes = [fd for fd, (kind, what) in self.kernel.fds.items() if kind in ("r", "w")]
        if left or len(pipes) > 2:
            self.wrong("descriptors", f"left in the end: {left} and {len(pipes)} ends of pipes")
        running = [p for p in self.kernel.processes.values() if not p.dead and p.kind != "orphan"]
        if running:
            self.wrong("the end", f"{running[0].kind} {running[0].pid} still runs")
