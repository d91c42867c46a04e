from libc.stdint cimport int64_t, uint64_t


cpdef enum Step:
    MORE = 0               # everything was consumed and the body goes on
    DATA = 1               # a run of body bytes; there may be more behind `consumed`
    END = 2                # the body is complete; what is behind `consumed` is the next request


cdef enum:
    CHUNK_HEAD_MAX = 18    # bytes put_chunk_head() may write: 16 hex digits and CRLF
    LAST_CHUNK_SIZE = 5
    TRAILER_NAME_MAX = 40  # no known name is longer (names.pyx)


cdef class ChunkedDecoder:
    cdef readonly int64_t received       # body bytes announced by chunk sizes so far
    cdef readonly bint done
    cdef readonly Py_ssize_t leftover    # bytes given to feed() behind the end of the message

    cdef int64_t limit_body
    cdef Py_ssize_t limit_extensions, limit_trailers
    cdef int limit_fields

    cdef int state
    cdef int digits
    cdef uint64_t chunk                  # size being read, then bytes of the chunk still to come
    cdef Py_ssize_t extension_bytes, trailer_bytes
    cdef int count                       # trailers so far
    cdef bytearray section               # the trailer section as it came, None as long as it is empty
    cdef Py_ssize_t name_size
    cdef unsigned char name[TRAILER_NAME_MAX]

    cdef int step(
        self, const char* data, Py_ssize_t size, Py_ssize_t* consumed, const char** out, Py_ssize_t* out_len
    ) except -1
    cdef void reset(self) noexcept
    cdef int refuse(self, int status, str reason) except -1
    cdef int beyond(self, int status, str setting, int64_t limit) except -1
    cdef int extension_byte(self) except -1
    cdef int trailer_name(self) except -1
    cdef int keep(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef list fields(self)


# The writing side. `put_*` write at p, which must have room, and return the position behind.
cdef char* put_chunk_head(char* p, size_t size) noexcept nogil
cdef char* put_last_chunk(char* p) noexcept nogil
