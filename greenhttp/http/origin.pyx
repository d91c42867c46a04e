"""Who sent a request, by what scheme, to which host, under which path: asked here, once, before the application is.

What the connection and the head say themselves needs no answer. An Origin is made where a field of a proxy may say
otherwise, or where the operator does; only peers in `forwarded_allow_ips` are believed, and of them one family of
fields. Whatever a stranger writes into such a field decides nothing.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcmp

from greenhttp.green.peers cimport Peers
from greenhttp.green.stream cimport Stream
from greenhttp.green.transport cimport SocketStream
from greenhttp.wire.head cimport Field, Head

from greenhttp.errors import RequestRefused
from greenhttp.wire.names import KNOWN_NAMES

assert len(KNOWN_NAMES) <= 128, "Head.known and Origins.known have two words"


cdef class Origin:
    """What is known of where a request comes from and goes to, beyond its connection and its head."""

    def __init__(self):
        raise TypeError("made by Origins only")


cdef class Origins:
    """The rules, for all requests of a server.

    Arguments:
        settings: those under the heading "Behind a proxy" count.
    """

    def __init__(self, settings):
        self.trusted = Peers(settings.forwarded_allow_ips)
        self.schemes = {}
        self.values = [None] * len(KNOWN_NAMES)
        for pair in settings.secure_scheme_headers:
            name, _, value = pair.partition("=")
            self.schemes[name.encode("latin-1")] = value.encode("latin-1")
            if name in KNOWN_NAMES:
                self.values[KNOWN_NAMES.index(name)] = value.encode("latin-1")
            else:
                self.unknown = True
            self.watch(name)

    cdef int watch(self, str name) except -1:
        """Requests with that field have to be looked at."""
        if name in KNOWN_NAMES:
            index = KNOWN_NAMES.index(name)
            self.known[index >> 6] |= <uint64_t>1 << (index & 63)
        else:
            self.always = True
        return 0

    cdef bint trusts(self, Stream stream) except -1:
        """Whether that peer is believed."""
        if type(stream) is not SocketStream:
            return True                     # in memory
        return self.trusted.trust(<SocketStream>stream)

    cdef Origin of(self, Head head, Stream stream):
        """What there is to know of a request; asked only where `concerns` says so.

        Raises RequestRefused.
        """
        cdef Origin origin = Origin.__new__(Origin)
        cdef bint trusted = self.trusts(stream)
        origin.root_path = ""
        origin.scheme = "https" if trusted and self.scheme_of(head) else "http"
        return origin

    cdef int scheme_of(self, Head head) except -1:
        """Whether the fields of `secure_scheme_headers` say https. gunicorn's rules: each says https if its value is
        exactly the one that is set, else http."""
        cdef const char* p = head.base
        cdef Field* field
        cdef object wanted
        cdef bytes meant
        cdef int i, says, said = -1
        for i in range(head.count):
            field = &head.field[i]
            if field.known >= 0:
                wanted = self.values[field.known]
            elif self.unknown:
                wanted = self.schemes.get(p[field.name:field.name + field.name_len].lower())
            else:
                continue
            if wanted is None:
                continue
            meant = <bytes>wanted
            says = field.value_len == <size_t>len(meant) and memcmp(p + field.value, <char*>meant, len(meant)) == 0
            if said >= 0 and said != says:
                raise RequestRefused(
                    400, "the fields that tell the scheme contradict each other (secure_scheme_headers)"
                )
            said = says
        return said == 1
