from libc.stdint cimport int64_t, uint32_t

from greenhttp.green.deadline cimport flag
from greenhttp.green.waiting cimport Waiting

cdef class Reader(Waiting):
    cdef char* inbuf                    # NULL, a borrowed chunk, or memory of its own (packed or grown)
    cdef uint32_t in_cap
    cdef uint32_t in_pos
    cdef uint32_t in_end
    cdef flag at_end                    # the peer has finished sending
    cdef flag pinned                    # the bytes of the input are being looked at: they stay where they are
    cdef flag accepted                  # the peer has connected, to a listener. Here since it costs no memory here

    # the seam
    cdef Py_ssize_t take(self, char* into, size_t size) except -2
    cdef Py_ssize_t discard(self, size_t size) except -2
    cdef int ending(self) except -1

    cdef void drop_input(self) noexcept
    cdef int resize_input(self, uint32_t capacity) except -1
    cdef int make_room(self) except -1
    cdef bytes cut(self, Py_ssize_t size)
    cdef int unpin(self, Py_ssize_t size) except -1
    cdef bytes gather(self, Py_ssize_t size)
    cdef int unread(self, const char* data, Py_ssize_t size) except -1
    cdef int ended_early(self, bytes data) except -1
    cdef Py_ssize_t fill_some(self, Py_ssize_t most) except -2
    cdef Py_ssize_t fill(self) except -1
    cdef void pack(self) noexcept
    cdef void consume(self, Py_ssize_t size) noexcept
    cdef Py_ssize_t drop(self, Py_ssize_t most) except -2
    cdef Py_ssize_t read_now(self, char* into, Py_ssize_t size) except -2
    cdef Py_ssize_t read_into(self, char* into, Py_ssize_t size) except -1
