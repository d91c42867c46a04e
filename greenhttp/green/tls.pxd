from libc.stdint cimport uint32_t

from greenhttp.green.layer cimport Layer
from greenhttp.green.stream cimport Stream

cdef enum:
    TICKET_KEYS = 8
    TICKET_KEY = 80             # name (16), HMAC (32), AES (32)

cdef struct TicketKeys:
    int count
    unsigned char keys[TICKET_KEYS][TICKET_KEY]

cdef class Certificates:
    cdef readonly tuple contexts        # of (names, ssl.SSLContext), the first is the default
    cdef dict exact                     # name -> SSLContext
    cdef dict wild                      # what follows the first label -> SSLContext
    cdef object first
    cdef bint direct                    # all of them are such as OpenSSL can be called for directly

    cdef object choose(self, const char* name)
    cdef bint is_direct(self) except -1
    cdef Layer layer(self, int fd)

cdef class DirectLayer(Layer):
    cdef void* ssl
    cdef char* held
    cdef uint32_t held_size
    cdef uint32_t problem               # OpenSSL's number of what went wrong
    cdef Certificates certificates      # during the handshake, in which OpenSSL may ask them

    cdef int begin(self, Stream stream) except -1
    cdef int leave(self, Stream stream, bint last, bint wait) except -1
    cdef void forget(self) noexcept
    cdef int ended(self, int result) except -1
    cdef bint called_back(self) noexcept
    cdef Py_ssize_t read(self, Stream stream, char* into, size_t size) except -2
    cdef object broken(self, Stream stream)

cdef Layer begun(object context, int fd, bint server, object name)
