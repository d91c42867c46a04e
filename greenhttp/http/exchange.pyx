"""An exchange: one request and its answer, by whatever protocol.

    request     a Head, and a Body that the application pulls at (body.pyx)
    answer      inform ...; start, piece or file ..., end - or abort (this page)

Everything above - Request, Delivery, handlers, WSGI - is written against these two and knows no bytes of a protocol.
Connection is HTTP/1's: one exchange after another on a stream of its own. A protocol that has many at once on one
connection makes an Exchange for each.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from greenhttp.green.deadline cimport Phase
from greenhttp.green.pool cimport Job
from greenhttp.green.stream cimport FilePart
from greenhttp.http.body cimport Body
from greenhttp.wire.head cimport Head
from greenhttp.wire.response cimport ResponseHead

import os

from greenhttp.errors import RequestTimeout, StreamClosed

cdef enum:
    BLOCK = 65536               # of a file that does not go from the kernel to the kernel


cdef class Entrance:
    """What requests have in common that come in by one address, and with the same agreed on in TLS. `App.prepare`."""


cdef class Exchange(Job):
    """What carries a request to the application and its answer back; runs in a green thread of the pool.

    A Delivery calls `start` once, then `piece` or `file`, then `end` once, or else nothing more, or `abort`. None of
    these waits but `flush`, and `file` where it has to read: between two writes to one state nothing may.
    """

    # The answer -------------------------------------------------------------------------------------------------------

    cdef int inform(self, ResponseHead head, Head asked) except -1:
        """Put an informational answer into the output, before the final one (RFC 9110 15.2)."""
        raise NotImplementedError

    cdef int start(self, ResponseHead answer, Head asked, Body content, int64_t known) except -1:
        """Settle how the content is bounded (`measure`) and put the head into the output.

        Arguments:
            asked, content: head and content of the request, which may not have been read to its end.
            known: bytes of the answer's content, -1 if it is not known.

        `service.date` is as of now. The caller has seen that no head is out: until it is, nothing may run that could
        let another green thread put out one.
        """
        raise NotImplementedError

    cdef int piece(self, ResponseHead answer, bytes data) except -1:
        """Put some content into the output; within what was announced, and never empty."""
        raise NotImplementedError

    cdef int file(self, ResponseHead answer, FilePart part) except -1:
        """Send a range of a file. This way is for who cannot hand it to the kernel: block by block, at the peer's pace.
        """
        cdef bytes data
        while part.left:
            data = os.pread(part.fd, min(part.left, <int64_t>BLOCK), part.offset)
            if not data:
                raise StreamClosed("the file ended before all announced bytes were sent")
            self.piece(answer, data)
            part.offset += PyBytes_GET_SIZE(data)
            part.left -= PyBytes_GET_SIZE(data)
            self.flush()
        return 0

    cdef int end(self, ResponseHead answer, ResponseHead trailers, int64_t missing) except -1:
        """The content is at its end.

        Arguments:
            trailers: fields that follow it, or None. May be dropped (RFC 9110 6.5).
            missing: bytes that were announced and will not come: the peer must notice.
        """
        raise NotImplementedError

    cdef int flush(self) except -1:
        """Wait until there is room to write more. Raises StreamTimeout, StreamClosed, ConnectionError."""
        raise NotImplementedError

    cdef int abort(self) except -1:
        """The answer cannot be completed, or not even begun: end it so that the peer cannot take it for whole."""
        raise NotImplementedError

    cdef int reach(self) noexcept:
        """What becomes of an answer now: a Reach."""
        return Reach.OPEN

    # The request ------------------------------------------------------------------------------------------------------

    cdef int head_used(self, Head head) except -1:
        """The application has made of the head what it needs, or owns a copy of it."""
        return 0

    cdef bint gone(self) except -1:
        """Whether an answer would reach nobody. Looks anew, never waits."""
        return self.reach() == Reach.GONE

    cdef bint part(self, Head head, Body content) except -1:
        """The request is over: nobody that it left behind may read or write here any more. Whether somebody just was.
        """
        content.detach()
        return False

    # For every protocol -----------------------------------------------------------------------------------------------

    cdef int overrun(self, Phase phase) except -1:
        """`request_timeout` is over: tell the application, unless it is done and foreign code holds up what follows."""
        if self.settling:
            self.enter(phase)
        elif self.worker is not None:
            self.enter(self.service.overdue)
            self.worker.throw(RequestTimeout(f"the request ran longer than {phase.duration:g} s (request_timeout)"))
        return 0

    cdef void show(self, Head head) noexcept:
        """Put `GET /path` on the board; queries are where people have secrets."""
        cdef Py_ssize_t method = len(head.method) + 1
        cdef Py_ssize_t query = head.query_len + 1 if head.has_query else 0
        self.worker.place = self.service.board.note(
            head.base + head.target_at - method, method + head.target_len - query
        )

    cdef void show_end(self) noexcept:
        if self.worker is not None and self.worker.place >= 0:
            self.service.board.strike(self.worker.place)
            self.worker.place = -1
