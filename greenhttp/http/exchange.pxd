from libc.stdint cimport int64_t

from greenhttp.green.deadline cimport Phase
from greenhttp.green.pool cimport Job
from greenhttp.green.stream cimport FilePart, Stream
from greenhttp.http.body cimport Body
from greenhttp.http.service cimport Service
from greenhttp.wire.head cimport Head
from greenhttp.wire.response cimport ResponseHead

cdef enum Reach:
    OPEN = 0            # what is written goes out
    LOST = 1            # some of it was given up: nothing may follow
    GONE = 2            # the peer cannot be told anything

cdef class Entrance:
    cdef readonly object tls                # a tls.agreed.TLSInfo; None: plain
    cdef readonly bint secure               # TLS ends here; else at a proxy, if at all
    cdef dict alike                         # of connections that have agreed on the same in TLS; None: none has come

cdef class Exchange(Job):
    cdef readonly Stream stream             # the connection's: who the peer is
    cdef readonly Service service

    # the seam: what each protocol has its own way for
    cdef int head_used(self, Head head) except -1
    cdef int inform(self, ResponseHead head, Head asked) except -1
    cdef int start(self, ResponseHead answer, Head asked, Body content, int64_t known) except -1
    cdef int piece(self, ResponseHead answer, bytes data) except -1
    cdef int file(self, ResponseHead answer, FilePart part) except -1
    cdef int end(self, ResponseHead answer, ResponseHead trailers, int64_t missing) except -1
    cdef int flush(self) except -1
    cdef int abort(self) except -1
    cdef int reach(self) noexcept
    cdef bint gone(self) except -1
    cdef bint part(self, Head head, Body content) except -1

    cdef int overrun(self, Phase phase) except -1
    cdef void show(self, Head head) noexcept
    cdef void show_end(self) noexcept
