"""Who sent a request, by what scheme, to which host, under which path: asked here, once, before the application is.

What the connection and the head say themselves needs no answer. An Origin is made where a field of a proxy may say
otherwise, or where the operator does; only peers in `forwarded_allow_ips` are believed, and of them one family of
fields. Whatever a stranger writes into such a field decides nothing.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcmp

from greenhttp.green.peers cimport Peers
from greenhttp.green.stream cimport Stream
from greenhttp.green.transport cimport SocketStream
from greenhttp.wire.head cimport Field, Form, Head
from greenhttp.wire.names cimport find_known, same_name

import re

from greenhttp.errors import RequestRefused
from greenhttp.http.hosts import Hosts
from greenhttp.http.refusals import shown
from greenhttp.wire.names import KNOWN_NAMES

assert len(KNOWN_NAMES) <= 128, "Head.known and Origins.known have two words"

cdef enum:
    LONGEST_PREFIX = 256        # bytes

# What --root-path may be, and nothing else: an escape, a `//` or a backslash may be read in another way by somebody who
# makes a link of it. Not even a comma, by which some proxies join several fields.
cdef object PREFIX = re.compile(rb"(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._~!$&'()*+;=:@-]+)*/?")


cdef inline int digit(unsigned char c) noexcept nogil:
    """The value of a hexadecimal digit, -1 for anything else."""
    if c'0' <= c <= c'9':
        return c - c'0'
    c |= 0x20
    return c - c'a' + 10 if c'a' <= c <= c'f' else -1


cdef inline bint unreserved(unsigned char c) noexcept nogil:
    """Whether it means the same with and without an escape (RFC 3986 2.3)."""
    return (
        c'a' <= (c | 0x20) <= c'z' or c'0' <= c <= c'9' or c == c'-' or c == c'.' or c == c'_' or c == c'~'
    )


cdef Py_ssize_t below(const unsigned char* path, Py_ssize_t size, bytes root, bint plain) noexcept:
    """How many bytes of the path, as sent, are the root path, in whole segments; 0: it is not below it."""
    cdef const unsigned char* wanted = <const unsigned char*>PyBytes_AS_STRING(root)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(root), at = 0, i
    cdef unsigned char c
    cdef int high, low
    if size < length:
        return 0
    if memcmp(path, wanted, length) == 0:
        at = length
    elif plain:
        return 0
    else:
        for i in range(length):
            if at >= size:
                return 0
            c = path[at]
            at += 1
            if c == c'%':
                if at + 1 >= size:
                    return 0
                high = digit(path[at])
                low = digit(path[at + 1])
                if high < 0 or low < 0:
                    return 0
                c = <unsigned char>(high << 4 | low)
                if not unreserved(c):
                    return 0            # a `%2F` is no `/`
                at += 2
            if c != wanted[i]:
                return 0
    return at if at == size or path[at] == c'/' else 0


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
        self.root_path = settings.root_path or ""
        self.root = self.root_path.encode("ascii") or None
        self.hosts = Hosts(settings.allowed_hosts) if settings.allowed_hosts else None
        if self.hosts is not None and self.hosts.any:
            self.hosts = None
        self.rules = self.root is not None or self.hosts is not None
        self.health_path = None if settings.health_path is None else settings.health_path.encode("ascii")
        self.last_prefix = (b"", "")
        self.last_host = b""
        if settings.root_path_header is not None:
            name = settings.root_path_header.lower()
            self.prefix_name = name.encode("ascii")
            self.prefix_known = find_known(
                <const unsigned char*>PyBytes_AS_STRING(self.prefix_name), PyBytes_GET_SIZE(self.prefix_name)
            )
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
        origin.root_path = self.root_path
        if trusted and self.prefix_name is not None:
            prefix = self.prefix_of(head)
            if prefix:
                origin.root_path = prefix + self.root_path
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

    cdef str prefix_of(self, Head head):
        """The path prefix that a trusted proxy says it has removed (`root_path_header`); "" without one."""
        cdef const char* p = head.base
        cdef Field* field
        cdef Field* found = NULL
        cdef Py_ssize_t size = PyBytes_GET_SIZE(self.prefix_name)
        cdef const char* name = PyBytes_AS_STRING(self.prefix_name)
        cdef bytes value, known
        cdef int i
        for i in range(head.count):
            field = &head.field[i]
            if field.known != self.prefix_known:
                continue
            if field.known < 0 and (
                field.name_len != <size_t>size or not same_name(<const unsigned char*>p + field.name, name, size)
            ):
                continue
            if found != NULL:       # the same prefix twice may have been removed twice, or once
                raise RequestRefused(400, f"more than one {self.prefix_name.decode('ascii')} (root_path_header)")
            found = field
        if found == NULL:
            return ""
        known = <bytes>self.last_prefix[0]
        if found.value_len == <size_t>PyBytes_GET_SIZE(known) \
                and memcmp(p + found.value, PyBytes_AS_STRING(known), found.value_len) == 0:
            return <str>self.last_prefix[1]
        value = p[found.value:found.value + found.value_len]
        if len(value) > LONGEST_PREFIX or not PREFIX.fullmatch(value):
            raise RequestRefused(
                400, f"{self.prefix_name.decode('ascii')} is not a path prefix: {shown(value)} (root_path_header)"
            )
        self.last_prefix = (value, value.rstrip(b"/").decode("ascii"))
        return <str>self.last_prefix[1]

    cdef int admit(self, Head head, Origin origin) except -2:
        """Judge the request by its host and its path; asked only where there are `rules`.

        Returns how many bytes of the path, as sent, are the root path's; OUTSIDE for `health_path` where it is not
        below. Raises RequestRefused.
        """
        cdef const unsigned char* path = <const unsigned char*>head.base + head.path_at
        cdef bytes health = self.health_path
        cdef Py_ssize_t size
        cdef bint healthy = (
            health is not None and head.path_len == <size_t>PyBytes_GET_SIZE(health)
            and memcmp(path, PyBytes_AS_STRING(health), head.path_len) == 0
        )
        if self.hosts is not None and not healthy:
            self.check_host(head, origin)
        if self.root is None or head.form == Form.ASTERISK or head.form == Form.AUTHORITY:
            return 0                    # the last two have no path
        size = below(path, head.path_len, self.root, head.path_plain)
        if size:
            return <int>size
        if healthy:
            return OUTSIDE
        raise RequestRefused(404, f"the path is not below {self.root_path} (root_path)")

    cdef int check_host(self, Head head, Origin origin) except -1:
        """Raise RequestRefused unless the host that was asked for is one of `allowed_hosts`."""
        cdef bytes host = self.last_host
        if origin is not None and origin.host is not None:      # as a proxy says
            host = origin.host.encode("latin-1", "replace")
        elif head.host_len and head.host_len == <size_t>PyBytes_GET_SIZE(host) \
                and memcmp(head.base + head.host_at, PyBytes_AS_STRING(host), head.host_len) == 0:
            return 0
        else:
            host = head.base[head.host_at:head.host_at + head.host_len]
        if not host:
            raise RequestRefused(421, "no host was named (allowed_hosts)")
        if not self.hosts.allow(host):
            raise RequestRefused(421, f"the host {shown(host)} is not allowed (allowed_hosts)")
        self.last_host = host
        return 0
