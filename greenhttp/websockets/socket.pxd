from libc.stdint cimport int64_t

from greenhttp.green.deadline cimport Phase, flag
from greenhttp.green.pool cimport Job, Pool
from greenhttp.green.stream cimport Stream
from greenhttp.green.switch cimport greenlet
from greenhttp.wire.websocket cimport Codec

cpdef enum State:
    OPEN = 0
    PARTING = 1         # our close frame is out, the peer's has not come
    DROPPING = 2        # the same, and what comes is not looked at: the peer has broken a rule
    DONE = 3            # both have said it; the connection ends when all has left
    OVER = 4

cdef class Conversations:
    cdef readonly Pool pool
    cdef readonly Phase open            # nothing has come for less than the ping interval
    cdef readonly Phase full            # its inbox is, so that nothing is read
    cdef readonly Phase pinged          # a ping is out, and nothing has come since
    cdef readonly Phase choked          # its output waits for the peer
    cdef readonly Phase parting         # closed by this side, waits for the peer's close frame
    cdef readonly tuple phases
    cdef readonly int64_t count         # not over
    cdef readonly int64_t limit
    cdef readonly int64_t max_frame, max_message
    cdef size_t limit_buffers  # bytes, of all connections
    cdef str crowded           # why one is closed when there are more
    cdef readonly int64_t backlog       # bytes that a socket may have unsent and still be given what is for its group
    cdef readonly bint cuts_slow        # one that has more is closed; else it misses the message
    cdef readonly int close_code        # said when the server stops
    cdef readonly str compression
    cdef readonly tuple origins
    cdef readonly bint draining
    cdef readonly object report
    cdef readonly object noise
    cdef list due                       # who has put something out since they were last pushed
    cdef object push_due

    cdef int soon(self, WebSocket socket) except -1
    cdef WebSocket largest(self)

cdef class WebSocket(Job):
    cdef Conversations shared
    cdef Stream stream
    cdef Codec codec
    cdef Job carrier                    # is told when this is over
    cdef readonly object request
    cdef readonly str protocol
    cdef object first                   # the oldest message that has come, or None
    cdef object more                    # those behind it, a deque, or None
    cdef int64_t held                   # bytes they count for
    cdef int64_t weight                 # bytes that are counted in `green.chunks`, for them and an unfinished one
    cdef greenlet receiver              # suspended in `receive`
    cdef list senders                   # suspended in `send`, in their order; or None
    cdef object on_message
    cdef object on_close
    cdef object drained                 # `closing`, once somebody has asked for it
    cdef set groups                     # their names, or None
    cdef readonly str close_reason
    cdef unsigned short code            # 0: open
    cdef readonly State state
    cdef flag stopped                   # reading is, until there is room in the inbox
    cdef flag stuck                     # output waits for the peer
    cdef flag ours                      # this side has closed it first
    cdef flag in_due
    cdef flag told                      # the carrier was

    cdef int go_out(self, str group) except -1

    # for who has opened it
    cdef int begin(self) except -1
    cdef int handler_over(self, int code) except -1
    cdef bint left_by_peer(self) noexcept
    cdef bint expects(self, object error) except -1
    cdef int see_off(self) except -1
    cdef int cut(self) except -1

    # what comes
    cdef bint hear(self) except -1
    cdef bint understood(self) except -1
    cdef int happened(self) except -1
    cdef int keep(self, object message) except -1
    cdef object take(self)
    cdef int weigh(self) except -1
    cdef int give_way(self) except -1
    cdef int go_on(self) except -1
    cdef object timer(self, object timeout, object running, str what)
    cdef int await_message(self, object timeout) except -1

    # what leaves
    cdef int frame(self, int opcode, object owner, Py_ssize_t size, const char* data, bint compressed) except -1
    cdef int room(self, object timeout) except -1
    cdef int put_whole(self, bytes frame) except -1
    cdef int push(self) except -1
    cdef int left(self) except -1
    cdef int abide(self) except -1
    cdef int wake_senders(self) except -1

    # how it ends
    cdef int say(self, int code, str reason) except -1
    cdef int part(self, int code, str reason) except -1
    cdef int answer_close(self) except -1
    cdef int no_more(self) except -1
    cdef int lost(self, str how, bint reset) except -1
    cdef int end(self, bint reset) except -1
    cdef int tell(self) except -1
    cdef object ended(self)
    cdef str who(self)

    # in `on_message` style
    cdef int call(self, object function, tuple given) except -1
    cdef int turned_away(self, double seconds) except -1

cdef set members_of(str group)

cdef WebSocket open_socket(
    Conversations shared, Stream stream, Job carrier, object request, str protocol, object compression,
    object on_message, object on_close,
)
