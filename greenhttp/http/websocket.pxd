from greenhttp.http.body cimport Body
from greenhttp.http.exchange cimport Exchange
from greenhttp.wire.head cimport Head

cdef int check_room(Exchange exchange, Py_ssize_t taken) except -1
cdef object agreed(Exchange exchange, Head head, Body body, str own, object protocols, object origins)
