from greenhttp.http.response cimport App, Response

cdef class WSGI(App):
    cdef object app
    cdef object settings

cdef class WSGIResponse(Response):
    cdef bint called        # start_response was
    cdef object closer      # what the application returned, if that has a close()

    cdef object write(self, object data)
    cdef int finish_content(self) except -1
