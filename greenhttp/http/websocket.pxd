from greenhttp.http.body cimport Body
from greenhttp.http.exchange cimport Exchange
from greenhttp.wire.head cimport Head

cdef object agreed(Exchange exchange, Head head, Body body, str own, object protocols, object origins)
