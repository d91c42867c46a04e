from libc.stdint cimport int64_t

from greenhttp.process.board cimport Loads
from greenhttp.green.transport cimport sockaddr_storage

cdef class Acceptor:
    cdef readonly object sock
    cdef object loop
    cdef object watcher
    cdef object timer
    cdef object alive
    cdef object log
    cdef readonly bint paused
    cdef bint stopping              # what waits now is accepted, then no more
    cdef readonly bint backing_off
    cdef readonly Py_ssize_t accepted
    cdef readonly int batch
    cdef Loads loads                # what other processes have that accept from the same socket; None: there are none
    cdef bint yielded               # it has just let them go first

    cdef int64_t load(self) noexcept
    cdef bint crowded(self) noexcept
    cdef bint admit(self) except -1
    cdef int connected(self, int fd, sockaddr_storage* peer) except -1
    cdef int accept_some(self) except -1
    cdef int complain(self, object error) except -1
    cdef int let_others(self) except -1
    cdef int rest_for(self, double seconds) except -1
    cdef int pause(self) except -1
    cdef int resume(self) except -1

cdef class StreamAcceptor(Acceptor):
    cdef object take
    cdef object room
