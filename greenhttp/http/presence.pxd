from greenhttp.green.deadline cimport Timed
from greenhttp.http.exchange cimport Exchange
from greenhttp.http.service cimport Service

cdef enum:
    FOR_EVENTS = 2              # Job.pulling: then what it waits for is closed, as a generator is, when nobody wants it

cdef class Disconnected(Timed):
    cdef Exchange exchange          # what its request came by; None once that is over
    cdef Service service
    cdef readonly bint gone         # the client went before the request was over
    cdef bint cancels               # then the green thread of the request is to end
    cdef bint answered              # the answer is whole: what still runs is no reason to end it
    cdef bint thrown                # it was told
    cdef bint finished              # the client sends nothing more
    cdef int looks                  # how often one has looked in vain since that is known: the next pause is longer
    cdef list calls                 # functions to be called when it goes, with what a line of the log begins with
    cdef object event               # a gevent Event for whoever waits, or None

    cdef int begin(self, Exchange exchange, bint look) except -1
    cdef bint examine(self) except -1
    cdef int wrote(self) except -1
    cdef int found(self) except -1
    cdef int cancel(self) except -1
    cdef int call(self, object function, str what) except -1
    cdef int end(self) except -1
    cdef object awaited(self)

cdef class Lookout:
    cdef tuple pauses               # a Phase for each
    cdef object loop, timer

    cdef int put_off(self, Disconnected who) except -1
