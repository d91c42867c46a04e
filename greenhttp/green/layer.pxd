from greenhttp.green.deadline cimport flag
from greenhttp.green.stream cimport Stream, iovec

cdef enum Ending:               # Layer.over: how the input has ended
    OPEN = 0
    PARTED = 1                  # the peer has said goodbye
    CUT = 2                     # it has not: the connection ended, and bytes may be missing
    BROKEN = 3                  # what it sent cannot be decrypted

cdef enum Handshake:
    SHAKING = 0                 # more has to come
    SHAKEN = 1

cdef class Layer:
    cdef int fd                 # what the stream's socket is
    cdef flag unfinished        # bytes of the input are held here, of which the system will say nothing
    cdef flag stuck             # output waits for the system to take more
    cdef flag said              # our goodbye is said, or cannot be
    cdef flag over              # an Ending

    cdef Py_ssize_t take(self, Stream stream, char* into, size_t size) except -2
    cdef Py_ssize_t discard(self, Stream stream, size_t size) except -2
    cdef Py_ssize_t give(self, Stream stream, iovec* parts, int count) except -2
    cdef bint settle(self, Stream stream, bint last) except -1
    cdef Py_ssize_t held_back(self) noexcept
    cdef Handshake shake(self, Stream stream) except *
    cdef int part(self, Stream stream) except -1
