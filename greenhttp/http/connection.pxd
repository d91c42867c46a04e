from libc.stdint cimport int64_t

from greenhttp.green.acceptor cimport Acceptor
from greenhttp.green.deadline cimport Phase, flag
from greenhttp.green.lingering cimport Lingering
from greenhttp.green.pool cimport Worker
from greenhttp.green.stream cimport Stream
from greenhttp.http.body cimport StreamBody
from greenhttp.http.exchange cimport Entrance, Exchange
from greenhttp.http.service cimport Service
from greenhttp.wire.head cimport Head

cpdef enum State:
    HEAD = 0            # between requests, or in the middle of a head
    RUNNING = 1         # a green thread has it
    FLUSH = 2           # the answer is complete, not all of it has left
    DRAIN = 3           # the rest of a body is read and dropped
    LINGER = 4          # closed for writing, what still comes is dropped
    CLOSED = 5

cdef enum:
    DRAIN_BYTES = 262144        # of an unread body are read and dropped to keep a connection; beyond, it closes

cdef class Connection(Exchange):
    cdef Head head              # the one being read or answered, else None
    cdef StreamBody rest        # of the request answered, not read to its end
    cdef Entrance base          # Request.base of its requests
    cdef readonly State state
    cdef flag closing           # no further request on this connection
    cdef flag refused           # what the peer sent is not read as HTTP any more
    cdef flag suspect           # the request has been queued: its client may have gone meanwhile
    cdef flag last              # the client said that this is its last request

    cdef bint parse(self) except -1
    cdef bint completed(self) except -1
    cdef str spoken(self)
    cdef bint begun(self) except -1
    cdef bint receive(self) except -1
    cdef int answer_requests(self) except -1
    cdef bint unread(self) except -1
    cdef int serve(self) except -1
    cdef int overloaded(self, str reason) except -1
    cdef int settle(self) except -1
    cdef bint hears(self) noexcept
    cdef int drop_ahead(self) except -1
    cdef int proceed(self) except -1
    cdef int park(self) except -1
    cdef int shed(self) except -1
    cdef int drain(self, bint first) except -1
    cdef int linger(self) except -1
    cdef int end_lingering(self, Lingering phase, double now) except -1
    cdef int see_off(self) except -1
    cdef int give_way(self) except -1
    cdef int run_out(self, Phase phase, double now) except -1
    cdef bint wants_json(self) except -1
    cdef void tell(self, int status, int64_t sent, bint cut, str id) noexcept
    cdef bytes refused_line(self)
    cdef bytes sorry(self, int status, object retry_after, bint as_json, bint is_head, str id)
    cdef int cut_request(self, Worker worker) except -1
    cdef int cut_off(self) except -1
    cdef str asked(self)
    cdef Head whole_head(self)
    cdef str id(self)
    cdef int turn_away(self, int status, object retry_after, str reason) except -1
    cdef int close(self, bint reset) except -1

cdef class Door(Acceptor):
    cdef Service service
    cdef Entrance base
    cdef readonly bint secure           # its connections begin with the handshake of TLS

cdef Connection open_connection(Service service, Stream stream, Entrance base)
