from libc.stdint cimport int64_t

cpdef enum Transfer:
    EMPTY = 0               # no content follows
    SIZED = 1               # exactly content_length bytes follow
    CHUNKS = 2              # pieces follow, and a mark at their end: in HTTP/1 chunks
    UNTIL_CLOSE = 3         # content ends where the connection does

cdef enum:
    SMALL_HEAD = 288
    FRAMING_BYTES = 160     # room `frame` may need beside the common fields

cdef class ResponseHead:
    cdef readonly int status
    cdef readonly int64_t content_length    # as the application or `frame` has it; -1: unknown
    cdef readonly int transfer              # a Transfer, after `measure`
    cdef readonly bint keep_alive           # after `frame`: the connection persists
    cdef bint asked_close                   # the application set Connection: close
    cdef bint has_date
    cdef bint has_server
    cdef char* data
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity
    cdef char small[SMALL_HEAD]

    cdef int room(self, Py_ssize_t size) except -1
    cdef int begin(self, object status) except -1
    cdef int add(self, object name, object value) except -1
    cdef int heard(self, int kind, const unsigned char* value, Py_ssize_t value_size) except -1
    cdef int measure(self, bint is_head, int64_t known) noexcept
    cdef int begin_trailers(self) noexcept
    cdef int close_block(self) except -1
    cdef int frame(
        self, bint is_head, int minor, bint keep_alive, int64_t known, bytes date, bytes server
    ) except -1
