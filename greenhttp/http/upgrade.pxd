from greenhttp.green.stream cimport Stream
from greenhttp.http.body cimport Body
from greenhttp.http.exchange cimport Exchange
from greenhttp.http.service cimport Service
from greenhttp.wire.head cimport Head

cdef list offered(Head head)
cdef bint offers(Head head, str protocol) except -1
cdef int change(Exchange exchange, Head asked, Body content, str protocol, object fields) except -1
cdef bint expected(Service service, Stream stream, object error, str what) except -1
