from greenhttp.http.response cimport App, Delivery

cdef class WSGI(App):
    cdef object app
    cdef object settings

cdef class WSGIDelivery(Delivery):
    cdef bint called        # start_response was

    cdef object write(self, object data)
