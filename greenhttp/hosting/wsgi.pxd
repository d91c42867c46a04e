from greenhttp.http.application cimport App
from greenhttp.http.response cimport Delivery

cdef class WSGIDelivery(Delivery):
    cdef bint called        # start_response was

    cdef int writable(self) except -1
    cdef object write(self, object data)

cdef class Ending:
    cdef object closer, after
    cdef WSGIDelivery response

cdef class WSGI(App):
    cdef object app
    cdef object settings
    cdef object hooks
    cdef bint keeps_environ
    cdef readonly object errors     # what `wsgi.errors` is

    cdef int call(self, dict environ, WSGIDelivery response) except -1
    cdef int call_between(self, dict environ, WSGIDelivery response) except -1
