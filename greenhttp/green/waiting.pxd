from libc.stdint cimport int64_t, uint32_t

from greenhttp.green.deadline cimport Phase, Timed, flag
from greenhttp.green.pool cimport Job
from greenhttp.green.switch cimport greenlet

cdef enum:
    SHARE_TURNS = 16            # operations, and
    SHARE_BYTES = 262144        # bytes, after which a green thread that has not waited lets others go first

cdef class Wait(Timed):
    # What a stream needs only while somebody, or its output, waits for the peer: ten thousand idle ones do without.
    cdef Waiting stream                  # while this is in a phase, else None
    cdef flag reads                     # a green thread is in `wait_read`,
    cdef flag writes                    # in `wait_write`
    cdef greenlet reader                # that one, while it is suspended and may be switched to
    cdef greenlet writer
    cdef object read_failure            # raised by `wait_read`, or None
    cdef object write_failure           # by `wait_write`
    cdef object timeout                 # seconds an operation may wait unless told otherwise; None: without limit
    cdef object watcher                 # of the transport, for writing; only while output waits
    cdef Phase reading                  # where `reader` is told that the peer is silent or slow, or None
    cdef Phase writing                  # the same for `writer`
    cdef double read_until              # deadlines of the operations in progress, 0 for none
    cdef double write_until
    cdef double waited                  # seconds spent in `reading` phases: for its minimum rate
    cdef double waits_since
    cdef double lingers_until           # when reading on ends, whatever comes
    cdef int64_t dropped                # bytes that came meanwhile, and that nobody will read
    cdef double slow_since              # output began to wait then; 0: none waits
    cdef int64_t slow_moved             # bytes sent since
    cdef uint32_t slow_backlog          # `backlog` at that moment
    cdef uint32_t last_backlog          # `backlog` when `progressed` was asked last

    cdef void begin(self, Waiting stream, Phase phase) noexcept
    cdef void end(self) noexcept
    cdef int fail(self, object read_failure, object write_failure) except -1

cdef class Waiting:
    cdef Job job                        # told of readiness while no green thread waits; None for scripts
    cdef Wait wait                      # None as long as nobody has waited, and again once nobody does
    cdef int64_t taken                  # bytes that came, since whoever counts them has set it
    cdef uint32_t share_bytes           # moved since this stream last suspended anybody
    cdef uint32_t tenure                # counts up when the stream changes hands: what began before must not go on
    cdef unsigned char share_turns
    cdef flag scheduled                 # `_push` is called at the end of this turn
    cdef flag pushing                   # output that nobody waits for is being pushed out by the loop
    cdef flag lost                      # output was given up: nothing may follow on this connection
    cdef flag sealed                    # its job alone sends what is left: the request, or the handler, is over
    cdef flag finishing                 # the next flush is the last: its bytes may leave together with the end
    cdef flag closed
    cdef flag failed                    # the connection broke, or the peer was given up: nothing more can be said to it

    # the seam: what lies below
    cdef int watch_read(self) except -1
    cdef int watch_write(self, bint on) except -1
    cdef int hold(self) except -1
    cdef int64_t backlog(self) noexcept
    cdef bint starves(self) noexcept
    cdef bint left(self) except -1
    cdef int hang_up(self) except -1
    cdef int release(self, bint reset) except -1

    # what stands above: reading and writing
    cdef Py_ssize_t fill_now(self) except -2
    cdef int64_t pending(self) noexcept

    cdef Wait waiting(self)
    cdef void calm(self) noexcept
    cdef bint awaited(self) noexcept
    cdef object current(self)
    cdef double deadline(self, object timeout) except -1
    cdef int begin_read(self, object timeout) except -1
    cdef int begin_write(self, object timeout) except -1
    cdef void restart_pace(self, int64_t taken) noexcept
    cdef bint reads_slowly(self, Phase phase, double now) noexcept
    cdef bint writes_slowly(self, Phase phase, double now) noexcept
    cdef bint held_up(self, double now) noexcept
    cdef void hold_up(self) noexcept
    cdef int progressed(self) except -1
    cdef int takes_enough(self, Phase phase, double now) except -1
    cdef int share(self, Py_ssize_t size) except -1
    cdef int suspend(self, Wait wait, object running, bint writing, uint32_t mine) except -1
    cdef int wait_read(self) except -1
    cdef int wait_write(self) except -1
    cdef bint readable(self) except -1
    cdef int writable(self) except -1
    cdef int fail(self, object failure) except -1
    cdef bint expel(self, str why) except -1
