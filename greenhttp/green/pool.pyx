"""Ready connections are jobs; green threads do them.

A connection that waits for its peer costs no green thread. When the loop sees its descriptor ready, `wake` puts the job
into `ready`, and nothing else happens inside that callback. After all callbacks of one loop turn a check watcher drains
the queue: a green thread takes one job after the other, and hands over to the hub only when a job has to wait in the
middle. So a turn with fifty ready connections costs one switch there and back, not fifty.

Each job has two halves. `advance` never blocks and runs no user code: it takes what has arrived and says whether a
green thread is wanted. `run` may block. With every green thread busy, the hub itself advances the jobs; those that
want one wait in the phase `patience`, first come first served, bounded in number and in time, and are refused beyond
that. Urgent jobs are none of these: they have a few green threads of their own beyond the limit, the reserve, and wait
for one of those, or for one that has nothing else to do, without a bound. A green thread of the reserve does nothing
else, so that the limit stays what it is for all other jobs.

Whoever has had its share of a turn (`again`) comes back in the next one, after the loop has polled: nobody hogs the
hub.

Nothing of one job reaches the next:

* each job runs in a context of its own (`contextvars`), unless the pool keeps that of the green thread;
* a green thread that somebody still refers to once its job is done - a `gevent.Timeout` not cancelled, a kept
  `getcurrent()`, a link - is not used again. It is recognised by its reference count, looked at in the hub, where no
  callback that woke it can still be on the stack;
* `throw`, `switch` and `kill` on a green thread that rests do nothing.

Foreign code runs where nobody expects it: the collector may call a finalizer at any allocation, a signal its handler
between any two bytecodes, and either may wait. So

* a green thread *rests* in one place alone, and between its being listed as idle and its switch to the hub nothing is
  allocated. Anywhere else it can be woken, job or not;
* while a job is `busy`, nobody else goes on with it: what happens to it meanwhile is noted (`missed`), and whoever is
  busy with it looks at that afterwards.

Thread locals live as long as the green thread, as in any thread pool: that is what lets drivers keep their connections.
"""

import sys
from operator import itemgetter
from signal import SIGINT, default_int_handler, getsignal

from cpython.contextvars cimport PyContext_New
from cpython.object cimport PyObject, PyObject_Size
from cpython.ref cimport Py_INCREF

from greenhttp.process.board cimport Board
from greenhttp.green.deadline cimport Node, Phase, Timed, owner
from greenhttp.green.switch cimport PyGreenlet_Import, current_context, greenlet, switch_to, switch_with

from gevent import get_hub
from greenlet import GreenletExit


cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject* o)

PyGreenlet_Import()

# Green threads that stay though they have nothing to do: with them stay the connections of database drivers.
cdef Py_ssize_t SPARE = 16

cdef enum:
    WASHES = 8              # fresh contexts in a row at most, where dropping one fills the next
    STARTS = 8              # new green threads in a row at most, where foreign code holds one after the other up


cdef class Job(Timed):
    """Something that becomes ready again and again, and then wants a moment of a green thread."""

    cdef bint ready(self, bint writing) except -1:
        """Its stream can be read or written, and no green thread waits on it. False: not interested. In the hub."""
        return False

    cdef Phase input_phase(self):
        """Where a green thread is that waits for the peer's bytes; None: it may wait as long as it likes."""
        return None

    cdef Phase output_phase(self):
        """Where a green thread is that waits for the peer to read; None as above."""
        return None

    cdef bint advance(self) except -1:
        """Go on without blocking and without user code. True: `run` is wanted. In the hub or in a green thread."""
        return True

    cdef bint urgent(self) noexcept:
        """Whether the pool's reserve is for what `run` is about to do. Asked in the hub, with every place taken."""
        return False

    cdef int run(self) except -1:
        """Go on in a green thread, where blocking is allowed. Must not raise."""
        return 0

    cdef int wait(self) except -1:
        """It has to wait for a green thread, in the pool's phase `patience` or as an urgent one. In the hub."""
        return 0

    cdef int refuse(self) except -1:
        """There is no room, or no time left, in the queue for a green thread. In the hub."""
        return 0

    cdef int stream_closed(self) except -1:
        """Its stream was closed by somebody who holds it. In any green thread."""
        return 0

    cdef int gave_up(self, object error) except -1:
        """Output of its stream was given up because of `error`, and nobody waits for it who could be told."""
        return 0

    cdef int told_late(self, int missed) except -1:
        """It was busy when its server wanted it to end: bits of `missed`."""
        return 0

    cdef int abandon(self, bint ours) except -1:
        """This is a forked process: let go of descriptors, and touch nothing else. `ours`: see Pool.abandon."""
        return 0


cdef class PythonJob(Job):
    """A job that Python code can subclass: `work` is what it does in a green thread."""

    def submit(self, Pool pool not None):
        """Do `work` in a green thread of `pool`, soon."""
        pool.submit(self)

    def again(self, Pool pool not None):
        """Do `work` once more, after what becomes ready until the next turn of the loop."""
        pool.again(self)

    def wanted(self):
        """Go on without blocking. Whether a green thread is wanted for the rest."""
        return True

    def work(self):
        """What is to be done; may block."""

    def turned_away(self):
        """There was no room in the queue for a green thread, or the wait in it was too long. In the hub."""

    cdef bint advance(self) except -1:
        return self.wanted()

    cdef int run(self) except -1:
        self.work()
        return 0

    cdef int refuse(self) except -1:
        self.turned_away()
        return 0

    cdef int expired(self, Phase phase, double now) except -1:
        self.turned_away()
        return 0


cdef class Queue:
    """First in, first out, linked through the jobs themselves."""

    cdef void push(self, Job job) noexcept:
        job.follower = None
        if self.tail is None:
            self.head = job
        else:
            self.tail.follower = job
        self.tail = job
        self.count += 1

    cdef Job pop(self):
        cdef Job job = self.head
        if job is not None:
            self.head = job.follower
            if self.head is None:
                self.tail = None
            job.follower = None
            self.count -= 1
        return job


cdef class Pool:
    """Green threads that do jobs, at most `limit` of them.

    Arguments:
        limit: jobs that may be in the middle of `run` at a time.
        queue_limit: jobs that may wait for a green thread beyond that; None: as many as `limit`.
        reserve: green threads beyond `limit`, for urgent jobs.
        patience: the phase in which they wait; its duration is the deadline in the queue.
        hub: gevent's hub; by default that of this thread.
        keep_context: a job finds what the one before it in the same green thread has set in context variables.
    """

    def __init__(
        self, Py_ssize_t limit=1000, queue_limit=None, Phase patience=None, hub=None, Py_ssize_t reserve=0,
        bint keep_context=False,
    ):
        if limit < 1:
            raise ValueError("a pool needs room for at least one green thread")
        self.hub = hub or get_hub()
        self.loop = self.hub.loop
        self.limit = limit
        self.queue_limit = limit if queue_limit is None else queue_limit
        self.patience = patience if patience is not None else Phase("queue")
        self.idle = []
        self.reserve = reserve
        self.keep_context = keep_context
        self.ready = Queue()
        self.later = Queue()
        self.urgent = Queue()

    def start(self):
        """Watch the loop. Until `stop`, each of its turns ends with this pool's jobs."""
        if type(self.loop).__module__ == "gevent.libuv.loop":
            # No check watcher there: it would come before gevent's own, which is the one that passes on a Ctrl-C that
            # arrived during the poll. `wake` asks for a callback instead, and a timer stands for the next turn.
            self.check = self.spin = self.loop.timer(0.0)
            return
        # After the descriptors of the same turn, which have priority 0; never a reason for the loop to go on.
        self.check = self.loop.check(ref=False, priority=-1)
        self.check.start(self._drain)
        self.spin = self.loop.idle()        # active only while there is something to do: that the loop must not leave

    def stop(self):
        """Let go of the loop and of the idle green threads. Jobs still running finish in theirs."""
        self.unwatch(True)
        # A green thread that ends returns to the hub: only from there may it be told to.
        self.loop.run_callback(self._dismiss_all)

    cdef int unwatch(self, bint ours) except -1:
        """The loop calls this pool no more. `ours`: see `abandon`."""
        if ours:
            for watcher in (self.check, self.spin):
                if watcher is not None:
                    watcher.stop()
                    watcher.close()
        self.check = self.spin = None
        self.spinning = False
        return 0

    def abandon(self, phases, bint ours, forked):
        """In a forked process: no job is done here any more, and nothing of them is freed.

        Arguments:
            phases: in which jobs may be. Their descriptors are closed, the connections are the parent's.
            ours: whether the thread of the hub has forked. Else that may have been anywhere in the loop's own code:
                it will never run here, and its watchers must not be touched.
            forked: forked(what, error) ends the process when the job that has forked it comes to its end here as well.
        """
        cdef Phase phase
        cdef Timed timed
        cdef Job job
        cdef list kept = [self.ready, self.later, self.urgent, self.idle, self.patience, self.check, self.spin]
        Py_INCREF(kept)
        self.forked = forked
        self.ready, self.later, self.urgent = Queue(), Queue(), Queue()
        self.idle = []
        self.patience = Phase(self.patience.name)
        self.unwatch(ours)
        for phase in phases:
            for timed in phase.abandon():
                if isinstance(timed, Job):
                    job = <Job>timed
                    if job.worker is not None:
                        job.worker.place = -1       # the board is shared: what stands there is the parent's
                    job.abandon(ours)

    def _dismiss_all(self):
        while self.idle:
            self.dismiss(self.idle.pop())

    @property
    def running(self):
        """Green threads not at rest: in the middle of a job, or held up by foreign code before or after one."""
        return self.size - len(self.idle)

    def statistics(self):
        """What there is now: a dict of counts, `pool_size`, green threads alive, among them."""
        return {
            "pool_size": self.size, "pool_idle": len(self.idle), "pool_running": self.running,
            "pool_started": self.started, "pool_ready": self.ready.count + self.later.count,
            "pool_waiting": self.patience.count + self.urgent.count,
        }

    cdef void wake(self, Job job) noexcept:
        """`job` has something to do, later in this turn. For callbacks of the loop's descriptors."""
        if job.busy:
            job.missed |= BECAME_READY
        elif not job.queued and job.phase is not self.patience:
            job.queued = True
            self.ready.push(job)
            if self.ready.count == 1 and self.check is not None and self.check is self.spin:
                self.loop.run_callback(self._drain)     # libuv; comes after the callbacks of the descriptors

    cdef int submit(self, Job job) except -1:
        """`job` has something to do soon. From anywhere."""
        self.wake(job)
        self.kick()
        return 0

    def nudge(self):
        """What `wake` was told outside of a callback of the loop is done soon."""
        self.kick()

    cdef int again(self, Job job) except -1:
        """`job` has had its share: it goes on in the next turn, behind whatever becomes ready until then."""
        if not job.queued:
            job.queued = True
            self.later.push(job)
            self.kick()
        return 0

    cdef int kick(self) except -1:
        """The coming poll must not block: an active idle watcher is how the loop is told."""
        if not self.spinning and self.spin is not None:
            # What foreign code has done inside `start` is asked, not assumed: a drain may have stopped the watcher
            # before it was started, libuv's timer may have come, and the pool may have been stopped.
            spin = self.spin
            spin.start(self._next_turn if self.check is spin else _nothing)
            if self.spin is spin:
                self.spinning = spin.active
            else:
                spin.stop()
        return 0

    cdef bint wanting(self) noexcept:
        """Whether there is something to do."""
        return self.ready.count or self.patience.count or self.urgent.count

    def _next_turn(self):
        self.spinning = False           # a timer has stopped by itself
        self.drain()

    def _drain(self):
        self.drain()

    cdef int drain(self) except -1:
        """Do what became ready in this turn. In the hub, after the descriptors' callbacks."""
        cdef Job job
        cdef Worker worker
        if self.later.count == 0 and not self.wanting():
            if self.spinning:
                self.spinning = False
                self.spin.stop()
            return 0
        self.turns += 1
        # Those that yielded in the turn before come after what the poll between has found.
        for _ in range(self.later.count):
            self.ready.push(self.later.pop())
        while self.wanting():
            worker = self.hire()
            if worker is not None:
                switch_to(<PyObject*>worker)
                continue
            job = self.ready.pop()
            if job is None:
                break
            job.queued = False
            if not self.attempt(job):
                continue
            if self.reserve and job.urgent():
                job.queued = True
                self.urgent.push(job)
                job.wait()
                self.release_waiting(job)
                continue
            try:
                if self.patience.count < self.queue_limit:
                    job.enter(self.patience)
                    job.wait()
                else:
                    job.refuse()
            except BaseException:
                # A defect of this job: those behind it would wait until something else wakes the loop.
                complain(self)
            if job.phase is self.patience:
                self.release_waiting(job)
            else:
                self.release(job)
        if self.spinning and self.later.count == 0:
            self.spinning = False
            self.spin.stop()
        return 0

    cdef Worker hire(self):
        """A green thread that nobody else holds, or None: all are busy, or a new one is held up by foreign code."""
        cdef Worker worker
        cdef bint reserved = self.size - len(self.idle) - self.reserved >= self.limit
        if reserved and (self.urgent.count == 0 or self.reserved == self.reserve):
            return None
        worker = self.rested()
        if worker is None:
            return None
        worker.resting = False
        if reserved:
            worker.reserved = True
            self.reserved += 1
        return worker

    cdef Worker rested(self):
        """A green thread with nothing to do, and that nobody else holds: a new one if there is none, or None if that
        is not there yet."""
        cdef Worker worker
        while self.idle:
            worker = self.idle.pop()
            if len(self.idle) < self.least_idle:
                self.least_idle = len(self.idle)
            if Py_REFCNT(<PyObject*>worker) == worker.unheld:
                return worker
            self.dismiss(worker)
        for _ in range(STARTS):
            worker = self.begun()
            if worker is not None or self.check is None or self.size - len(self.idle) - self.reserved >= self.limit:
                return worker
        return None

    cdef Worker begun(self):
        """A new green thread, at rest; None if foreign code waits in it. That one comes to rest by itself, and is not
        used then, since nobody has counted who refers to it."""
        cdef Worker worker = Worker(self)
        self.size += 1
        self.started += 1
        worker.resting = False
        switch_to(<PyObject*>worker)
        if not self.idle or self.idle[len(self.idle) - 1] is not worker:
            return None
        self.idle.pop()
        worker.unheld = Py_REFCNT(<PyObject*>worker)
        return worker

    cdef int dismiss(self, Worker worker) except -1:
        """Let an idle green thread end; in the hub. Whoever still refers to it keeps an object that ignores them."""
        worker.retired = True
        worker.resting = False
        switch_to(<PyObject*>worker)
        return 0

    def shrink(self):
        """Let an eighth of the green threads end that have had nothing to do since the last call. Once a second."""
        cdef Py_ssize_t spare = min(self.least_idle, len(self.idle)) - SPARE
        while spare > 0:
            self.dismiss(self.idle.pop(0))
            spare -= 8
        self.least_idle = len(self.idle)

    cdef bint attempt(self, Job job) except -1:
        """Its `advance`; a defect in that ends neither the turn nor the green thread. True: `run` is next, and the job
        stays busy, so that nothing comes between the two."""
        cdef bint wanted = False
        if job.busy:
            job.missed |= BECAME_READY
            return False
        job.busy = True
        try:
            wanted = job.advance()
        except BaseException:
            complain(self)
        if not wanted:
            self.release(job)
        return wanted

    cdef int release(self, Job job) except -1:
        """Nobody is busy with it any more; what has happened meanwhile is looked at."""
        cdef int missed = job.missed
        job.busy = False
        job.missed = 0
        if missed == 0:
            return 0
        try:
            if missed > BECAME_READY:
                job.told_late(missed)
            if missed & BECAME_READY:
                self.again(job)
        except BaseException:
            complain(self)
        return 0

    cdef int release_waiting(self, Job job) except -1:
        """As `release`, for one that waits in a queue: that it is ready is known."""
        job.missed &= ~BECAME_READY
        return self.release(job)

    cdef int pass_on(self, object error) except -1:
        """An application has ended with `error`. Ctrl-C that happened to arrive in it was meant for the program."""
        if isinstance(error, KeyboardInterrupt) and getsignal(SIGINT) is default_int_handler:
            self.loop.run_callback(self.hub.handle_system_error, KeyboardInterrupt, error)
        return 0

    cdef bint renew(self, Worker worker, int known) except -1:
        """After a piece of work: a fresh context, unless it is kept. False: somebody holds the green thread, the next
        piece needs another.

        `known` references to it are the caller's.
        """
        worker.serial += 1
        if not worker.clean():
            worker.fresh_context()
        return Py_REFCNT(<PyObject*>worker) == worker.alone + known

    cdef int work(self, Worker worker) except -1:
        """Do jobs until there is none, or until this green thread must be looked at before it does another."""
        cdef Job job
        worker.alone = Py_REFCNT(<PyObject*>worker)
        while True:
            if self.patience.count and not worker.clean():
                worker.fresh_context()      # before one is taken: it is in no phase then
            job = None if worker.reserved else <Job>self.patience.first()
            if job is not None:
                job.busy = True             # from here on, and not only once it runs
                job.leave()
            else:
                job = None if worker.reserved else self.ready.pop()
                if job is None:
                    job = self.urgent.pop()
                    if job is None:
                        return 0
                job.queued = False
                if not self.attempt(job):
                    continue
                if not worker.clean():
                    worker.fresh_context()  # foreign code has run between two jobs
            if job.missed & TO_CUT:
                self.release(job)
                continue
            worker.job = job
            job.worker = worker
            try:
                job.run()
            except BaseException:
                # A job answers for its own errors: this is a defect of the job, and must not end the green thread.
                complain(self)
            if self.forked is not None:
                self.forked("a job of a green thread", None)
            job.worker = None
            worker.job = None
            self.release(job)
            if not self.renew(worker, 0):
                # Held by somebody, or only by the callback that woke it: `hire` can tell, in the hub.
                return 0


cdef int complain(Pool pool) except -1:
    """What was just raised goes where nobody's errors go; Ctrl-C that happened to arrive just then, to the program."""
    kind, error, traceback = sys.exc_info()
    try:
        if isinstance(error, KeyboardInterrupt):
            pool.loop.run_callback(pool.hub.handle_system_error, kind, error)
        else:
            sys.excepthook(kind, error, traceback)
    except BaseException:
        pass                            # also what complains may be interrupted; who called must go on
    return 0


cdef class Worker(greenlet):
    """A green thread of a pool. Seen by users as `gevent.getcurrent()`."""

    def __cinit__(self):
        self.place = -1
        self.resting = True             # tools that look at all objects find it before it is made

    def __init__(self, Pool pool):
        greenlet.__init__(self, None, pool.hub)
        self.pool = pool

    def run(self):
        cdef Pool pool = self.pool
        try:
            while True:
                try:
                    if self.context is None:
                        self.fresh_context()
                    self.rest(pool)
                    if self.retired:
                        return
                    pool.work(self)
                except BaseException:
                    # Thrown between two jobs, where nothing is in progress that could be lost.
                    complain(pool)
        finally:
            pool.size -= 1              # what is dropped from here on may still run foreign code, which may wait

    cdef int fresh_context(self) except -1:
        """What comes next finds nothing of what was before, unless the pool wants it to.

        By greenlet's own attribute, whatever is current now: an application may have assigned it. Dropping what was
        there may run finalizers, which may fill the new one.
        """
        cdef object context = PyContext_New()
        cdef int washes = 0
        while True:
            self.gr_context = self.context = context
            washes += 1
            if self.clean() or washes == WASHES:
                return 0
            context = PyContext_New()

    cdef bint clean(self) except -1:
        """Whether the context is its own, and holds nothing; or is to be kept as it is."""
        return self.pool.keep_context or (
            current_context() == <PyObject*>self.context and PyObject_Size(self.context) == 0
        )

    cdef int rest(self, Pool pool) except -1:
        """Wait to be hired or dismissed, whatever else is thrown or switched here meanwhile."""
        if self.reserved:
            self.reserved = False
            pool.reserved -= 1
        if pool.check is None:
            self.retired = True         # the pool was stopped while this one was busy
            return 0
        while pool.wanting() and not pool.spinning and pool.spin is not None:
            pool.kick()                 # again and again: more may have come while foreign code ran inside
        # From here on nothing runs that could wait: who finds this among the idle may switch to it.
        pool.idle.append(self)
        self.resting = True
        while self.resting:
            try:
                switch_to(<PyObject*>pool.hub)
            except BaseException:
                continue
        return 0

    def switch(self, *args, **kwargs):
        """Resume this green thread. If it rests or has ended, nothing: the switch was meant for an earlier job."""
        if self.resting or self.dead:
            return None
        return switch_with(<PyObject*>self, <PyObject*>args, <PyObject*>kwargs)

    def throw(self, *args):
        """Raise in this green thread. If it rests or has ended, nothing: it was meant for an earlier job."""
        if self.resting or self.dead:
            return None
        return greenlet.throw(self, *args)

    def kill(self, exception=GreenletExit, block=False, timeout=None):
        """Raise `exception` in the job this green thread is in, in a later turn of the loop. Never waits."""
        if self.pool is not None:       # it has begun
            self.pool.loop.run_callback(self._kill, self.serial, exception)

    def _kill(self, serial, exception):
        if serial == self.serial:
            self.throw(exception)


def _nothing():
    """What the idle watcher calls; being active is all it is for."""


cdef Job silent(Phase phase):
    """Who has been in a phase for longest and is not about to be looked at, or None. All in there are jobs."""
    cdef Node* node = phase.ring.next
    cdef Job job
    while node != &phase.ring:
        job = <Job>owner(node)
        if not job.queued and not job.busy:
            return job
        node = node.next
    return None


cdef list in_progress(Board board, tuple phases):
    """What the jobs in these phases are at: seconds, text, green thread; the oldest first."""
    cdef Job job
    cdef Phase phase
    cdef list found = []
    if board is not None:
        for phase in phases:
            for job in phase.members():
                if job.worker is not None:
                    found.append((*board.entry(job.worker.place), job.worker))
    return sorted(found, key=itemgetter(0), reverse=True)
