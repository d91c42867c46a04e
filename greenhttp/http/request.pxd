cimport cython
from libc.stdint cimport uint32_t

from greenhttp.http.body cimport Body
from greenhttp.http.exchange cimport Entrance, Exchange
from greenhttp.http.origin cimport Origin
from greenhttp.wire.head cimport Head


cdef enum:
    CUT_SHORT = 1               # Request.cut: a head was out; else it is a status, also NO_ANSWER


@cython.final
cdef class Headers:
    cdef Head head                  # whose fields these are, or
    cdef bint decoded               # and its transfer coding is undone: the field that names it is not shown
    cdef str length                 # but this Content-Length, if it is known by now
    cdef Body content               # whose trailers

    cdef object find(self, str name)
    cdef list all(self)


@cython.final
cdef class Request:
    cdef Head head
    cdef readonly Body body
    cdef Exchange exchange          # what it came by, and its answer leaves by
    cdef readonly str method
    cdef str sent_target            # as it was sent; made by whoever needs it first
    cdef str accept                 # where the head's bytes do not stay: its Accept, for an error; None without one
    cdef Entrance base              # what the application prepared for the address this came in by
    cdef readonly Origin origin     # what is known beyond connection and head; None: nothing
    cdef bint noted                 # there was something to ask of where it comes from: an ID, a trace, an origin
    cdef bint trusted               # and whoever it came from is believed; asked once, where something depends on it
    cdef str known_id               # what `id` is; None: nobody has given or asked for one
    cdef uint32_t prefix            # bytes of the path, as sent, that are the root path's
    cdef bint outside               # it was let in although its path is not below the root path
    cdef bint input_taken
    cdef bint head_out              # the head of an answer is in the output
    cdef dict environ               # what a WSGI application was given, for the observer; None unless it asks
    cdef object answer              # the response.Delivery it is the head of, for the observer; None without one
    cdef bint over                  # answered: nothing more may be written
    cdef int cut                    # 0, or the server could not wait: CUT_SHORT, or what its client was told instead
    cdef int cut_sent               # bytes of content of that
    # what a native handler has asked for, else None
    cdef str made_path
    cdef object made_query, made_json, made_form
    cdef Headers made_headers

    cdef Head known(self)
    cdef int keep(self) except -1
    cdef bint kept(self, Py_ssize_t known) noexcept
    cdef int take_input(self) except -1
    cdef str identify(self)
    cdef list values_of(self, int known)
    cdef str below(self)
    cdef str who(self)
    cdef str describe(self)

cdef Headers trailers_of(Body content)
cdef Request new_request(Exchange exchange, Head head, Body body, Entrance base)
