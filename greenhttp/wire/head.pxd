from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef struct Field:
    # Offsets from Head.base. Limits keep them far below 2**32 (see MAX_LIMIT).
    uint32_t name
    uint32_t name_len
    uint32_t value
    uint32_t value_len
    int known              # index in KNOWN_NAMES, or -1


cpdef enum Form:
    ORIGIN = 0             # /path?query
    ABSOLUTE = 1           # http://host/path?query
    ASTERISK = 2           # *, with OPTIONS only
    AUTHORITY = 3          # host:port, with CONNECT only


cpdef enum Framing:
    NO_BODY = 0
    LENGTH = 1
    CHUNKED = 2


cdef class Head:
    # Results, valid once parse() has returned more than 0 and for as long as the memory behind `base` lives (own()
    # makes that as long as the Head). `*_at` are offsets from base.
    cdef const char* base
    cdef readonly str method
    cdef readonly bint is_head           # the method is HEAD
    cdef uint32_t target_at, target_len
    cdef uint32_t path_at, path_len      # of absolute-form without a path: "/" (the one before the authority)
    cdef uint32_t query_at, query_len    # without the "?"
    cdef uint32_t host_at, host_len      # the Host field, or the authority of an absolute-form target; 0 long: none
    cdef readonly bint has_query         # "/a?" has a query, an empty one
    cdef readonly bint path_plain        # no "%": the path is its own decoded form
    cdef readonly Form form
    cdef readonly int minor              # HTTP/1.<minor>: 0, or 1 for everything above
    cdef Field* field
    cdef readonly int count
    cdef uint64_t known[2]               # a bit for each field of KNOWN_NAMES that it has, by index
    cdef readonly Framing framing
    cdef readonly int64_t content_length  # -1 unless framing is LENGTH
    cdef readonly bint keep_alive
    cdef readonly bint wants_continue    # 100-continue expected, on 1.1, and there is a body to wait for
    cdef readonly bint has_connection_upgrade
    cdef readonly Py_ssize_t head_size   # bytes of the whole head; 0 until it is complete
    cdef readonly uint64_t examined      # bytes scanned for line ends plus bytes parsed, since reset()

    # Limits and policy, from the constructor.
    cdef uint32_t limit_line, limit_head, limit_fields
    cdef bint allow_connect, allow_trace
    cdef frozenset allow_names
    cdef readonly set dropped

    # Progress.
    cdef int state
    cdef int empty_lines
    cdef int seen                        # fields counted against the limit, dropped ones included
    cdef int room                        # fields there is memory for
    cdef uint32_t line_at                # where the current line begins
    cdef uint32_t scanned                # no line end between line_at and here
    cdef uint32_t fields_at              # where the first field line begins
    cdef uint32_t authority_at, authority_len
    cdef bint https
    cdef int hosts, lengths, codings, chunked
    cdef bint last_is_chunked
    cdef bint asked_close, asked_keep_alive, asked_upgrade, expects_continue
    cdef bytes owned
    cdef bytearray fed

    cdef Py_ssize_t parse(self, const char* data, Py_ssize_t size) except -1
    cdef void reset(self) noexcept
    cdef int own(self) except -1
    cdef bytes refused_line(self, const char* data, Py_ssize_t size)
    # The first field with that index in KNOWN_NAMES, from `start` on; -1 if there is none.
    cdef int find(self, int known, int start=*) noexcept nogil
    # The bytes at an offset as str (latin-1, PEP 3333).
    cdef str text(self, uint32_t at, uint32_t size)

    cdef int refuse(self, int status, str reason) except -1
    cdef int beyond(self, int status, str setting, int64_t limit) except -1
    cdef int partial_line(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef int request_line(self, const unsigned char* p, uint32_t start, uint32_t end) except -1
    cdef int request_target(self, const unsigned char* p, uint32_t start, uint32_t end) except -1
    cdef int field_line(self, const unsigned char* p, uint32_t start, uint32_t end) except -1
    cdef int special_field(self, const unsigned char* p, Field* f) except -1
    cdef int transfer_encoding(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef int expect(self, const unsigned char* p, Py_ssize_t size) except -1
    cdef void connection(self, const unsigned char* p, Py_ssize_t size) noexcept
    cdef bint drops(self, const unsigned char* name, Py_ssize_t size) except -1
    cdef int finish(self, const unsigned char* p) except -1
    cdef int need_complete(self) except -1
