from libc.stdint cimport uint64_t

from greenhttp.green.stream cimport Stream
from greenhttp.wire.head cimport Head

cdef enum:
    CONTRADICTED = -2           # of `secure`: the fields do not agree

cdef class Forwarded:
    cdef uint64_t known[2]          # a bit for each field of KNOWN_NAMES that tells a scheme
    cdef bint unknown               # other fields do too, so that every request has to be looked through
    cdef dict rules                 # name in small letters -> the value that means https, as bytes
    cdef list values                # the same by index in KNOWN_NAMES; None: says nothing about it
    cdef bint everybody
    cdef tuple networks
    cdef unsigned char address[16]  # of the peer that was looked up last, and what came of it
    cdef int family                 # 0: a UNIX socket, or nobody yet
    cdef bint trusted

    cdef bint trusts(self, Stream stream) except -1
    cdef int secure(self, Head head, Stream stream) except -1
