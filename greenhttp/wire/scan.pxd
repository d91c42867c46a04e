# Small loops over bytes that more than one module runs: inline, hence all of it in this file (there is no scan.pyx).

from libc.stdint cimport uint64_t
from libc.string cimport memcpy


cdef inline bint clean_bytes(const unsigned char* p, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        if (p[i] < 0x20 and p[i] != c'\t') or p[i] == 0x7F:
            return False
    return True


cdef inline bint may_be_unclean(const unsigned char* p) noexcept nogil:
    cdef uint64_t w, d
    memcpy(&w, p, 8)
    d = w ^ <uint64_t> 0x7F7F7F7F7F7F7F7F
    return (
        ((w - <uint64_t> 0x2020202020202020) & ~w) | ((d - <uint64_t> 0x0101010101010101) & ~d)
    ) & <uint64_t> 0x8080808080808080 != 0


cdef inline bint clean_value(const unsigned char* p, Py_ssize_t size) noexcept nogil:
    """Whether all bytes are HTAB, SP, VCHAR or obs-text (RFC 9110 5.5); the rest are CR, NUL and their like.

    Eight at a time: `(w - 0x20..) & ~w` has a high bit set if a byte is below 0x20, and the same with 1 after
    `^ 0x7F..` if one is DEL; both may only err by one more hit beside a true one, and every hit is looked at again.
    """
    cdef Py_ssize_t i = 0
    if size < 8:
        return clean_bytes(p, size)
    while i + 8 <= size:
        if may_be_unclean(p + i) and not clean_bytes(p + i, 8):
            return False
        i += 8
    # The last word overlaps the one before: cheaper than up to seven single bytes.
    return not may_be_unclean(p + size - 8) or clean_bytes(p + size - 8, 8)


cdef inline void trim(const unsigned char* p, Py_ssize_t* start, Py_ssize_t* end) noexcept nogil:
    """Take OWS (SP and HTAB, nothing else: RFC 9110 5.6.3) off both ends."""
    while start[0] < end[0] and (p[start[0]] == c' ' or p[start[0]] == c'\t'):
        start[0] += 1
    while end[0] > start[0] and (p[end[0] - 1] == c' ' or p[end[0] - 1] == c'\t'):
        end[0] -= 1
