"""Stream: bytes to and from a peer, read and written as if that blocked.

Over the limit of one screenful because it is one thing: a buffer in, a buffer out, and two places where the running
green thread waits. What lies below is reached through a seam of few methods (`take`, `give`, `watch_*`); `transport`
has a descriptor and memory behind it.

Memory. An idle stream has no buffer at all. Input is received into chunks borrowed from a common stock; when a stream
is put aside with a few unread bytes they are packed into memory of their size. Output gathers in a borrowed chunk, so
that a response - or sixteen pipelined ones - leaves in one system call; large pieces are not copied but chained
before it.

Waiting. `read` and `write` suspend the running green thread alone. Output is pushed out before a read suspends, when
the output grows beyond 64 KiB, and otherwise at the end of the loop's turn.

Sharing. After 16 operations or 256 KiB without having waited, a green thread goes to the back of the loop's queue.

Changing hands. A connection's requests use its stream one after the other, and an application may leave green threads
behind that still read or write. `expel` ends their tenure: whoever comes back from a wait, or from its turn, and finds
another tenure than it began in, raises and touches nothing.

Foreign code - a finalizer, a signal's handler - runs at any allocation and may wait. So between two writes to one state
nothing allocates a Python object that the collector counts; what allocates comes first, and what it may have changed
is looked at behind it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcpy, memmove

from greenhttp.green.deadline cimport Phase, Timed, clock
from greenhttp.green.switch cimport PyGreenlet_Import, current_greenlet, greenlet, outcome, switch_quietly, switch_to

import fcntl
import os
import stat
import sys

from gevent import get_hub

from greenhttp.errors import LineTooLong, StreamClosed, StreamTimeout


cdef extern from "string.h":
    void* memmem(const void* haystack, size_t haystack_size, const void* needle, size_t needle_size)

cdef extern from "unistd.h":
    ssize_t pread(int fd, void* into, size_t size, int64_t offset)
    int c_close "close"(int fd)

cdef extern from "Python.h":
    PyTypeObject* Py_TYPE(PyObject* o)

PyGreenlet_Import()

cdef double FOREVER = 1e9       # seconds, thirty years: what no loop's timer overflows at

cdef str LOST = "output before this was lost: nothing more can be sent, nor is there an answer to wait for"
cdef str OVER = "the request is over, or the handler has returned: the stream belongs to somebody else"

cdef enum:
    STOCK = 256                 # chunks kept for reuse, 4 MiB
    SMALL = 4096                # output up to this size is copied, larger pieces are chained
    HIGH_WATER = 65536          # unsent output beyond which `write` waits
    PARTS = 64                  # pieces per vectored send
    MOST_INPUT = 1073741824     # bytes buffered at most: positions are 32 bits
    SHARE_TURNS = 16
    SHARE_BYTES = 262144
    FLUSH_BYTES = 1048576       # sent per call at most by a flush that nobody waits for

# Chunks are touched again at once and last in, first out: the one in use stays in the processor's cache.
cdef char* stock[STOCK]
cdef int stocked = 0
cdef size_t held = 0            # bytes of packed and grown input buffers, in this process


cdef inline char* borrow() noexcept:
    global stocked
    if stocked:
        stocked -= 1
        return stock[stocked]
    return <char*>malloc(CHUNK)


cdef inline void hand_back(char* chunk) noexcept:
    global stocked
    if stocked < STOCK:
        stock[stocked] = chunk
        stocked += 1
    else:
        free(chunk)


cdef size_t held_bytes() noexcept:
    """Bytes of input that streams of this process hold while nobody reads them."""
    return held


cdef int need_open(Stream stream) except -1:
    """Raise StreamClosed if nothing can be written any more."""
    if stream.closed:
        raise StreamClosed("the stream is closed")
    if stream.lost:
        raise StreamClosed(LOST)
    if stream.sealed:
        raise StreamClosed(OVER)
    return 0


cdef inline PyObject** items(Chain* chain) noexcept:
    """The first of its items that has not left."""
    return <PyObject**>(chain + 1) + chain.first


cdef inline bint is_file(PyObject* item) noexcept:
    return Py_TYPE(item) == <PyTypeObject*>FilePart


cdef void free_chain(Chain* chain) noexcept:
    cdef uint32_t i
    for i in range(chain.count):
        Py_DECREF(<object>items(chain)[i])      # bytes and FileParts: nothing of anybody else's runs
    free(chain)


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


cdef class FilePart:
    """A range of a file that waits to be sent, by a descriptor of its own: the caller may close the file meanwhile."""

    def __cinit__(self, int fd, int64_t offset, int64_t left):
        self.fd = -1
        self.fd = os.dup(fd)
        self.offset = offset
        self.left = left

    def __dealloc__(self):
        if self.fd >= 0:
            c_close(self.fd)


cdef class Wait(Timed):
    """Who waits on a stream, until when, and how fast its peer has been meanwhile. See stream.pxd."""

    cdef void begin(self, Stream stream, Phase phase) noexcept:
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
        cdef Stream stream = self.stream
        cdef Py_ssize_t n
        cdef object failure
        if phase is self.writing:
            if stream.takes_enough(phase, now):
                self.enter(phase)
                return 0
            stream.failed = True
        elif not stream.reads_slowly(phase, now):
            # The loop may have been held up, not the peer: what has come meanwhile counts.
            try:
                n = stream.fill_now()
            except OSError:
                n = 0                   # the next receive says that the input has ended
            if n >= 0:
                return self.fail(None, None)
        failure = StreamTimeout(f"nothing moved for {phase.duration:g} s ({phase.name})")
        return self.fail(failure, failure if stream.failed else None)

    cdef bint is_slow(self, double now) noexcept:
        if self.phase is self.reading:
            return self.stream.reads_slowly(self.phase, now)
        return self.stream.writes_slowly(self.phase, now)


cdef class Stream:
    """A buffered byte stream. Base of the streams in `transport`; not made directly.

    One green thread may read while another writes; two readers, or two writers that have to wait, are an error.

    Used in one thread, that of the hub which is there when it first waits.
    """

    def __dealloc__(self):
        self.drop_input()
        if self.outbuf != NULL:
            hand_back(self.outbuf)
        if self.chain != NULL:
            free_chain(self.chain)

    # The seam ---------------------------------------------------------------------------------------------------------

    cdef Py_ssize_t take(self, char* into, size_t size) except -2:
        """Bytes that are there now, at most `size`; 0 at the end of input; -1 when nothing is there."""
        raise NotImplementedError

    cdef Py_ssize_t give(self, iovec* parts, int count) except -2:
        """Send what goes out now, in order; -1 when nothing does."""
        raise NotImplementedError

    cdef Py_ssize_t give_file(self, FilePart part, size_t size) except -2:
        """Send at most `size` bytes of a file; 0 when the file has ended early; -1 when nothing goes out now."""
        cdef char* chunk = borrow()
        cdef iovec piece
        cdef ssize_t n
        if chunk == NULL:
            raise MemoryError
        try:
            n = pread(part.fd, chunk, min(size, <size_t>CHUNK), part.offset)
            if n <= 0:
                return 0
            piece.iov_base = chunk
            piece.iov_len = n
            return self.give(&piece, 1)
        finally:
            hand_back(chunk)

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

    cdef bint left(self) noexcept:
        """Whether the peer has gone: reset, or at the end of its input, all of which was taken. Takes nothing."""
        return self.closed

    cdef int hang_up(self) except -1:
        """Tell the peer that nothing more will be sent."""
        raise NotImplementedError

    cdef int release(self, bint reset) except -1:
        """Let go of what is below; with `reset`, so that the peer cannot take it for a regular end."""
        raise NotImplementedError

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
                raise StreamTimeout("the operation passed its deadline")
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
                    raise StreamTimeout("the operation passed its deadline")
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
            raise RuntimeError("a stream cannot wait inside a callback of the loop; use a green thread")
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

    # Input ------------------------------------------------------------------------------------------------------------

    cdef void drop_input(self) noexcept:
        global held
        if self.inbuf != NULL:
            if self.in_cap == CHUNK:
                hand_back(self.inbuf)
            else:
                held -= self.in_cap
                free(self.inbuf)
            self.inbuf = NULL
        self.in_cap = self.in_pos = self.in_end = 0

    cdef int resize_input(self, uint32_t capacity) except -1:
        """Move what is unread into memory of another size. CHUNK itself always means a borrowed chunk."""
        global held
        cdef uint32_t unread = self.in_end - self.in_pos
        cdef char* memory = borrow() if capacity == CHUNK else <char*>malloc(capacity)
        if memory == NULL:
            raise MemoryError
        if unread:
            memcpy(memory, self.inbuf + self.in_pos, unread)
        self.drop_input()
        if capacity != CHUNK:
            held += capacity
        self.inbuf = memory
        self.in_cap = capacity
        self.in_end = unread
        return 0

    cdef int make_room(self) except -1:
        if self.inbuf == NULL:
            self.inbuf = borrow()
            if self.inbuf == NULL:
                raise MemoryError
            self.in_cap = CHUNK
            self.in_pos = self.in_end = 0
        elif self.in_end == self.in_cap:
            if self.in_pos >= self.in_cap >> 1:
                memmove(self.inbuf, self.inbuf + self.in_pos, self.in_end - self.in_pos)
                self.in_end -= self.in_pos
                self.in_pos = 0
            else:
                if self.in_cap >= MOST_INPUT:
                    raise MemoryError
                self.resize_input(self.in_cap * 2)
        return 0

    cdef Py_ssize_t fill_now(self) except -2:
        """Receive once: the number of new bytes; 0 at the end of input; -1 when nothing is there."""
        return self.fill_some(MOST_INPUT)

    cdef Py_ssize_t fill_some(self, Py_ssize_t most) except -2:
        """As `fill_now`, at most so many bytes."""
        cdef Py_ssize_t n
        if self.at_end:
            return 0
        self.make_room()
        n = self.take(self.inbuf + self.in_end, min(<Py_ssize_t>(self.in_cap - self.in_end), most))
        if n > 0:
            self.in_end += <uint32_t>n
            self.taken += n
        else:
            if n == 0:
                self.at_end = True
            if self.in_end == self.in_pos:
                self.drop_input()
        return n

    cdef Py_ssize_t fill(self) except -1:
        """Receive, waiting if need be: the number of new bytes; 0 at the end of input."""
        cdef Py_ssize_t n
        while True:
            if self.closed:
                raise StreamClosed("the stream is closed")
            n = self.fill_now()
            if n >= 0:
                self.share(n)
                if self.closed:
                    raise StreamClosed("the stream was closed by another green thread")
                return n
            self.wait_read()

    cdef void pack(self) noexcept:
        """This stream is put aside: keep its unread bytes in no more memory than they need."""
        cdef uint32_t unread = self.in_end - self.in_pos
        cdef uint32_t capacity = 128
        if self.inbuf == NULL:
            return
        if unread == 0:
            self.drop_input()
        elif self.in_cap == CHUNK:
            while capacity < unread + (unread >> 2):
                capacity <<= 1
            if capacity == CHUNK:
                capacity = CHUNK + SMALL        # of its own, and so counted in `held`
            try:
                self.resize_input(capacity)
            except MemoryError:
                pass                    # it stays where it is

    cdef void consume(self, Py_ssize_t size) noexcept:
        if size >= <Py_ssize_t>(self.in_end - self.in_pos):     # more, if it was closed meanwhile
            self.drop_input()
        else:
            self.in_pos += <uint32_t>size

    cdef int unpin(self, Py_ssize_t size) except -1:
        """The bytes that were looked at are done with, `size` of them for good."""
        self.pinned = False
        self.consume(size if not self.closed else self.in_end - self.in_pos)
        return 0

    cdef bytes cut(self, Py_ssize_t size):
        """The next `size` buffered bytes, removed from the buffer."""
        cdef bytes data = PyBytes_FromStringAndSize(self.inbuf + self.in_pos, size)
        self.consume(size)
        return data

    cdef Py_ssize_t read_now(self, char* into, Py_ssize_t size) except -2:
        """What is there, at most `size`, into memory of the caller; 0 at the end of input; -1 when nothing is there."""
        cdef Py_ssize_t n
        if self.in_end == self.in_pos:
            if self.closed:
                raise StreamClosed("the stream is closed")
            if size >= CHUNK and not self.at_end:       # straight to where it is wanted
                n = self.take(into, size)
                if n > 0:
                    self.taken += n
                elif n == 0:
                    self.at_end = True
                return n
            n = self.fill_now()
            if n <= 0:
                return n
        n = min(<Py_ssize_t>(self.in_end - self.in_pos), size)
        memcpy(into, self.inbuf + self.in_pos, n)
        self.consume(n)
        return n

    cdef Py_ssize_t read_into(self, char* into, Py_ssize_t size) except -1:
        """At least one byte, at most `size`, into memory of the caller; 0 at the end of input. May wait."""
        cdef Py_ssize_t n
        cdef uint32_t mine = self.tenure
        while True:
            n = self.read_now(into, size)
            if n >= 0:
                try:
                    self.share(n)
                except BaseException:
                    if n and not self.closed and self.tenure == mine:
                        self.unread(into, n)    # whoever interrupts the others' turn must not cost a byte
                    raise
                return n
            self.wait_read()

    cdef bytes gather(self, Py_ssize_t size):
        """`size` bytes, fewer at the end of input. Memory grows with what arrives, not with what was asked for."""
        cdef Py_ssize_t got = 0, capacity = min(size, <Py_ssize_t>65536), n
        cdef bytes data = PyBytes_FromStringAndSize(NULL, capacity)
        cdef bytes larger
        cdef uint32_t mine = self.tenure
        try:
            while got < size:
                if got == capacity:
                    capacity = min(size, capacity * 2)
                    larger = PyBytes_FromStringAndSize(NULL, capacity)
                    memcpy(PyBytes_AS_STRING(larger), PyBytes_AS_STRING(data), got)
                    data = larger
                n = self.read_into(PyBytes_AS_STRING(data) + got, capacity - got)
                if n == 0:
                    break
                got += n
        except BaseException:
            if got and not self.closed and self.tenure == mine:
                self.unread(PyBytes_AS_STRING(data), got)
            raise
        return data if got == capacity else PyBytes_FromStringAndSize(PyBytes_AS_STRING(data), got)

    cdef int unread(self, const char* data, Py_ssize_t size) except -1:
        """Put bytes back before the buffer, so that a timed-out read has lost nothing."""
        cdef uint32_t unread = self.in_end - self.in_pos
        cdef bytes rest = PyBytes_FromStringAndSize(self.inbuf + self.in_pos, unread) if unread else b""
        cdef uint32_t capacity = 2 * CHUNK
        if size + unread > <Py_ssize_t>MOST_INPUT:
            raise MemoryError("more than 1 GiB was read and cannot be put back")
        self.drop_input()
        while capacity < size + unread:
            capacity <<= 1
        self.resize_input(capacity)
        memcpy(self.inbuf, data, size)
        memcpy(self.inbuf + size, PyBytes_AS_STRING(rest), unread)
        self.in_end = <uint32_t>(size + unread)
        return 0

    def read(self, Py_ssize_t size=-1, *, timeout=None):
        """`size` bytes, or all up to the end of input if `size` is negative. Fewer only at the end of input.

        Raises StreamTimeout, StreamClosed, or a ConnectionError from the system.
        """
        self.begin_read(timeout)
        return self.gather(size if size >= 0 else <Py_ssize_t>(<size_t>-1 >> 1))

    def read_some(self, Py_ssize_t size=65536, *, timeout=None):
        """What is there, at least one byte and at most `size`, waiting only if nothing is. b"" at the end of input."""
        self.begin_read(timeout)
        if size <= 0:
            return b""
        while self.in_end == self.in_pos:       # again, if another green thread took in the meantime what had come
            if self.fill() == 0:
                return b""
        return self.cut(min(size, <Py_ssize_t>(self.in_end - self.in_pos)))

    def readexactly(self, Py_ssize_t size, *, timeout=None):
        """Exactly `size` bytes. Raises EOFError if the input ends before; what had arrived can still be read."""
        cdef bytes data
        if size < 0:
            raise ValueError(f"{size} bytes cannot be read; give 0 or more")
        self.begin_read(timeout)
        data = self.gather(size)
        if PyBytes_GET_SIZE(data) < size:
            if data:
                self.unread(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            raise EOFError(f"the input ended after {len(data)} of {size} bytes")
        return data

    def readuntil(self, bytes separator not None=b"\n", Py_ssize_t limit=65536, *, timeout=None):
        """Bytes up to and including `separator`; at the end of input what is left, possibly b"".

        Raises LineTooLong when `limit` bytes hold no separator; they stay unread.
        """
        cdef Py_ssize_t n = PyBytes_GET_SIZE(separator), searched = 0, unread
        cdef char* start
        cdef char* found
        if n == 0:
            raise ValueError("the separator is empty")
        self.begin_read(timeout)
        while True:
            unread = self.in_end - self.in_pos
            if unread - searched >= n:
                start = self.inbuf + self.in_pos
                if n == 1:
                    found = <char*>memchr(start + searched, PyBytes_AS_STRING(separator)[0], unread - searched)
                else:
                    found = <char*>memmem(start + searched, unread - searched, PyBytes_AS_STRING(separator), n)
                if found != NULL and found - start + n <= limit:
                    return self.cut(found - start + n)
                searched = unread - n + 1
            if unread >= limit:
                raise LineTooLong(f"no {separator!r} within {limit} bytes")
            if self.fill() == 0:
                return self.cut(self.in_end - self.in_pos) if self.in_end > self.in_pos else b""

    def readline(self, Py_ssize_t limit=65536, *, timeout=None):
        """One line with its line feed; the last one may lack it; b"" at the end of input. Raises LineTooLong."""
        return self.readuntil(b"\n", limit, timeout=timeout)

    def __iter__(self):
        return self

    def __next__(self):
        cdef bytes line = self.readuntil(b"\n")
        if not line:
            raise StopIteration
        return line

    # Output -----------------------------------------------------------------------------------------------------------

    cdef int64_t pending(self) noexcept:
        """Bytes of output that have not left."""
        return (self.chain.size if self.chain != NULL else 0) + (self.out_end - self.out_pos)

    cdef int seal(self) except -1:
        """Move the tail of the output into the chain, so that something can come after it."""
        cdef Py_ssize_t size = self.out_end - self.out_pos
        if size:
            self.link(PyBytes_FromStringAndSize(self.outbuf + self.out_pos, size), size)
        self.out_pos = self.out_end = 0
        return 0

    cdef int link(self, object item, int64_t size) except -1:
        """Append a bytes or a FilePart of so many bytes to the chain."""
        cdef Chain* chain = self.chain
        cdef uint32_t room
        if chain == NULL or chain.first + chain.count == chain.room:
            if chain != NULL and chain.first > chain.room >> 1:
                memmove(chain + 1, items(chain), chain.count * sizeof(PyObject*))
                chain.first = 0
            else:
                room = 8 if chain == NULL else 2 * chain.room
                chain = <Chain*>realloc(chain, sizeof(Chain) + room * sizeof(PyObject*))
                if chain == NULL:
                    raise MemoryError
                if self.chain == NULL:
                    chain.size = chain.skip = 0
                    chain.first = chain.count = 0
                chain.room = room
                self.chain = chain
        items(chain)[chain.count] = <PyObject*>item
        Py_INCREF(item)
        chain.count += 1
        chain.size += size
        return 0

    cdef char* reserve(self, Py_ssize_t size) except NULL:
        """Room for `size` bytes, at most CHUNK, at the end of the output; `commit` says how many were written."""
        if self.outbuf == NULL:
            self.outbuf = borrow()
            if self.outbuf == NULL:
                raise MemoryError
            self.out_pos = self.out_end = 0
        elif CHUNK - <Py_ssize_t>self.out_end < size:
            self.seal()
        return self.outbuf + self.out_end

    cdef void commit(self, Py_ssize_t size) noexcept:
        self.out_end += <uint32_t>size

    cdef int put(self, const char* data, Py_ssize_t size) except -1:
        """Append to the output by copying. Sends nothing."""
        if size <= CHUNK:
            memcpy(self.reserve(size), data, size)
            self.out_end += <uint32_t>size
            return 0
        return self.put_object(PyBytes_FromStringAndSize(data, size))

    cdef int put_object(self, bytes data) except -1:
        """Append to the output, large pieces without copying. Sends nothing."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if size <= SMALL:
            return self.put(PyBytes_AS_STRING(data), size)
        self.seal()
        return self.link(data, size)

    cdef int put_file(self, FilePart part) except -1:
        """Append a range of a file to the output. Sends nothing."""
        self.seal()
        return self.link(part, part.left)

    cdef void drop_output(self) noexcept:
        if self.outbuf != NULL:
            hand_back(self.outbuf)
            self.outbuf = NULL
        self.out_pos = self.out_end = 0
        if self.chain != NULL:
            free_chain(self.chain)
            self.chain = NULL
        if self.wait is not None:
            self.wait.slow_since = 0

    cdef int flush_now(self) except -1:
        """Send what goes out without waiting. 1: everything has left. 0: the rest waits for the peer.

        Between a system call and `sent`, and between two of `link` for what belongs together, nothing allocates.
        """
        cdef iovec parts[PARTS + 1]
        cdef Chain* chain
        cdef PyObject** item
        cdef uint32_t i
        cdef int count
        cdef Py_ssize_t n
        cdef int64_t budget = FLUSH_BYTES
        cdef FilePart part
        if self.wait is not None and self.wait.slow_since > 0:
            self.held_up(clock())       # now: what is given below hides it
        while True:
            if self.closed:
                raise StreamClosed("the stream is closed")
            if self.lost:
                raise StreamClosed(LOST)
            count = 0
            i = 0
            chain = self.chain
            if chain != NULL:
                item = items(chain)
                while i < chain.count and i < PARTS and not is_file(item[i]):
                    parts[i].iov_base = PyBytes_AS_STRING(<object>item[i])
                    parts[i].iov_len = PyBytes_GET_SIZE(<object>item[i])
                    i += 1
                if i:
                    parts[0].iov_base = <char*>parts[0].iov_base + chain.skip
                    parts[0].iov_len -= chain.skip
                count = i
            if (chain == NULL or i == chain.count) and self.out_end > self.out_pos:
                parts[count].iov_base = self.outbuf + self.out_pos
                parts[count].iov_len = self.out_end - self.out_pos
                count += 1
            if count:
                n = self.give(parts, count)
            elif chain != NULL:
                part = <FilePart>item[0]
                n = self.give_file(part, <size_t>min(part.left, <int64_t>SHARE_BYTES))
                if n == 0:
                    self.lost = True
                    raise StreamClosed("a file ended before the bytes that were promised of it")
            else:
                break
            if n < 0:
                return self.stalled()
            self.sent(n)
            budget -= n
            if self.wait is not None and self.wait.slow_since > 0:
                self.wait.slow_moved += n
            if budget <= 0 and self.pending():
                return self.stalled()
        self.drop_output()
        return 1

    cdef int stalled(self) except -1:
        """Some output has to wait: from here on the peer's pace counts. 0."""
        cdef Wait wait = self.waiting()
        if self.closed:
            raise StreamClosed("the stream was closed by another green thread")
        if wait.slow_since == 0 and self.pending():
            wait.slow_since = clock()
            wait.slow_moved = 0
            wait.slow_backlog = self.backlog()
        return 0

    cdef void sent(self, int64_t size) noexcept:
        """Strike `size` bytes off the front of the output."""
        cdef Chain* chain = self.chain
        cdef PyObject* item
        cdef int64_t rest
        while size and chain != NULL:
            item = items(chain)[0]
            rest = (<FilePart>item).left if is_file(item) else PyBytes_GET_SIZE(<object>item) - chain.skip
            chain.size -= min(size, rest)
            if size < rest:
                if is_file(item):
                    (<FilePart>item).left -= size
                    (<FilePart>item).offset += size
                else:
                    chain.skip += size
                return
            size -= rest
            chain.skip = 0
            chain.first += 1
            chain.count -= 1
            if chain.count == 0:
                free(chain)
                self.chain = chain = NULL
            Py_DECREF(<object>item)         # a bytes or a FilePart: nothing of anybody else's runs
        self.out_pos += <uint32_t>size

    cdef int quiet(self) except -1:
        """All output has left: nothing is pushed out, and unless somebody waits for it, writing is not watched."""
        self.pushing = False
        if self.wait is not None and not self.wait.writes:
            self.watch_write(False)
        return 0

    cdef int flush_all(self) except -1:
        """Send everything, waiting for the peer where need be."""
        cdef uint32_t mine = self.tenure
        cdef int64_t before
        while True:
            if self.tenure != mine:
                raise StreamClosed(OVER)
            need_open(self)
            before = self.pending()
            if self.flush_now():
                if self.tenure == mine:
                    self.quiet()
                    self.share(before)
                return 0
            if self.pending() < before:
                self.share(before - self.pending())
            if self.tenure == mine:
                self.wait_write()

    def _push(self):
        """Send what nobody waits for: now, and the rest as the peer takes it."""
        cdef uint32_t mine = self.tenure
        if self.closed or self.lost or self.sealed or self.wait is not None and self.wait.writes:
            return
        try:
            if self.flush_now():
                if self.pushing:
                    self.quiet()
            elif self.tenure == mine:
                self.pushing = True
                self.watch_write(True)
        except OSError as error:
            # The peer has gone, or a file ended early. Whoever writes next is told, and nothing follows.
            if self.tenure != mine or self.closed:
                return
            self.lost = True
            self.drop_output()
            if self.pushing:
                self.quiet()
            if self.job is not None:
                self.job.gave_up(error)
            self.fail(StreamClosed(LOST))       # who waits for the peer may wait for an answer to what was lost

    def _push_scheduled(self):
        self.scheduled = False
        self._push()

    cdef int written(self, object timeout) except -1:
        cdef int64_t pending = self.pending()
        if pending > HIGH_WATER:
            self.begin_write(timeout)
            while not self.flush_now() and self.pending() > HIGH_WATER:
                self.wait_write()
            self.share(pending)
        if self.pending() and not self.pushing and not self.scheduled:
            self.scheduled = True
            try:
                get_hub().loop.run_callback(self._push_scheduled)
            except BaseException:
                self.scheduled = False
                raise
        return 0

    def write(self, data, *, timeout=None):
        """Append bytes to the output. Waits while more than 64 KiB are unsent; what is less leaves by itself, at the
        latest at the end of this turn of the loop.

        Raises StreamTimeout, StreamClosed, or a ConnectionError from the system.
        """
        if type(data) is not bytes:
            data = bytes(memoryview(data))
        need_open(self)
        self.put_object(data)
        self.written(timeout)

    def writelines(self, pieces, *, timeout=None):
        """Append many pieces; they leave together, in one system call where that is possible."""
        need_open(self)
        for data in pieces:
            if type(data) is not bytes:
                data = bytes(memoryview(data))
            need_open(self)                     # whatever made the piece may have taken long
            self.put_object(data)
        self.written(timeout)

    def flush(self, *, timeout=None):
        """Wait until the system has taken all output."""
        self.begin_write(timeout)
        self.flush_all()

    def sendfile(self, file, int64_t offset=0, count=None, *, timeout=None):
        """Send `count` bytes of a regular file from `offset`, by default to its end, without reading them into memory.

        Arguments:
            file: an object with `fileno()`, open for reading.

        Returns the number of bytes sent. Raises ValueError, before anything is sent, for an offset or a count below 0,
        and for what is not a regular file open for reading; StreamClosed if the file shrinks meanwhile.
        """
        cdef FilePart part = None
        cdef int64_t left
        cdef int fd = file.fileno()
        if offset < 0 or count is not None and count < 0:
            raise ValueError("an offset and a count are 0 or more")
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
            raise ValueError("sendfile needs a regular file that is open for reading")
        left = status.st_size - offset
        if count is not None:
            left = min(left, <int64_t>count)
        if left > 0:
            part = FilePart(fd, offset, left)
        need_open(self)
        if part is not None:
            self.put_file(part)
        self.flush(timeout=timeout)
        return max(left, 0)

    # The end ----------------------------------------------------------------------------------------------------------

    def shutdown(self, *, timeout=None):
        """Send all output, then tell the peer that nothing more will come. Reading goes on."""
        self.flush(timeout=timeout)
        self.hang_up()

    def close(self, *, timeout=None):
        """Send all output and close. Closing twice is nothing."""
        if self.closed:
            return
        try:
            # A writer that still waits learns that the stream was closed.
            if self.pending() and (self.wait is None or not self.wait.writes):
                self.flush(timeout=timeout)
        finally:
            # What was given up, or could not be sent, must not look like a regular end.
            self.finish(self.lost or self.pending() > 0)
            self.tell_job()

    def abort(self):
        """Close at once, unsent output is lost; the peer sees a reset, not an end."""
        self.finish(True)
        self.tell_job()

    cdef int tell_job(self) except -1:
        """Closed by somebody who holds the stream: a job that waits for it would wait for ever."""
        if self.sealed and self.job is not None:
            self.job.stream_closed()
        return 0

    cdef int finish(self, bint reset) except -1:
        if self.closed:
            return 0
        self.closed = True
        if self.wait is not None:
            self.wait.end()
        self.drop_output()
        if not self.pinned:
            self.drop_input()
        try:
            self.release(reset)
        finally:
            self.fail(StreamClosed("the stream was closed by another green thread"))
        return 0

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            self.close()
        else:
            self.abort()

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

    @property
    def closed(self):
        """Whether `close` or `abort` was called, or the server has ended the connection."""
        return bool(self.closed)

    @property
    def failed(self):
        """Whether the connection broke, or the peer was given up: nothing more can be said to it."""
        return bool(self.failed)

    @property
    def buffered(self):
        """Bytes that have arrived and were not read."""
        return self.in_end - self.in_pos

    @property
    def unsent(self):
        """Bytes that were written and have not left."""
        return self.pending()

    @property
    def peer(self):
        """The other end: (host, port), or "" where there is none."""
        return ""
