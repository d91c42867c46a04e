from greenhttp.http.application cimport App
from greenhttp.http.request cimport Request
from greenhttp.http.response cimport Delivery

cdef class Response:
    cdef public object body
    cdef public object status
    cdef object fields          # list of (name, value), or None while there is none

cdef class HandlerDelivery(Delivery):
    cdef int take(self, object result) except -1
    cdef int head(self, object status, object fields, str kind) except -1
    cdef int take_file(self, object file) except -1

cdef class Handler(App):
    cdef object handler
    cdef bint hinted            # it has been said once that this looks like a stream handler

    cdef int suspect(self, Request request, object error) except -1
