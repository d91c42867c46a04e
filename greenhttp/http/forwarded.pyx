"""What a proxy in front says of a request: whether its client came by https.

The rules are gunicorn's, so that an application that moves sees the same scheme. A field of `secure_scheme_headers`
says https if its value is exactly the one that is set, else http; fields that do not agree make the request one that
cannot be understood. They count only from peers in `forwarded_allow_ips`, and over a UNIX socket from everybody: who
may open it is for the permissions of its file to say.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from greenhttp.green.stream cimport Stream
from greenhttp.green.transport cimport SocketStream
from greenhttp.wire.head cimport Field, Head

from ipaddress import ip_address, ip_network

from greenhttp.wire.names import KNOWN_NAMES

assert len(KNOWN_NAMES) <= 128, "Forwarded.known has two words, and so has the look at it in hosting"


cdef class Forwarded:
    """The rules, for the requests that come in by one listening address.

    Arguments:
        settings: `forwarded_allow_ips` and `secure_scheme_headers` count.
    """

    def __init__(self, settings):
        self.everybody = "*" in settings.forwarded_allow_ips
        self.networks = tuple([ip_network(text) for text in settings.forwarded_allow_ips if text != "*"])
        self.rules = {}
        self.values = [None] * len(KNOWN_NAMES)
        for pair in settings.secure_scheme_headers:
            name, _, value = pair.partition("=")
            self.rules[name.encode("latin-1")] = value.encode("latin-1")
            if name in KNOWN_NAMES:
                index = KNOWN_NAMES.index(name)
                self.values[index] = value.encode("latin-1")
                self.known[index >> 6] |= <uint64_t>1 << (index & 63)
            else:
                self.unknown = True

    cdef bint trusts(self, Stream stream) except -1:
        """Whether the peer may say it. That of a proxy is the same again and again: it is looked up once."""
        cdef SocketStream socket
        cdef size_t size
        if type(stream) is not SocketStream:
            return True                     # in memory
        socket = <SocketStream>stream
        if socket.family == 0:
            return self.family == 0         # else a peer on macOS that was gone before it was accepted
        size = 4 if socket.family == 2 else 16
        if socket.family != self.family or memcmp(socket.address, self.address, size) != 0:
            address = ip_address(socket.address[:size])
            trusted = self.everybody or any([address in network for network in self.networks])
            memcpy(self.address, socket.address, size)
            self.family = socket.family
            self.trusted = trusted
        return self.trusted

    cdef int secure(self, Head head, Stream stream) except -1:
        """1: https. 0: http, or nobody says anything. CONTRADICTED."""
        cdef const char* p = head.base
        cdef Field* field
        cdef object wanted
        cdef bytes meant
        cdef int i, says, said = -1
        if not self.trusts(stream):
            return 0
        for i in range(head.count):
            field = &head.field[i]
            if field.known >= 0:
                wanted = self.values[field.known]
            elif self.unknown:
                wanted = self.rules.get(p[field.name:field.name + field.name_len].lower())
            else:
                continue
            if wanted is None:
                continue
            meant = <bytes>wanted
            says = field.value_len == <size_t>len(meant) and memcmp(p + field.value, <char*>meant, len(meant)) == 0
            if said >= 0 and said != says:
                return CONTRADICTED
            said = says
        return said == 1
