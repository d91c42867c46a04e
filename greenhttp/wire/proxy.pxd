cdef class ProxiedTLS:
    cdef readonly str version
    cdef readonly str cipher
    cdef readonly str common_name
    cdef readonly str signature
    cdef readonly str key
    cdef readonly int client
    cdef readonly unsigned int verify

cdef class Proxied:
    cdef readonly int size
    cdef readonly int version
    cdef readonly bint local
    cdef int family                     # of the addresses: AF_INET, AF_INET6, or 0 for none that is used
    cdef unsigned char addresses[32]    # source and destination, 4 bytes each or 16
    cdef unsigned short ports[2]
    cdef readonly str authority
    cdef readonly bytes unique_id
    cdef readonly bytes alpn
    cdef readonly str netns
    cdef readonly ProxiedTLS tls
    cdef readonly tuple tlvs

    cdef object end(self, int index)
