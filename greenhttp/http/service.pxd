from libc.stdint cimport int64_t

from greenhttp.process.board cimport Board
from greenhttp.green.arrival cimport Arrivals
from greenhttp.green.deadline cimport Phase
from greenhttp.green.lingering cimport Lingering
from greenhttp.green.pool cimport Pool
from greenhttp.green.stream cimport Stream
from greenhttp.http.origin cimport Origins
from greenhttp.wire.head cimport Head

cdef class Service:
    cdef readonly object settings
    cdef readonly Origins origins   # whom to ask where a request comes from
    cdef object app                 # a response.App
    cdef object observer            # a response.Observer, or None
    cdef readonly Pool pool
    cdef Board board                # lists what runs, for other threads and processes to see; None: nobody looks
    cdef Arrivals arrivals          # connections that are not HTTP's yet; None: each is, from accept on
    cdef readonly Phase arriving    # accepted, what comes before HTTP not complete
    cdef readonly Phase handshaking     # the handshake of TLS is due, or not over
    cdef readonly Phase fresh       # accepted, first head not complete
    cdef readonly Phase heading     # a later head has begun
    cdef readonly Phase idle        # between two requests
    cdef readonly Phase queued      # a head is complete, no green thread is free
    cdef readonly Phase running     # in the application
    cdef readonly Phase overdue     # in the application, and told that its time is up
    cdef readonly Phase flushing    # the answer is complete, the peer reads slowly
    cdef readonly Lingering draining    # the rest of a body is read and dropped
    cdef readonly Lingering lingering   # closed for writing, what still comes is dropped
    cdef readonly Phase body        # a green thread waits for content
    cdef readonly Phase writing     # a green thread waits for the peer to read
    cdef readonly tuple phases

    cdef readonly int64_t open_connections
    cdef readonly int64_t requests
    cdef readonly int64_t max_connections
    cdef int64_t limit_body
    cdef int64_t gather             # bytes of chunked content gathered before the application is asked; 0: none
    cdef int64_t limit_buffers
    cdef str crowded                # what is said when unread input is more than that
    cdef Py_ssize_t limit_extensions, limit_trailers, limit_pipeline
    cdef bytes health_path          # requests for it have a few green threads of their own; None: there is none
    cdef bint lingers
    cdef bint full                  # accepting waits until a connection ends or becomes idle
    cdef readonly bint stopping     # every answer from now on announces `Connection: close`
    cdef bint closes_idle           # and a connection that becomes idle ends
    cdef readonly object report     # report(level, message, exc_info=None): never blocks, never raises
    cdef readonly object noise      # noise(kind, message, level="info"): what outsiders can make it say at will
    cdef object head_options
    cdef readonly set dropped
    cdef Py_ssize_t dropped_said
    cdef object emptied             # called when the last connection has gone, or None
    cdef Head head                  # for reuse: the one used last, and others. A list that empties frees its memory,
    cdef list heads                 # so the first place is not in it
    cdef list doors                 # acceptors, to be told when there is room again

    cdef long long second           # of the date line
    cdef bytes date
    cdef bytes server
    cdef str id_name                # the field in which each answer tells the ID of its request; None: none does

    cdef Head take_head(self)
    cdef void give_head(self, Head head) noexcept
    cdef bytes date_line(self)
    cdef int say_dropped(self, Stream stream) except -1
    cdef int refused(self, Stream stream, str request, int status, str reason, str id) except -1
    cdef str why(self, object error)
    cdef str queue_full(self)
    cdef str queue_too_long(self)
    cdef int make_way(self) except -1

cpdef str naming(str who, str id)

cdef inline bint concerns(Service service, Head head) noexcept:
    """Whether there is anything to ask the origins. That is all that a request without such fields pays."""
    return service.origins.asks or (
        head.known[0] & service.origins.asked[0] | head.known[1] & service.origins.asked[1]
    ) != 0
