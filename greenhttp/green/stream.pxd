from libc.stdint cimport int64_t, uint32_t

from greenhttp.green.reading cimport Reader

cdef extern from "sys/uio.h":
    cdef struct iovec:
        void* iov_base
        size_t iov_len

cdef class FilePart:
    cdef int fd                 # its own
    cdef int64_t offset
    cdef int64_t left

cdef struct Chain:
    # Output before the tail. Memory of its own, not a list: to append to it allocates no Python object, so that the
    # collector, and whatever it lets run, cannot come between two pieces that belong together.
    int64_t size                # bytes of it not yet sent
    int64_t skip                # bytes of its first item already sent
    uint32_t first
    uint32_t count              # items, from `first`
    uint32_t room               # items, from the beginning
    # The items follow in memory: PyObject*, owned, each a bytes or a FilePart.

cdef class Stream(Reader):
    cdef char* outbuf                   # the tail of the output, always a borrowed chunk or NULL
    cdef uint32_t out_pos
    cdef uint32_t out_end
    cdef Chain* chain                   # output before `outbuf`, or NULL
    cdef readonly object proxied        # what a proxy has said of the connection, before its first byte; None: nothing

    # the seam
    cdef Py_ssize_t give(self, iovec* parts, int count) except -2
    cdef Py_ssize_t give_file(self, FilePart part, size_t size) except -2
    cdef bint settle(self) except -1
    cdef bint parting(self) noexcept

    cdef char* reserve(self, Py_ssize_t size) except NULL
    cdef void commit(self, Py_ssize_t size) noexcept
    cdef int put(self, const char* data, Py_ssize_t size) except -1
    cdef int put_object(self, bytes data) except -1
    cdef int put_file(self, FilePart part) except -1
    cdef int seal(self) except -1
    cdef int link(self, object item, int64_t size) except -1
    cdef int flush_now(self) except -1
    cdef int flush_all(self) except -1
    cdef int stalled(self) except -1
    cdef int quiet(self) except -1
    cdef void sent(self, int64_t size) noexcept
    cdef int written(self, object timeout) except -1
    cdef void drop_output(self) noexcept
    cdef int finish(self, bint reset) except -1
    cdef int abandon(self, bint ours) except -1
    cdef void let_go(self) noexcept
    cdef int tell_job(self) except -1
    cdef bint last_words(self) except -1
    cdef int skip_input(self) except -1

    cdef str who(self)
    cdef str about(self)
