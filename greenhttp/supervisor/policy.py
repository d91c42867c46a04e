"""What a supervisor decides, without doing any of it: events and the time go in, actions come out.

    policy = Policy(4, Limits())
    policy.begin(now)
    for action in policy.take(): ...    # Start, Tell, Say, Exit: carried out by master.py
    policy.ready(number, now)           # what has happened meanwhile
    policy.tick(now)                    # what has become due; `due()` says when to call it next

A worker's life, which it never walks back:

    STARTING -> SERVING -> DRAINING -> gone
        |          |           |
        +----------+-----------+--> KILLED -> gone

Who serves is *fresh*, or *outdated* when it belongs to an earlier generation or has asked to be replaced. Only when a
fresh one serves is an outdated one told to drain: there are never fewer than there should be, and one more while it
starts.

Failures are counted in *attempts*, whatever the number of workers: all that were started before one of them failed are
one attempt, and the first that fails counts for all. So eight workers that meet the same broken import are one failure.
Whoever takes the place of one that fails later belongs to the next attempt, and starts with it or at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

STOPPED, GAVE_UP = 0, 3  # exit codes
MOST = 1000  # workers


class State(Enum):
    """See the module."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    KILLED = "killed"


@dataclass(frozen=True)
class Limits:
    """Durations, in seconds.

    Attributes:
        boot: from the fork until a worker must be ready; 0: as long as it takes.
        graceful: for a worker to finish what it is doing; it cuts off the rest itself.
        grace: beyond that, until it is killed.
        settled: how long a worker must have served before it counts as a success, and the first of a new generation
            before the old one begins to leave.
        steady: how long a worker must have served so that its death is an accident, which is made good at once. Those
            that die sooner, one after the other, are a crash loop: from the second on there are pauses.
        first_pause, longest_pause: between failed attempts to start; doubled each time.
        longest_crash_pause: the same bound in a crash loop. Shorter: each of these workers has served, and will for a
            while; it may die of a request that somebody sends again and again.
        give_up: failed attempts to start in a row, with nobody serving, after which there is no hope.
    """

    boot: float = 300.0
    graceful: float = 30.0
    grace: float = 5.0
    settled: float = 1.0
    steady: float = 30.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    longest_crash_pause: float = 5.0
    give_up: int = 5


@dataclass
class Worker:
    """One worker process, as far as decisions need it.

    Attributes:
        number: counts workers from 1 on; never used twice.
        generation: counts reloads from 1 on.
        state: see the module.
        since: when it entered the state.
        graceful: seconds it may drain, by the settings it was started with.
        attempt: how many attempts had failed when it was started.
        settled: whether it has served long enough to count as a success.
        steady: whether it has served so long that it belongs to no crash loop.
        leaving: why it wants to be replaced, or "".
        vain: whether its successor will want the same at once.
        why: why it drains or was killed; "" while it serves.
    """

    number: int
    generation: int
    since: float
    graceful: float
    attempt: int = 0
    state: State = State.STARTING
    settled: bool = False
    steady: bool = False
    leaving: str = ""
    vain: bool = False
    why: str = ""


@dataclass(frozen=True)
class Start:
    """Fork a worker."""

    number: int
    generation: int


class Order(Enum):
    """What a worker is told."""

    DRAIN = "drain"  # finish, answer what arrives, leave
    QUIT = "quit"  # leave at once
    DUMP = "dump"  # say where you are; the kill follows
    KILL = "kill"


@dataclass(frozen=True)
class Tell:
    """Give a worker an order."""

    number: int
    order: Order


@dataclass(frozen=True)
class Say:
    """A line for the log."""

    level: str
    line: str


@dataclass(frozen=True)
class Settled:
    """What was begun is over, well or not: the start, or a reload. All that should serve do."""


@dataclass(frozen=True)
class Exit:
    """End, with this code; there are no workers any more."""

    code: int


Action = Start | Tell | Say | Settled | Exit


@dataclass
class Policy:
    """Arguments:
        target: workers that should serve.
        limits: durations and bounds.

    Attributes:
        workers: by number, all whose process has not gone.
        generation: the one that new workers belong to.
        last: the number of the newest worker.
    """

    target: int
    limits: Limits
    workers: dict[int, Worker] = field(default_factory=dict)
    generation: int = 1
    last: int = 0
    _actions: list[Action] = field(default_factory=list)
    _attempts: int = 0  # that have ever failed
    _failures: int = 0  # of these, the last in a row: nobody has settled since
    _boots: int = 0  # of these, the last in a row of which nobody was ever ready
    _last_attempt: bool = False  # there is none after it, unless one of those that start becomes ready
    _crashes: int = 0  # attempts in a row whose workers died before they were steady
    _reason: str = ""  # of the last attempt that failed
    _in_vain: int = 0  # since the last reload: 1 and the successors that were started for those that ask in vain
    _successor_at: float = 0.0  # when the next of these may start
    _busy: bool = True  # a start or a reload is not over
    _not_before: float = 0.0  # the next start
    _served: bool = False  # somebody has ever been ready
    _announced: int = 1  # the generation that was said to serve
    _proven: int = 0  # the newest generation of which one has settled
    _resting: int | None = None  # the target before `rest`
    _handing_over: bool = False
    _stopping: bool = False
    _quick: bool = False  # at once
    _ended: bool = False
    _code: int = STOPPED

    # ---- what the master asks

    def take(self) -> list[Action]:
        """The actions decided on since the last call, in order."""
        actions, self._actions = self._actions, []
        return actions

    def due(self) -> float | None:
        """When something will be due if nothing happens before, or None."""
        times = [self._deadline(worker) for worker in self.workers.values()]
        if not self._stopping and self._not_before:  # for who is missing, and for successors of the outdated
            times.append(self._not_before)
        if not self._stopping:
            times.append(self._successor_at)
        times += [w.since + self.limits.settled for w in self._in(State.SERVING) if not w.settled]
        if self._crashes:
            times += [w.since + self.limits.steady for w in self._in(State.SERVING) if not w.steady]
        return min((when for when in times if when), default=None)

    @property
    def serving(self) -> int:
        """How many serve."""
        return len(list(self._in(State.SERVING)))

    @property
    def stopping(self) -> bool:
        """Whether it all comes to an end."""
        return self._stopping

    # ---- what happens

    def begin(self, now: float) -> None:
        """Start the first generation."""
        self._reconcile(now)

    def adopt(self, number: int, generation: int, serving: bool, graceful: float, leaving: str, now: float) -> None:
        """A worker of the program this process was before, which serves, or drains."""
        self.last = max(self.last, number)
        if not serving:
            self.workers[number] = Worker(number, generation, now, graceful, state=State.DRAINING, why="outdated")
            return
        self.workers[number] = Worker(
            number, generation, now, graceful, state=State.SERVING, settled=True, steady=True, leaving=leaving
        )
        self._served = True
        self._proven = max(self._proven, generation)
        self.generation = self._announced = max(self.generation, generation)

    def ready(self, number: int, now: float) -> None:
        """A worker serves from now on."""
        worker = self.workers[number]
        if worker.state is State.STARTING:
            since, worker.state, worker.since = worker.since, State.SERVING, now
            self._served, self._last_attempt = True, False
            if self._stopping:  # it takes what waits, and leaves
                self._drain(worker, "stop", now)
                worker.since = since  # no more time than others have
            self._reconcile(now)

    def wants_out(self, number: int, why: str, now: float, vain: str = "") -> None:
        """A worker has done enough and asks to be replaced; it serves on until somebody takes its place.

        Arguments:
            vain: why its successor will ask for the same at once, or "". Those come after pauses that grow.
        """
        worker = self.workers[number]
        if worker.state is State.SERVING and not worker.leaving:
            worker.leaving, worker.vain = why, bool(vain)
            if vain and not self._in_vain:
                self._in_vain = 1
                self._successor_at = now + self.limits.first_pause
                self._say("warning", f"worker {number} will be replaced: {why}; {vain}")
            else:
                self._say("info", f"worker {number} will be replaced: {why}")
            self._reconcile(now)

    def drains(self, number: int, why: str, now: float, fault: bool = False) -> None:
        """A worker leaves already: somebody else has told it to.

        Arguments:
            fault: its application has. That counts as its death, so that those who do it at once come ever more slowly.
        """
        worker = self.workers[number]
        if worker.state in (State.STARTING, State.SERVING):
            self._say("warning", f"worker {number} drains: {why}")
            if fault and worker.state is State.SERVING:
                self._mature(now)
                del self.workers[number]  # what follows decides about the others
                self._lost(worker, now, None)
                self.workers[number] = worker
            worker.state, worker.since, worker.why = State.DRAINING, now, why
            self._reconcile(now)

    def hung(self, number: int, why: str, now: float) -> None:
        """A worker does not turn its loop any more."""
        worker = self.workers[number]
        if worker.state is not State.KILLED:
            self._say("error", f"worker {number} is hung: {why}; it is killed and replaced")
            self._kill(worker, why, now, dump=True)
            self._reconcile(now)

    def gone(self, number: int, how: str, now: float, code: int | None = GAVE_UP, done: bool = False) -> None:
        """A worker's process has ended.

        Arguments:
            how: for the log, like "exit code 1" or "killed by SIGSEGV".
            code: what this process should end with, if that was the end of the first attempt to start; None: there
                could be no process, which is not the application's fault. Then there are more attempts.
            done: it had finished its requests, and ended by itself.
        """
        worker = self.workers.pop(number)
        self._mature(now)
        if worker.state is State.STARTING:
            self._failed(worker, how, now, code)
        elif worker.state is State.SERVING:
            self._say("error", f"worker {number} died: {how}")
            self._lost(worker, now, code)
        elif worker.state is State.DRAINING and worker.why == "stop" and not self.limits.graceful:
            pass  # told to leave at once
        elif worker.state is State.DRAINING and how != "exit code 0" and "as ordered" not in how:
            if done:
                self._say("info", f"worker {number} finished its requests and ended: {how}")
            else:
                self._say("warning", f"worker {number} died while it drained: {how}")
        self._reconcile(now)

    def _lost(self, worker: Worker, now: float, code: int | None) -> None:
        """A worker that served does so no more, and was not told to. `code`: see `gone`."""
        if not worker.settled:
            self._failed(worker, "it died right after it started", now, code)
        elif not worker.steady and now - worker.since < self.limits.steady:
            self._crashed(worker, now)

    def resize(self, change: int, now: float) -> None:
        """More or fewer workers: one of TTIN and TTOU."""
        if self._stopping:
            return
        self._resting = None
        self.target = min(max(1, self.target + change), MOST)
        self._say("info", f"{self.target} worker{'s' if self.target > 1 else ''} from now on")
        self._reconcile(now)

    def rest(self, now: float) -> None:
        """Let all workers drain and start no others, until `reload` or `resize`; the listeners stay."""
        if self._stopping or self._resting is not None:
            return
        self._resting, self.target = self.target, 0
        self._say("warning", "all workers drain and no new ones start; send HUP to start them again")
        self._reconcile(now)

    def reload(self, now: float, target: int | None = None) -> None:
        """A new generation takes over, one worker after the other.

        Arguments:
            target: workers from now on; None: as many as before.
        """
        if self._stopping:
            return
        if target is not None:
            self.target = target
        elif self._resting is not None:
            self.target = self._resting
        self._resting = None
        self.generation += 1
        self._failures, self._boots, self._crashes, self._not_before, self._last_attempt = 0, 0, 0, 0.0, False
        self._in_vain, self._successor_at = 0, 0.0
        self._busy = True
        if self.serving:
            self._drain_starts(now)  # what they have read is old already
        else:  # who starts is the old generation then: it may be all there will be
            oldest = min((worker.generation for worker in self._in(State.STARTING)), default=0)
            for worker in self._in(State.STARTING):
                if worker.generation > oldest:
                    self._drain(worker, "outdated", now)
        self._reconcile(now)

    def hand_over(self, now: float) -> None:
        """Another program makes the workers from now on. If it does not, this one goes on with the next tick."""
        self._handing_over = True
        self._drain_starts(now)

    def slept(self, seconds: float, now: float) -> None:
        """Nobody has run for so long, or this process has not: that does not count as anybody's time."""
        for worker in self.workers.values():
            worker.since = min(now, worker.since + seconds)

    def stop(self, graceful: bool, now: float, code: int = STOPPED, waiting: bool = False) -> None:
        """Everybody leaves: after finishing, or at once.

        Arguments:
            waiting: connections wait for being accepted. If nobody serves, one worker starts to answer them, within
                the time that is left for that, and leaves.
        """
        first, quick = not self._stopping, self._quick
        self._stopping, self._quick = True, quick or not graceful
        if first:
            self._code = code
        last = self._last_to_answer(now) if graceful and waiting and not self.serving else None
        for worker in list(self.workers.values()):
            if worker is last:
                worker.why, worker.since = "stop", now
            elif worker.state in (State.STARTING, State.SERVING) and graceful:
                self._drain(worker, "stop", now)
            elif worker.state is State.STARTING:
                self._kill(worker, "stop", now)
            elif worker.state is not State.KILLED and not graceful and not quick:  # who was told has no more time
                worker.why = "stop"
                worker.graceful = 0.0
                self._tell(worker, Order.QUIT, State.DRAINING, now)
        if not graceful:
            self.limits = Limits(graceful=0.0, grace=self.limits.grace)
        self._reconcile(now)

    def tick(self, now: float) -> None:
        """Look at what has become due."""
        self._handing_over = False
        self._mature(now)
        for worker in list(self.workers.values()):
            when = self._deadline(worker)
            if not when or when > now:
                continue
            if worker.state is State.STARTING:
                number, boot = worker.number, self.limits.boot
                if self._stopping:
                    self._say("error", f"worker {number} was not ready in time to answer the connections that wait")
                else:
                    self._say("error", f"worker {number} was not ready after {boot:g} s (boot_timeout) and is killed")
                self._kill(worker, "start", now)
                self._failed(worker, "it was not ready in time", now, GAVE_UP)
            elif worker.state is State.DRAINING:
                self._say("warning", f"worker {worker.number} did not finish in time and is killed")
                self._kill(worker, worker.why, now, dump=True)
            elif worker.state is State.KILLED:
                self._tell(worker, Order.KILL, State.KILLED, now)  # a dump was asked for first
                worker.since = now + 3600
        if self._proven >= self.generation:  # not before all have been heard: some of these may have become ready
            for worker in self._in(State.STARTING):
                if worker.generation < self.generation:
                    self._drain(worker, "outdated", now)
        self._reconcile(now)

    # ---- decisions

    def _reconcile(self, now: float) -> None:
        """Bring what there is nearer to what there should be."""
        if self._stopping:
            if not self.workers and not self._ended:
                self._ended = True
                self._actions.append(Exit(self._code))
            return
        self._mature(now)
        if self._successor_at <= now:
            self._successor_at = 0.0
        fresh = [w for w in self._in(State.SERVING) if self._is_fresh(w)]
        outdated = [w for w in self._in(State.SERVING) if not self._is_fresh(w)]
        # 1. Who is too many leaves: the outdated first, as soon as a fresh generation has proven itself.
        surplus = len(fresh) + len(outdated) - self.target
        if not outdated or self._proven >= self.generation or self.target == 0:
            for worker in [*outdated, *fresh][: max(0, surplus)]:
                self._drain(worker, worker.leaving or ("outdated" if worker in outdated else "too many"), now)
                surplus -= 1
            outdated = [w for w in outdated if w.state is State.SERVING]
        newest = [w.generation == self.generation for w in self._in(State.SERVING)]
        if newest and all(newest) and self._announced < self.generation <= self._proven:
            self._say("info", f"generation {self.generation} has taken over")
            self._announced = self.generation
        if self._busy and len(newest) >= self.target and all(newest):
            self._busy = False
            self._actions.append(Settled())
        # 2. Who is missing starts; and one successor at a time for the outdated, also for those that only start.
        older = [w for w in self._in(State.STARTING) if w.generation < self.generation]
        allowed = max(0, self.target - len(list(self._in(State.SERVING)))) + bool(outdated or (older and self.target))
        for worker in sorted(self._in(State.STARTING), key=lambda worker: -worker.generation)[allowed:]:
            self._drain(worker, "too many", now)
        if self._not_before > now or self._handing_over:
            return
        self._not_before = 0.0
        starting = len(list(self._in(State.STARTING)))
        wanted = self._missing()
        unproven = bool(fresh) and self._proven < self.generation
        begun = any(self._may_serve(w) and w.generation == self.generation for w in self.workers.values())
        in_vain = bool(outdated) and all(w.vain and w.generation == self.generation for w in outdated)
        if in_vain and self._successor_at:
            outdated = []
        if wanted <= 0 and (outdated and not starting and not unproven or older and not begun):
            if in_vain:
                pause = self.limits.first_pause * 2 ** min(self._in_vain, 30)
                self._successor_at = now + min(pause, self.limits.longest_pause)
                self._in_vain += 1
            wanted = 1
        if self._failures and self.serving:
            trying = any(worker.attempt == self._attempts for worker in self._in(State.STARTING))
            wanted = min(wanted, 0 if trying else 1)  # one is enough to see whether it goes again
        if starting and self._last_attempt:
            return
        for _ in range(max(0, wanted)):
            self._start(now)

    def _start(self, now: float) -> None:
        self.last += 1
        self.workers[self.last] = Worker(self.last, self.generation, now, self.limits.graceful, self._attempts)
        self._actions.append(Start(self.last, self.generation))

    def _last_to_answer(self, now: float) -> Worker:
        """One that starts, where nobody serves: it answers what waits while all ends."""
        for worker in self._in(State.STARTING):
            if worker.graceful:  # one that was started without such time would leave without a look at them
                return worker
        self._start(now)
        return self.workers[self.last]

    def _mature(self, now: float) -> None:
        """Who has served for long enough is a success, and ends what has failed in a row."""
        for worker in self._in(State.SERVING):
            if not worker.settled and now - worker.since >= self.limits.settled:
                worker.settled = True
                self._failures, self._boots = 0, 0  # but when the next one starts has been said
                self._proven = max(self._proven, worker.generation)
            if not worker.steady and now - worker.since >= self.limits.steady:
                worker.steady, self._crashes = True, 0

    def _failed(self, worker: Worker, how: str, now: float, code: int | None) -> None:
        """A start came to nothing.

        Arguments:
            code: see `gone`; None: that was not the application's fault, and another attempt may succeed.
        """
        if self._stopping:
            number = worker.number
            if worker.why == "stop" and worker.state is State.STARTING:
                self._say("error", f"worker {number} could not be started ({how}); waiting connections are reset")
            return
        others = [w for w in self.workers.values() if self._may_serve(w) and w.generation < worker.generation]
        if worker.generation == self.generation and self._proven < self.generation and others:
            # A reload that fails leaves everything as it was. Where the old ones are too few by now, those of the new
            # that serve do so until others take their place.
            serves = any(other.state is State.SERVING for other in others)
            line = f"the new generation failed ({how}); the old one keeps serving. Send HUP to try again"
            self._say("error", line if serves else line.replace("keeps serving", "goes on starting"))
            for other in list(self._in(State.STARTING)):
                if other.generation == self.generation:
                    self._drain(other, "outdated", now)
            for other in self._in(State.SERVING):
                if other.generation == self.generation:
                    other.leaving = other.leaving or "its generation failed"
            for other in others:
                other.generation = self.generation
            self._proven = self._announced = self.generation
            if serves:
                self._busy = False
                self._actions.append(Settled())
            return
        booted = worker.state is State.SERVING  # it may have died of what it was asked: no reason to give up
        if worker.generation < self.generation and not booted:  # kept for the case that the new ones come to nothing
            self._say("warning", f"worker {worker.number} could not be started ({how}); a newer generation is starting")
            return
        first = self._is_first(worker)
        if first:
            self._failures += 1
        if booted or first:
            self._boots = 0 if booted else self._boots + 1
            self._last_attempt = self._boots >= self.limits.give_up and not self.serving
        if not self._served and code is not None:  # the application's own start
            self.stop(False, now, code)
            return
        if self._last_attempt and not any(self._in(State.STARTING)):
            count = self._boots
            self._say("critical", f"no worker serves, and {count} attempts to start one failed ({how}); giving up")
            self.stop(False, now, GAVE_UP if code is None else code)
            return
        if not first:  # what comes next has been said, and stays true
            if not self._reason and not booted:  # those before have served
                self._reason = how
                self._say("error", f"worker {worker.number} could not be started ({how})")
            elif how != self._reason and not booted:
                self._say("error", f"worker {worker.number} could not be started either ({how})")
            return
        self._reason, number = how, worker.number
        pause = self._pause(self.limits.longest_pause, now)
        if booted:
            self._say("error", f"worker {number} died right after it started; restarting in {pause:g} s")
        elif self._last_attempt:
            last = "this was the last attempt, unless another worker of it becomes ready"
            self._say("error", f"worker {number} could not be started ({how}); {last}")
        else:
            self._say("error", f"worker {number} could not be started ({how}); next attempt in {pause:g} s")

    def _crashed(self, worker: Worker, now: float) -> None:
        """A worker has served, but not for long."""
        if self._stopping:
            return
        if not self._is_first(worker):
            return
        self._crashes += 1
        self._reason = ""
        if pause := self._pause(self.limits.longest_crash_pause, now):
            number, age = worker.number, now - worker.since
            line = f"worker {number} served only for {age:.0f} s, like others before it; restarting in {pause:g} s"
            self._say("error", line)

    def _is_first(self, worker: Worker) -> bool:
        """Whether it is the first of its attempt that comes to nothing; then that attempt has failed."""
        if worker.attempt < self._attempts:
            return False
        self._attempts += 1
        return True

    def _pause(self, longest: float, now: float) -> float:
        """Nobody starts for a while. Returns the seconds: the more in a row have failed, the more; 0.0: no pause."""
        in_a_row = self._failures + max(0, self._crashes - 1)
        if in_a_row:
            pause = self.limits.first_pause * 2 ** min(in_a_row - 1, 30)  # no float is as large as 2 ** 1024
            self._not_before = max(self._not_before, now + min(pause, longest))
        return round(max(0.0, self._not_before - now), 1)

    def _missing(self) -> int:
        return self.target - sum(map(self._may_serve, self.workers.values()))

    @staticmethod
    def _may_serve(worker: Worker) -> bool:
        """Whether it serves, or is about to."""
        return worker.state in (State.STARTING, State.SERVING)

    def _is_fresh(self, worker: Worker) -> bool:
        return worker.generation == self.generation and not worker.leaving

    def _in(self, state: State) -> Iterator[Worker]:
        return iter([worker for worker in self.workers.values() if worker.state is state])

    # ---- orders

    def _deadline(self, worker: Worker) -> float | None:
        """When patience with it ends."""
        if worker.state is State.STARTING and self._stopping:
            return worker.since + worker.graceful
        if worker.state is State.STARTING:
            return worker.since + self.limits.boot if self.limits.boot else None
        if worker.state is State.DRAINING:
            return worker.since + worker.graceful + self.limits.grace
        if worker.state is State.KILLED:
            return worker.since + 1.0
        return None

    def _drain(self, worker: Worker, why: str, now: float) -> None:
        worker.why = why
        self._tell(worker, Order.DRAIN, State.DRAINING, now)

    def _kill(self, worker: Worker, why: str, now: float, dump: bool = False) -> None:
        """Kill it now; with `dump` after it had a second to say where it is."""
        worker.why = why
        self._tell(worker, Order.DUMP if dump else Order.KILL, State.KILLED, now)
        if not dump:
            worker.since = now + 3600  # nothing is left to do about it

    def _drain_starts(self, now: float) -> None:
        for worker in list(self._in(State.STARTING)):
            self._drain(worker, "outdated", now)  # no kill: one may have begun to accept, without our knowing it yet

    def _tell(self, worker: Worker, order: Order, state: State, now: float) -> None:
        worker.state, worker.since = state, now
        self._actions.append(Tell(worker.number, order))

    def _say(self, level: str, line: str) -> None:
        self._actions.append(Say(level, line))
