from libc.stdint cimport int64_t

from greenhttp.green.stream cimport Stream
from greenhttp.http.body cimport Body
from greenhttp.http.exchange cimport Entrance, Exchange
from greenhttp.http.request cimport Request
from greenhttp.http.response cimport Delivery
from greenhttp.wire.head cimport Head
from greenhttp.wire.response cimport ResponseHead

cdef class App:
    cdef Delivery spare         # for the next request, or None

    cdef Entrance prepare(self, object name, object port, bint secure=*)
    cdef Entrance prepare_for(self, Entrance entrance, object info, object told)
    cdef Delivery respond(self, Request request)

cdef inline Delivery take_spare(App app):
    """A Delivery that was given back, to be bound again; or None."""
    cdef Delivery spare = app.spare
    app.spare = None
    return spare

cdef enum:
    NO_ANSWER = 499             # the status that observers are told where the connection ended before an answer

cdef class Observer:
    cdef void answered(self, Request request, int64_t began) noexcept
    cdef void refused(
        self, Stream stream, Head head, bytes line, int status, int64_t sent, bint cut, str id
    ) noexcept

cdef Entrance entrance_of(App app, Stream stream, Entrance common)

cdef str lost(object error)

cdef int answer_request(Exchange exchange, Head head, Body body, Entrance base) except -1

cdef enum Told:                 # what the peer of a PythonExchange has heard of the answer
    NOTHING = 0
    HEAD = 1
    END = 2                     # it is whole, or was aborted

cdef class PythonExchange(Exchange):
    cdef bytes sent             # the request's head, as HTTP/1 writes it
    cdef Body content
    cdef int state

    cdef int turn_away(self, int status, object retry_after, bint as_json, str reason, str id) except -1
    cdef int overloaded(self, str reason) except -1
    cdef int tell_head(self, ResponseHead answer) except -1
    cdef int finish(self, list trailers) except -1
