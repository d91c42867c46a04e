from libc.stdint cimport int64_t, uint32_t

from greenhttp.green.deadline cimport Phase, Timed, flag
from greenhttp.green.pool cimport Job
from greenhttp.green.switch cimport greenlet

cdef enum:
    CHUNK = 16384               # one borrowed buffer

cdef extern from "sys/uio.h":
    cdef struct iovec:
        void* iov_base
        size_t iov_len

cdef class FilePart:
    cdef int fd                 # its own
    cdef int64_t offset
    cdef int64_t left

cdef size_t held_bytes() noexcept

cdef struct Chain:
    # Output before the tail. Memory of its own, not a list: to append to it allocates no Python object, so that the
    # collector, and whatever it lets run, cannot come between two pieces that belong together.
    int64_t size                # bytes of it not yet sent
    int64_t skip                # bytes of its first item already sent
    uint32_t first
    uint32_t count              # items, from `first`
    uint32_t room               # items, from the beginning
    # The items follow in memory: PyObject*, owned, each a bytes or a FilePart.

cdef class Wait(Timed):
    # What a stream needs only while somebody, or its output, waits for the peer: ten thousand idle ones do without.
    cdef Stream stream                  # while this is in a phase, else None
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
    cdef double slow_since              # output began to wait then; 0: none waits
    cdef int64_t slow_moved             # bytes sent since
    cdef uint32_t slow_backlog          # `backlog` at that moment
    cdef uint32_t last_backlog          # `backlog` when `progressed` was asked last

    cdef void begin(self, Stream stream, Phase phase) noexcept
    cdef void end(self) noexcept
    cdef int fail(self, object read_failure, object write_failure) except -1

cdef class Stream:
    cdef Job job                        # told of readiness while no green thread waits; None for scripts
    cdef Wait wait                      # None as long as nobody has waited, and again once nobody does

    cdef char* inbuf                    # NULL, a borrowed chunk, or memory of its own (packed or grown)
    cdef uint32_t in_cap
    cdef uint32_t in_pos
    cdef uint32_t in_end
    cdef uint32_t share_bytes           # moved since this stream last suspended anybody
    cdef char* outbuf                   # the tail of the output, always a borrowed chunk or NULL
    cdef uint32_t out_pos
    cdef uint32_t out_end
    cdef Chain* chain                   # output before `outbuf`, or NULL
    cdef int64_t taken                  # bytes that came, since whoever counts them has set it
    cdef uint32_t tenure                # counts up when the stream changes hands: what began before must not go on
    cdef unsigned char share_turns
    cdef flag at_end                    # the peer has finished sending
    cdef flag scheduled                 # `_push` is called at the end of this turn
    cdef flag pushing                   # output that nobody waits for is being pushed out by the loop
    cdef flag lost                      # output was given up: nothing may follow on this connection
    cdef flag sealed                    # its job alone sends what is left: the request, or the handler, is over
    cdef flag pinned                    # the bytes of the input are being looked at: they stay where they are
    cdef flag finishing                 # the next flush is the last: its bytes may leave together with the end
    cdef flag closed
    cdef flag failed                    # the connection broke, or the peer was given up: nothing more can be said to it

    # the seam
    cdef Py_ssize_t take(self, char* into, size_t size) except -2
    cdef Py_ssize_t give(self, iovec* parts, int count) except -2
    cdef Py_ssize_t give_file(self, FilePart part, size_t size) except -2
    cdef int watch_read(self) except -1
    cdef int watch_write(self, bint on) except -1
    cdef int hold(self) except -1
    cdef int64_t backlog(self) noexcept
    cdef bint starves(self) noexcept
    cdef bint left(self) noexcept
    cdef int hang_up(self) except -1
    cdef int release(self, bint reset) except -1

    # input
    cdef void drop_input(self) noexcept
    cdef int resize_input(self, uint32_t capacity) except -1
    cdef int make_room(self) except -1
    cdef bytes cut(self, Py_ssize_t size)
    cdef int unpin(self, Py_ssize_t size) except -1
    cdef bytes gather(self, Py_ssize_t size)
    cdef int unread(self, const char* data, Py_ssize_t size) except -1
    cdef Py_ssize_t fill_now(self) except -2
    cdef Py_ssize_t fill_some(self, Py_ssize_t most) except -2
    cdef Py_ssize_t fill(self) except -1
    cdef void pack(self) noexcept
    cdef void consume(self, Py_ssize_t size) noexcept
    cdef Py_ssize_t read_now(self, char* into, Py_ssize_t size) except -2
    cdef Py_ssize_t read_into(self, char* into, Py_ssize_t size) except -1
    cdef void restart_pace(self, int64_t taken) noexcept
    cdef int wait_read(self) except -1

    # output
    cdef char* reserve(self, Py_ssize_t size) except NULL
    cdef void commit(self, Py_ssize_t size) noexcept
    cdef int put(self, const char* data, Py_ssize_t size) except -1
    cdef int put_object(self, bytes data) except -1
    cdef int put_file(self, FilePart part) except -1
    cdef int seal(self) except -1
    cdef int link(self, object item, int64_t size) except -1
    cdef int64_t pending(self) noexcept
    cdef int flush_now(self) except -1
    cdef int flush_all(self) except -1
    cdef int wait_write(self) except -1
    cdef int stalled(self) except -1
    cdef int quiet(self) except -1
    cdef bint reads_slowly(self, Phase phase, double now) noexcept
    cdef bint writes_slowly(self, Phase phase, double now) noexcept
    cdef int progressed(self) except -1
    cdef int takes_enough(self, Phase phase, double now) except -1
    cdef bint held_up(self, double now) noexcept
    cdef void sent(self, int64_t size) noexcept
    cdef int written(self, object timeout) except -1
    cdef void drop_output(self) noexcept

    cdef Wait waiting(self)
    cdef void calm(self) noexcept
    cdef bint awaited(self) noexcept
    cdef object current(self)
    cdef double deadline(self, object timeout) except -1
    cdef int begin_read(self, object timeout) except -1
    cdef int begin_write(self, object timeout) except -1
    cdef int finish(self, bint reset) except -1
    cdef int tell_job(self) except -1
    cdef int share(self, Py_ssize_t size) except -1
    cdef int suspend(self, Wait wait, object running, bint writing, uint32_t mine) except -1
    cdef bint expel(self, str why) except -1
    cdef bint readable(self) except -1
    cdef int writable(self) except -1
    cdef int fail(self, object failure) except -1
