from libc.stdint cimport uint32_t

from greenhttp.green.deadline cimport Phase, flag
from greenhttp.green.peers cimport Peers
from greenhttp.green.pool cimport Job, Pool
from greenhttp.green.stream cimport Stream
from greenhttp.green.tls cimport Certificates

cdef enum Step:
    WANTING = 0         # more has to come
    ARRIVED = 1         # the preface is over, what follows is the protocol's
    REFUSED = 2         # the connection is to be closed, and the log knows why

cdef class Arrivals:
    cdef readonly Phase phase       # accepted, its PROXY header not complete
    cdef readonly Phase handshaking     # its handshake is due, or not over
    cdef public Certificates certificates
    cdef readonly Peers allowed     # who may connect
    cdef Pool pool
    cdef object read                # read(bytes) -> what the preface says, or None: not all of it has come
    cdef object retort              # retort(bytes) -> (answer, words) to what is not TLS; None: too few
    cdef unsigned long long turn    # of the pool, in which
    cdef int shaken                 # so many handshakes went on
    cdef double turn_began          # since then
    cdef object noise               # noise(kind, message, level="info"): what outsiders can make it say at will

    cdef Job welcome(self, Stream stream, object base)
    cdef void count(self, int change) noexcept
    cdef int make_way(self) except -1
    cdef int gone(self) except -1
    cdef int relieve(self) except -1
    cdef bint expects(self, bint secure) noexcept
    cdef Arrival receive(self, Stream stream, object base, bint secure)
    cdef bint has_time(self) noexcept
    cdef bint give_way(self) except -1
    cdef int say(self, Stream stream, str why) except -1

cdef class Arrival(Job):
    cdef Arrivals arrivals          # None: it has arrived, or was closed
    cdef readonly Stream stream
    cdef object base                # for `welcome`
    cdef flag header                # a PROXY header is due
    cdef flag secure                # a handshake is, behind that
    cdef flag counted               # the memory of its handshake is, in what all streams hold
    cdef flag shaken                # it is over, but for what the system has not taken
    cdef flag overtime              # the time for it was up when the loop was behind: this is the time after that
    cdef readonly Job heir          # what it became, None before

    cdef Step step(self, Arrivals arrivals) except *
    cdef Step receive_header(self, Arrivals arrivals) except *
    cdef Step read_header(self, Arrivals arrivals) except *
    cdef Step shake(self, Arrivals arrivals) except *
    cdef Step receive_hello(self, Arrivals arrivals) except *
    cdef int say_failed(self, Arrivals arrivals, str why) except -1
    cdef Step decline(self, Arrivals arrivals) except *
    cdef void weigh(self, bint on) noexcept
    cdef uint32_t weight(self) noexcept
    cdef bint is_stuck(self) noexcept
    cdef int overrun(self, bint behind) except -1
    cdef int proceed(self, bint last) except -1
    cdef int hand_over(self) except -1
    cdef bint begun(self) except -1
    cdef int shed(self, str reason) except -1
    cdef int see_off(self) except -1
    cdef int close(self, bint reset) except -1
