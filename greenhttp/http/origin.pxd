from libc.stdint cimport uint64_t

from greenhttp.green.peers cimport Peers
from greenhttp.green.stream cimport Stream
from greenhttp.wire.forwarded cimport Hops
from greenhttp.wire.head cimport Head

cdef class Origin:
    cdef readonly object peer       # (host, port) of the client; None: the other end of the connection
    cdef readonly tuple proxies     # the trusted ones on the way, nearest to the client first; (): none has told it
    cdef readonly str scheme        # "http" or "https"
    cdef readonly str host          # `name[:port]` that was asked for; None: what the head says
    cdef readonly str name          # the same without its port; None like `host`
    cdef readonly int port          # where `host` is told: its port, or that of the scheme
    cdef readonly str root_path     # before the paths of the application: "" or "/below"

    cdef bint told                  # the scheme is what a field says

    cdef str who(self)

cdef Origin new_origin()

cdef class Origins:
    cdef bint asks                  # there is something to ask of every request
    cdef uint64_t asked[2]          # a bit for each field of KNOWN_NAMES with which there is
    cdef uint64_t known[2]          # a bit for each that an Origin has to look at
    cdef tuple unlisted             # names that are not of KNOWN_NAMES, as bytes, with which it has to as well
    cdef bint always                # every request has to be looked at
    cdef readonly Peers trusted
    cdef str family                 # forwarded_field
    cdef bint believes_host         # forwarded_host
    cdef dict fates                 # name in small letters, as bytes -> what forwarded_strip does with it; None: off
    cdef bint unknown               # a field that is not of KNOWN_NAMES may tell the scheme
    cdef dict schemes               # name in small letters -> the value that means https, as bytes
    cdef list values                # the same by index in KNOWN_NAMES; None: says nothing about it
    cdef readonly bint identifies   # each request has an ID, also where nobody has given it one
    cdef readonly bytes id_name     # the field in which a trusted peer gives one, in small letters
    cdef int id_index               # of that field in KNOWN_NAMES, or -1
    cdef uint64_t id_known[2]       # its bit, as in `known`

    cdef bint rules                 # each request is judged: by its path, by its host
    cdef readonly str root_path     # before the paths of the application: "" or "/below"
    cdef bytes root                 # the same; None without one
    cdef bytes health_path          # excepted; None without one
    cdef bytes prefix_name          # field that says what a proxy has removed from the path; None: none does
    cdef int prefix_known           # its index in KNOWN_NAMES, or -1
    cdef tuple last_prefix          # (value, prefix) of the one seen last
    cdef object hosts               # hosts.Hosts; None: any will do
    cdef bytes last_host            # the one that was allowed last, as sent

    cdef bint redirects             # requests that have not come by https are sent there
    cdef public int https_port      # where that is, if no proxy says it

    cdef int settle(self) except -1
    cdef str given_id(self, Head head)
    cdef str believed_id(self, Head head, Stream stream)
    cdef str id_from(self, str given)
    cdef str id_of(self, Head head, Stream stream)
    cdef int watch(self, str name) except -1
    cdef bint has_unlisted(self, Head head) noexcept
    cdef bint trusts(self, Stream stream) except -1
    cdef int watch_scheme(self, str name, bytes value) except -1
    cdef int strip_all(self, object settings) except -1
    cdef int ask(self, Origin origin, Head head, Stream stream, bint trusted) except -1
    cdef int x_forwarded(self, Origin origin, Head head, Stream stream) except -1
    cdef int forwarded(self, Origin origin, Head head, Stream stream) except -1
    cdef int walk(self, Origin origin, Head head, Stream stream, Hops hops, bint strict) except -2
    cdef int scheme_of(self, Head head, int count, int client) except -2
    cdef int strip(self, Head head, bint trusted) except -1
    cdef str prefix_of(self, Head head)
    cdef int admit(self, Head head, Origin origin) except -2
    cdef bint is_health(self, Head head) noexcept
    cdef int redirect(self, Head head, Origin origin, bint secure) except -1
    cdef int check_host(self, Head head, Origin origin) except -1

cdef enum:
    OUTSIDE = -1                    # Origins.admit: the path is not below the root path, and yet admitted

cdef bint traced(Head head) noexcept

cdef inline bint located(Origins origins, Head head) noexcept:
    """If there is something to ask: whether an Origin is to be made."""
    return (
        origins.always
        or (head.known[0] & origins.known[0] | head.known[1] & origins.known[1]) != 0
        or origins.unlisted and origins.has_unlisted(head)
    )

cdef inline bint identified(Origins origins, Head head) noexcept:
    """If there is something to ask: whether the request has an ID from its beginning, or may have."""
    return origins.identifies or (head.known[0] & origins.id_known[0] | head.known[1] & origins.id_known[1]) != 0
