from cpython.object cimport PyObject

from greenhttp.green.layer cimport Handshake, Layer
from greenhttp.green.stream cimport Stream

cdef dict shaking_simply

cdef class SimpleLayer(Layer):
    cdef object ssl                     # an ssl.SSLObject
    cdef object certificates            # tls.Certificates during the handshake; its server may have others by then
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

cdef SimpleLayer simple(object context, int fd, bint server, object name)
