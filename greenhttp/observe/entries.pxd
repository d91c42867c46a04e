from libc.stdint cimport int64_t

from greenhttp.green.stream cimport Stream
from greenhttp.http.application cimport Observer
from greenhttp.http.origin cimport Origin
from greenhttp.http.request cimport Request
from greenhttp.http.response cimport Delivery
from greenhttp.wire.head cimport Head

cdef struct Part:
    # One part of an entry: an atom, and text or a field's name as a range of `Entries.texts`.
    int atom
    int known                       # index of the field's name in KNOWN_NAMES, or -1
    Py_ssize_t at
    Py_ssize_t size

cdef class Entries(Observer):
    cdef readonly Py_ssize_t held       # bytes of memory, those of the batch that is being written included
    cdef readonly Py_ssize_t limit
    cdef readonly int64_t count         # entries gathered
    cdef readonly int64_t dropped
    cdef public object wake             # called when there is something to write; must not suspend
    cdef bint awake

    cdef bint makes_ahead               # there are texts that take Python to make
    cdef readonly bint wants_environ    # there is an atom that only the environ tells
    cdef readonly bint wants_id         # there is one that is the ID of the request
    cdef bint wants_tls                 # there is one that is the version of TLS
    cdef bytes texts
    cdef Part* parts
    cdef int part_count
    cdef object quote               # str -> str in quotes, for values in json; None: escaped as Apache does it
    cdef char* data
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity
    cdef int64_t second             # the one that `stamp` shows
    cdef char stamp[40]
    cdef int stamp_size

    cdef void gather(
        self, Stream stream, Origin origin, Head head, bytes line, Delivery answer, list texts, int status,
        int64_t sent, int64_t took, bint cut, str id, str tls,
    ) noexcept
    cdef int write(
        self, Stream stream, Origin origin, Head head, bytes line, Delivery answer, list texts, int status,
        int64_t sent, int64_t took, bint cut, str id, str tls,
    ) except -1
    cdef int client(self, tuple peer, int atom) except -1
    cdef int word_of_ours(self, str word) except -1
    cdef int of_line(self, bytes line, int atom) except -1
    cdef int of_request(self, Head head, Part* part) except -1
    cdef int request_field(self, Head head, Part* part) except -1
    cdef int response_field(self, Delivery answer, Part* part) except -1
    cdef list made_ahead(self, Head head, dict environ)
    cdef int word(self, const char* data, Py_ssize_t size) except -1
    cdef int duration(self, int atom, int64_t took) except -1
    cdef int time(self, int atom, int64_t took) except -1
    cdef int room(self, Py_ssize_t size) except -1
    cdef int raw(self, const char* data, Py_ssize_t size) except -1
    cdef int absent(self) except -1
    cdef int text(self, const char* data, Py_ssize_t size) except -1
    cdef int number(self, int64_t value, int digits=*) except -1
