from greenhttp.green.transport cimport SocketStream

cdef struct Network:
    unsigned char address[16]
    unsigned char family        # AF_INET, AF_INET6
    unsigned char bits
    unsigned int zone           # number of an interface; 0: any

cdef int read_address(const char* text, unsigned char* into) noexcept

cdef class Peers:
    cdef readonly bint everybody
    cdef readonly bint local    # whoever connects over a UNIX socket
    cdef Network* networks
    cdef int count

    cdef bint have(self, int family, const unsigned char* address, unsigned int zone) noexcept
    cdef bint named(self, int family, const unsigned char* address, unsigned int zone) noexcept
    cdef bint trust(self, SocketStream stream) noexcept
