from cpython.object cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from greenhttp.green.deadline cimport flag
from greenhttp.green.layer cimport Handshake, Layer
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

cdef class SimpleLayer(Layer):
    cdef object ssl                     # an ssl.SSLObject
    cdef Certificates certificates      # during the handshake, in which they are asked, and may have been replaced
    cdef bytes name                     # of the server, for which the client has asked
    cdef object inner                   # what _ssl has for it
    cdef object incoming
    cdef object outgoing
    cdef bytes raw                      # output that was taken and is not encrypted yet
    cdef bytes held                     # encrypted, from `held_at`
    cdef Py_ssize_t held_at
    cdef bytes early                    # decrypted and not asked for yet, from `early_at`
    cdef Py_ssize_t early_at
    cdef PyObject* busy                 # the green thread that is in the middle of something; or NULL

    cdef int enter(self, Stream stream) except -1
    cdef int need_fd(self) except -1
    cdef Py_ssize_t receive(self, Stream stream) except -2
    cdef int leave(self, Stream stream, bint last, bint wait) except -1
    cdef int collect(self) except -1
    cdef int decrypt_some(self) except -1
    cdef int keep(self, const char* data, Py_ssize_t size) except -1
    cdef int strike_off(self, Py_ssize_t size) except -1
    cdef int encrypt_raw(self, Stream stream) except -1
    cdef int say_goodbye(self) except -1
    cdef Py_ssize_t reading(self, Stream stream) except -2
    cdef Py_ssize_t go_on_reading(self, Stream stream) except -2
    cdef Handshake go_on_shaking(self, Stream stream) except *
    cdef object broken(self, Stream stream, object error)

cdef Layer begun(object context, int fd, bint server, object name)
