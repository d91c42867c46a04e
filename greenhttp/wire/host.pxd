cdef struct Authority:
    Py_ssize_t name_size    # bytes of the host, brackets of an IPv6 literal included
    int port                # -1: none, or an empty one


cdef bint parse_authority(const unsigned char* text, Py_ssize_t size, Authority* out) noexcept nogil
cdef bint is_ipv4(const unsigned char* p, Py_ssize_t size) noexcept nogil
cdef bint is_ipv6(const unsigned char* p, Py_ssize_t size) noexcept nogil
