"""Where a stream waits: who is suspended, until when, and how fast the peer has been meanwhile.

`wait_read` and `wait_write` suspend the running green thread alone, until the transport calls `readable` or `writable`.
`reading` and `stream` are built on this.

Sharing. After 16 operations or 256 KiB without having waited, a green thread goes to the back of the loop's queue.

Changing hands. A connection's requests use its stream one after the other, and an application may leave green threads
behind that still read or write. `expel` ends their tenure: whoever comes back from a wait, or from its turn, and finds
another tenure than it began in, raises and touches nothing.

Foreign code - a finalizer, a signal's handler - runs at any allocation and may wait. So between two writes to one state
nothing allocates a Python object that the collector counts; what allocates comes first, and what it may have changed
is looked at behind it.
"""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t

from greenhttp.green.deadline cimport Phase, Timed
from greenhttp.green.switch cimport PyGreenlet_Import, current_greenlet, greenlet, outcome, switch_quietly, switch_to

import sys

from gevent import get_hub

from greenhttp.errors import StreamClosed, StreamTimeout
from greenhttp.process.clock cimport clock

PyGreenlet_Import()

LOST = "earlier output was lost; nothing more can be sent, and no answer will come"
OVER = "the request is over or the handler has returned; the stream can no longer be used"

cdef double FOREVER = 1e9       # seconds, thirty years: what no loop's timer overflows at


cdef class Turn:
    """A green thread that lets everybody else go first."""

    cdef greenlet waiting
    cdef bint come

    def __call__(self):
        cdef greenlet waiting
        self.come = True
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            switch_to(<PyObject*>waiting)


cdef int next_turn(object hub) except -1:
    """Suspend the running green thread until the loop has polled.

    Not sleep(0): gevent runs up to a thousand such callbacks before it polls, and whoever has become ready since would
    wait for them all. A timer that is due comes after the poll. Not hub.wait: foreign code that waits inside it, once
    it is armed, takes its wake-up.
    """
    cdef Turn turn = Turn.__new__(Turn)
    cdef object timer = hub.loop.timer(0.0)
    cdef greenlet running = <greenlet>current_greenlet()
    cdef PyObject* result
    try:
        timer.start(turn)
        while not turn.come:
            turn.waiting = running
            result = switch_quietly(<PyObject*>hub)
            turn.waiting = None
            outcome(result)
    finally:
        timer.stop()
        timer.close()
    return 0


cdef int wake(greenlet waiting) except -1:
    """Switch to who waits, in the hub. A green thread that has the hub for its parent (`gevent.spawn_raw`) may end with
    an error: told as gevent tells it, but not thrown on, since gevent would stop the watcher that has called this."""
    try:
        switch_to(<PyObject*>waiting)
    except BaseException:
        get_hub().handle_error(waiting, *sys.exc_info())
    return 0


cdef class Wait(Timed):
    """Who waits on a stream, until when, and how fast its peer has been meanwhile. See stream.pxd."""

    cdef void begin(self, Waiting stream, Phase phase) noexcept:
        self.stream = stream
        self.enter(phase)

    cdef void end(self) noexcept:
        self.leave()
        self.stream = None      # no cycle that would outlive the wait

    cdef int fail(self, object read_failure, object write_failure) except -1:
        """Have whoever reads, and whoever writes, raise that; None: nothing."""
        if self.reads and read_failure is not None:
            self.read_failure = read_failure
        if self.writes and write_failure is not None:
            self.write_failure = write_failure
        get_hub().loop.run_callback(self._wake)
        return 0

    def _wake(self):
        """Called by the loop: who is suspended goes on and looks why."""
        cdef greenlet waiting
        try:
            if self.reader is not None:
                waiting, self.reader = self.reader, None
                waiting.switch()
        finally:
            if self.writer is not None:
                waiting, self.writer = self.writer, None
                waiting.switch()

    def _overdue(self):
        """Called by the loop: a deadline that a user chose is over."""
        cdef double now = clock() + 0.01
        cdef greenlet waiting
        if self.reader is not None and 0 < self.read_until <= now:
            waiting, self.reader = self.reader, None
            waiting.throw(StreamTimeout("the read passed its deadline"))
        if self.writer is not None and 0 < self.write_until <= now:
            waiting, self.writer = self.writer, None
            waiting.throw(StreamTimeout("the write passed its deadline"))

    cdef int expired(self, Phase phase, double now) except -1:
        cdef Waiting stream = self.stream
        cdef Py_ssize_t n
        cdef bint slowly
        cdef object failure
        if phase is self.writing:
            if stream.takes_enough(phase, now):
                self.enter(phase)
                return 0
            slowly = stream.writes_slowly(phase, now)
            stream.failed = True
            failure = StreamTimeout(f"the peer read {phase.broken(slowly)}")
            return self.fail(failure, failure)
        slowly = stream.reads_slowly(phase, now)
        if not slowly:
            # The loop may have been held up, not the peer: what has come meanwhile counts.
            try:
                n = stream.fill_now()
            except OSError:
                n = 0                   # the next receive says that the input has ended
            if n >= 0:
                return self.fail(None, None)
        failure = StreamTimeout(f"the peer sent {phase.broken(slowly)}")
        return self.fail(failure, failure if stream.failed else None)

    cdef bint is_slow(self, double now) noexcept:
        if self.phase is self.reading:
            return self.stream.reads_slowly(self.phase, now)
        return self.stream.writes_slowly(self.phase, now)


cdef class Waiting:
    """A stream, as far as it waits. Base of `reading.Reader`."""

    # The seam ---------------------------------------------------------------------------------------------------------

    cdef int watch_read(self) except -1:
        """From now on `readable` is called when there is something to take. 1: it was so already, and nothing ran."""
        raise NotImplementedError

    cdef int watch_write(self, bint on) except -1:
        """From now on `writable` is called when something could be given; or no longer. 1 as for `watch_read`."""
        raise NotImplementedError

    cdef int hold(self) except -1:
        """A green thread has begun, or ceased, to wait: while one does, the loop must not end."""
        return 0

    cdef int64_t backlog(self) noexcept:
        """Bytes that were given and that the peer has not taken: those in the system's buffer."""
        return 0

    cdef bint starves(self) noexcept:
        """Whether the peer has taken all that was given: whatever waits, it waits for this program."""
        return False

    cdef bint left(self) except -1:
        """Whether the peer has gone: reset, or at the end of its input, all of which was read. Loses nothing."""
        return self.closed

    cdef int hang_up(self) except -1:
        """Tell the peer that nothing more will be sent."""
        raise NotImplementedError

    cdef int release(self, bint reset) except -1:
        """Let go of what is below; with `reset`, so that the peer cannot take it for a regular end."""
        raise NotImplementedError

    # Above ------------------------------------------------------------------------------------------------------------

    cdef Py_ssize_t fill_now(self) except -2:
        """Receive once: the number of new bytes; 0 at the end of input; -1 when nothing is there."""
        raise NotImplementedError

    cdef int64_t pending(self) noexcept:
        """Bytes of output that have not left."""
        return 0

    def _push(self):
        """Send what nobody waits for: now, and the rest as the peer takes it."""

    # Waiting ----------------------------------------------------------------------------------------------------------

    cdef bint readable(self) except -1:
        """Called by the transport, in the hub. False: nobody is interested, stop watching."""
        cdef Wait wait = self.wait
        cdef greenlet waiting
        if wait is not None and wait.reader is not None:
            waiting = wait.reader
            wait.reader = None
            wake(waiting)
            return True
        if self.job is not None:
            return self.job.ready(False)
        return False

    cdef int writable(self) except -1:
        """Called by the transport, in the hub."""
        cdef Wait wait = self.wait
        cdef greenlet waiting
        if wait is not None and wait.writer is not None:
            waiting = wait.writer
            wait.writer = None
            wake(waiting)
        elif wait is not None and wait.writes:
            self.watch_write(False)     # whoever is about to wait has it watched again
        elif self.pushing or (self.job is None and self.pending()):
            self._push()                # also what a write whose time was up has left
        elif self.job is None or not self.job.ready(True):
            self.watch_write(False)
        return 0

    cdef int fail(self, object failure) except -1:
        """Whoever waits on this stream gets `failure` raised."""
        if self.awaited():
            self.wait.fail(failure, failure)
        return 0

    cdef bint expel(self, str why) except -1:
        """The stream changes hands: from here on its job alone has it, until it unseals it. Whoever is in the middle of
        an operation raises StreamClosed when it goes on, and touches nothing. True: somebody waits in one."""
        cdef Wait wait = self.wait
        cdef object watcher, failure
        self.tenure += 1
        self.sealed = True
        self.pushing = False
        if wait is None or not (wait.reads or wait.writes):
            return False
        # They keep this Wait, whoever waits next on the stream gets another: readiness is none of theirs any more.
        self.wait = None
        wait.end()
        watcher, wait.watcher = wait.watcher, None
        failure = StreamClosed(why)
        if watcher is not None:
            watcher.stop()
            watcher.close()
        wait.fail(failure, failure)
        return True

    cdef Wait waiting(self):
        """What is needed to wait; made now if need be."""
        cdef Wait made
        if self.wait is None:
            # The collector may run here, a finalizer wait in it, and another green thread be first.
            made = Wait.__new__(Wait)
            if self.wait is None:
                self.wait = made
        return self.wait

    cdef void calm(self) noexcept:
        """The stream is put aside and nothing waits: forget what waiting needed."""
        cdef Wait wait = self.wait
        if wait is not None and wait.phase is None and wait.watcher is None and wait.timeout is None \
                and not self.awaited() and not self.pending():
            self.wait = None

    cdef bint awaited(self) noexcept:
        """Whether a green thread waits on this stream."""
        return self.wait is not None and (self.wait.reads or self.wait.writes)

    cdef void restart_pace(self, int64_t taken) noexcept:
        """A minimum rate counts from here, `taken` bytes having come already."""
        self.taken = taken
        if self.wait is not None:
            self.wait.waited = 0

    cdef bint reads_slowly(self, Phase phase, double now) noexcept:
        """Whether the peer has sent less than the phase asks for, counted only while somebody waited for it."""
        cdef Wait wait = self.wait
        cdef double elapsed
        if wait is None:
            return False
        elapsed = wait.waited + (now - wait.waits_since if wait.waits_since > 0 else 0)
        return elapsed > phase.grace and self.taken < phase.rate * elapsed

    cdef bint writes_slowly(self, Phase phase, double now) noexcept:
        """Whether the peer has taken less than the phase asks for, counted only while output was waiting for it.

        The system takes megabytes at once and then nothing until a third of them has left (Linux): what it was given
        says nothing about the peer, what it still holds does.
        """
        cdef Wait wait = self.wait
        cdef double elapsed
        if wait is None or wait.slow_since == 0:
            return False
        elapsed = now - wait.slow_since
        if elapsed <= phase.grace or wait.slow_moved + wait.slow_backlog - self.backlog() >= phase.rate * elapsed:
            return False
        return not self.held_up(now)

    cdef bint held_up(self, double now) noexcept:
        """Whether output waits for the loop and not for the peer: then the peer is given its time anew."""
        cdef Wait wait = self.wait
        if not self.starves():
            return False
        wait.slow_since = now
        wait.slow_moved = 0
        wait.slow_backlog = 0
        return True

    cdef void hold_up(self) noexcept:
        """The peer has something else to do first: what it takes of the output counts from here."""
        cdef Wait wait = self.wait
        if wait is not None and wait.slow_since > 0:
            wait.slow_since = clock()
            wait.slow_moved = 0
            wait.slow_backlog = self.backlog()

    cdef int progressed(self) except -1:
        """Whether the peer has taken some of what the system holds for it since this was asked last."""
        cdef Wait wait = self.waiting()
        cdef int64_t before = wait.last_backlog
        wait.last_backlog = self.backlog()
        return wait.last_backlog < before

    cdef int takes_enough(self, Phase phase, double now) except -1:
        """Whether the peer may go on to take output, though the time of `phase` is over or its rate was missed."""
        return not self.writes_slowly(phase, now) and (self.progressed() or self.starves())

    cdef int suspend(self, Wait wait, object running, bint writing, uint32_t mine) except -1:
        """Wait in the hub until somebody switches back, at most until the operation's deadline. `mine`: the tenure it
        began in."""
        cdef object timer = None, failure = None, hub = get_hub()
        cdef double until = wait.write_until if writing else wait.read_until
        cdef double seconds
        cdef PyObject* result
        self.share_turns = 0
        self.share_bytes = 0
        if until > 0:
            seconds = until - clock()
            if seconds <= 0:
                raise StreamTimeout("the stream operation timed out")
            # gevent's timers are the heap: a deadline that a user chose costs one, and nothing when there is none.
            # Not finer than the loop's clock: libuv counts milliseconds and warns about less.
            timer = hub.loop.timer(max(seconds, hub.loop.approx_timer_resolution))
            timer.start(wait._overdue, update=True)
        try:
            self.hold()
            while True:
                # What was done up to here may have run foreign code, and with it the loop: nothing of what this waits
                # for must have come unseen.
                failure = wait.write_failure if writing else wait.read_failure
                if self.closed or self.tenure != mine or failure is not None:
                    break
                if self.lost:
                    raise StreamClosed(LOST)
                if timer is not None and not timer.active:
                    raise StreamTimeout("the stream operation timed out")
                if not (self.watch_write(True) if writing else self.watch_read()):
                    continue
                if writing:
                    wait.writer = <greenlet>running
                    result = switch_quietly(<PyObject*>hub)
                    wait.writer = None
                else:
                    wait.reader = <greenlet>running
                    result = switch_quietly(<PyObject*>hub)
                    wait.reader = None
                outcome(result)
                break
        finally:
            if writing:
                failure, wait.write_failure = wait.write_failure, None
            else:
                failure, wait.read_failure = wait.read_failure, None
            if timer is not None:
                timer.stop()
                timer.close()
        if failure is not None:
            raise failure
        if self.tenure != mine:
            raise StreamClosed(OVER)
        if self.closed:
            raise StreamClosed("the stream was closed by another green thread")
        return 0

    cdef int wait_read(self) except -1:
        """Suspend the running green thread until the peer has sent something, or has finished."""
        cdef uint32_t mine = self.tenure
        cdef object running = self.current()
        cdef Wait wait = self.waiting()
        if self.tenure != mine:
            raise StreamClosed(OVER)
        if self.closed:
            raise StreamClosed("the stream is closed")
        if wait.reads:
            raise RuntimeError("another green thread is already reading this stream")
        wait.reads = True
        try:
            if self.pending():
                self._push()
            wait.reading = self.job.input_phase() if self.job is not None else None
            if wait.reading is not None and self.wait is wait:
                wait.begin(self, wait.reading)
                wait.waits_since = clock()
            self.suspend(wait, running, False, mine)
        finally:
            wait.reads = False
            if wait.waits_since > 0:
                wait.waited += clock() - wait.waits_since
                wait.waits_since = 0
                wait.end()
                if wait.writes and wait.writing is not None and self.wait is wait and not self.closed:
                    wait.begin(self, wait.writing)  # one place in one phase: the other green thread's turn
            self.hold()
        return 0

    cdef int wait_write(self) except -1:
        """Suspend the running green thread until the peer takes more."""
        cdef uint32_t mine = self.tenure
        cdef object running = self.current()
        cdef Wait wait = self.waiting()
        if self.tenure != mine:
            raise StreamClosed(OVER)
        if self.closed:
            raise StreamClosed("the stream is closed")
        if wait.writes:
            raise RuntimeError("another green thread is already writing to this stream")
        wait.writes = True
        try:
            wait.writing = self.job.output_phase() if self.job is not None else None
            if wait.writing is not None and self.wait is wait:
                self.progressed()
                wait.begin(self, wait.writing)
            self.suspend(wait, running, True, mine)
            wait.writes = False
        except BaseException:
            wait.writes = False                     # first: else `writable` would take this for somebody who waits
            if self.wait is wait and not (self.closed or self.lost or self.sealed):
                self.pushing = True                 # nobody waits for the rest now: the loop sends it
                self.watch_write(True)
            raise
        finally:
            if wait.writing is not None:
                wait.end()
                if wait.waits_since > 0 and self.wait is wait and not self.closed:
                    wait.begin(self, wait.reading)
            self.hold()
        return 0

    cdef object current(self):
        cdef object running = current_greenlet()
        if running is get_hub():
            raise RuntimeError("a stream cannot wait in a callback of the loop; use it in a green thread")
        return running

    cdef int share(self, Py_ssize_t size) except -1:
        """Count an operation that did not wait; after enough of them let everybody else go first."""
        cdef object hub
        cdef uint32_t mine = self.tenure
        self.share_turns += 1
        self.share_bytes += <uint32_t>min(size, <Py_ssize_t>SHARE_BYTES)
        if self.share_turns >= SHARE_TURNS or self.share_bytes >= SHARE_BYTES:
            self.share_turns = 0
            self.share_bytes = 0
            hub = get_hub()
            if current_greenlet() is hub:
                return 0                # a callback that does not wait cannot yield either
            next_turn(hub)
            if self.tenure != mine:
                raise StreamClosed(OVER)
        return 0

    cdef double deadline(self, object timeout) except -1:
        if timeout is None and self.wait is not None:
            timeout = self.wait.timeout
        if timeout is None:
            return 0
        return clock() + min(max(<double>timeout, 1e-6), FOREVER)

    cdef int begin_read(self, object timeout) except -1:
        cdef double until = self.deadline(timeout)
        if self.wait is not None and self.wait.reads:
            raise RuntimeError("another green thread is already reading this stream")
        if until > 0 or self.wait is not None:
            self.waiting().read_until = until
        return 0

    cdef int begin_write(self, object timeout) except -1:
        cdef double until = self.deadline(timeout)
        if self.wait is not None and self.wait.writes:
            raise RuntimeError("another green thread is already writing to this stream")
        if until > 0 or self.wait is not None:
            self.waiting().write_until = until
        return 0

    @property
    def timeout(self):
        """Seconds that any one operation may wait; None, the default, is without limit.

        Every reading and writing method takes `timeout=` to override it. Past it, StreamTimeout is raised; what was
        buffered stays.
        """
        return None if self.wait is None else self.wait.timeout

    @timeout.setter
    def timeout(self, seconds):
        if seconds is not None or self.wait is not None:
            self.waiting().timeout = seconds
