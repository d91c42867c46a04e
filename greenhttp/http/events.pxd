from libc.stdint cimport int64_t

from greenhttp.green.deadline cimport Phase
from greenhttp.http.response cimport Content, Delivery

cdef class EventStream:
    cdef readonly object source
    cdef readonly object retry
    cdef readonly object heartbeat
    cdef readonly list headers
    cdef bytes first

    cdef Events open(self, object last_event_id)

cdef class Events(Content):
    cdef object source          # an iterable; or a function, called with
    cdef object last_event_id   # the ID of the last event that the client has seen, or None
    cdef object iterator        # what the events come from, once it has begun
    cdef bytes first            # goes out before the first of them
    cdef double heartbeat       # seconds; 0: none
    cdef Delivery delivery      # that sends these; None before and after
    cdef bint asked             # the source has been asked for the next event
    cdef bint ending            # that is the last one
    cdef object failure         # because its client was lost, or None
    cdef int64_t unread         # bytes that the client had not taken at the last heartbeat; -1: there was none
    cdef double silent          # seconds for which it has taken none

    cdef int begin(self) except -1
    cdef int send(self, Delivery delivery) except -1
    cdef int beat(self, double pause) except -1
    cdef int lost(self, object failure) except -1

cdef class Streams:
    cdef object loop
    cdef readonly dict paces             # seconds of a heartbeat -> its Phase and Sweep

    cdef Phase phase(self, double heartbeat)
