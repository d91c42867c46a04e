from libc.stdint cimport int64_t

from greenhttp.green.acceptor cimport Acceptor
from greenhttp.green.arrival cimport Arrivals
from greenhttp.process.board cimport Board
from greenhttp.green.deadline cimport Phase, flag
from greenhttp.green.lingering cimport Lingering
from greenhttp.green.pool cimport Job, Pool
from greenhttp.green.stream cimport Stream

cdef class Spawner:
    cdef readonly object handler
    cdef readonly Pool pool
    cdef Board board                # lists what runs, for other threads and processes to see; None: nobody looks
    cdef Arrivals arrivals          # connections that are not the handler's yet; None: each is, from accept on
    cdef readonly Phase arriving    # accepted, what comes before the handler not complete
    cdef readonly Phase handshaking     # the handshake of TLS is due, or not over
    cdef readonly Phase fresh       # accepted, its green thread has not begun
    cdef readonly Phase running     # in the handler
    cdef readonly Phase flushing    # the handler is done, not all of its output has left
    cdef readonly Lingering lingering   # closed for writing, what still comes is dropped
    cdef readonly Phase writing     # a green thread waits for the peer to read
    cdef readonly tuple phases
    cdef readonly int64_t open_connections
    cdef readonly int64_t max_connections
    cdef readonly int64_t served    # connections whose handler was called
    cdef readonly object report     # report(level, message, exc_info=None): never blocks, never raises
    cdef readonly object noise      # noise(kind, message, level="info"): what outsiders can make it say at will
    cdef bint lingers
    cdef bint full                  # accepting waits until a connection ends
    cdef object emptied             # called when the last connection has gone, or None
    cdef list doors

    cdef int make_way(self) except -1
    cdef int left(self) except -1

cdef class SpawnedJob(Job):
    cdef Spawner spawner
    cdef readonly Stream stream
    cdef flag done                  # the handler is
    cdef flag hung_up

    cdef int handle(self) except -1
    cdef int failed(self, object error) except -1
    cdef str who(self)
    cdef str listed(self)
    cdef int lost(self, object error) except -1
    cdef int settle(self) except -1
    cdef int drop_ahead(self) except -1
    cdef int linger(self) except -1
    cdef int end_lingering(self, double now) except -1
    cdef int close(self, bint reset) except -1

cdef class SpawnDoor(Acceptor):
    cdef Spawner spawner
    cdef readonly bint secure       # its connections begin with the handshake of TLS
