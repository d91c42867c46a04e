from libc.stdint cimport int64_t

from greenhttp.green.deadline cimport Phase, Timed
from greenhttp.green.stream cimport Stream

cdef class Lingering(Phase):
    cdef readonly double total          # seconds since the last answer
    cdef readonly int64_t most          # bytes of one connection
    cdef readonly Py_ssize_t crowd      # connections at once
    cdef readonly str crowded           # what the log says when there are more

    cdef int meanwhile(self, Stream stream) except -1
    cdef bint dropped(self, Stream stream) except -1
    cdef bint hears(self, Stream stream) noexcept
    cdef int moved(self, Stream stream) except -2
    cdef bint begin(self, Timed one, Stream stream) except -1
    cdef bint read_on(self, Timed one, Stream stream) except -1
    cdef bint renew(self, Timed one, Stream stream) except -1
    cdef bint heard(self, Timed one, Stream stream, double now) except -1
    cdef str why(self, Stream stream, double now)

cdef Py_ssize_t share(Py_ssize_t count) noexcept

cdef Lingering lingering(str name, object settings, int64_t connections)
