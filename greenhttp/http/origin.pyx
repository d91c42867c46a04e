"""Who sent a request, by what scheme, to which host, under which path: asked here, once, before the application is.

What the connection and the head say themselves needs no answer. An Origin is made where a field of a proxy may say
otherwise, or where the operator does; only peers in `forwarded_allow_ips` are believed, and of them one family of
fields. Whatever a stranger writes into such a field decides nothing.

Each proxy adds the address it was asked from, at the right end of a list. So the list is walked from there: the direct
peer is trusted, or nothing is read at all; what it says is believed; if that is an address in `forwarded_allow_ips`,
what *that* one has said is believed, and so on. The first that is not trusted is the client. Whatever stands to the
left of it was written by it, and is not looked at.

Only what decides is here, and all of it, so that one answer is made in one place: the bytes of lists are read in
wire/forwarded.pyx, lists of peers compared in green/peers.pyx, names of hosts in http/hosts.py.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from greenhttp.green.peers cimport Peers, read_address
from greenhttp.green.stream cimport Stream
from greenhttp.green.transport cimport SocketStream
from greenhttp.process.ids cimport new_id
from greenhttp.wire.forwarded cimport (
    ADDRESS,
    HAS_FOR,
    HAS_HOST,
    HAS_PROTO,
    LOCAL,
    MALFORMED,
    UNKNOWN,
    Hop,
    Hops,
    Node,
    Span,
    parse_node,
    unescaped,
)
from greenhttp.wire.head cimport Field, Form, Head
from greenhttp.wire.host cimport Authority, parse_authority
from greenhttp.wire.names cimport (
    KNOWN_FORWARDED,
    KNOWN_X_FORWARDED_FOR,
    KNOWN_X_FORWARDED_HOST,
    KNOWN_X_FORWARDED_PORT,
    KNOWN_X_FORWARDED_PROTO,
    find_known,
    same_name,
)
from greenhttp.wire.proxy cimport Proxied

import re

from greenhttp.errors import RequestRefused
from greenhttp.http.hosts import Hosts
from greenhttp.http.refusals import shown
from greenhttp.settings.peers import UNIX
from greenhttp.wire.names import KNOWN_NAMES

cdef enum:
    LONGEST_ID = 128            # characters of an ID that a peer gives

cdef unsigned char ID[256]      # 1: may be in one
memset(ID, 0, 256)
for _letter in bytearray(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/@:"):
    ID[_letter] = 1

cdef int TRACEPARENT = KNOWN_NAMES.index("traceparent")

assert len(KNOWN_NAMES) <= 128, "Head.known and Origins.known have two words"

cdef extern from "<arpa/inet.h>":
    const char* inet_ntop(int family, const void* address, char* into, unsigned int size) noexcept

cdef str NOBODY = "unknown"         # the client, where a proxy does not know it, in small letters
cdef str MALFORMED_HOST = "a malformed host in the fields of a proxy"

cdef enum:
    HTTPS = 443                     # the port that https:// means
    NOT_SAID = -1
    LONGEST_ADDRESS = 45            # IPv6 with an IPv4 address at its end, all digits written

cdef enum:                          # Origins.fates, what forwarded_strip does with a field
    REMOVED = 1                     # of everybody
    KEPT_IF_TRUSTED = 2

# In which proxies tell a client's address, scheme or target, and the ID of a request; beside them all of X-Forwarded-*.
cdef tuple TOLD = (
    "forwarded", "x-forwarded", "x-original-forwarded-for",
    "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip",
    "x-scheme", "x-url-scheme", "front-end-https",
    "x-original-host", "x-original-url", "x-rewrite-url",
    "x-request-id",
)

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

    cdef str who(self):
        """The client, for people: `192.0.2.1:4711`, without a port where none is known; None: the connection's peer."""
        cdef str host
        cdef object port
        if self.peer is None:
            return None
        host, port = self.peer
        if host[0] == "_":
            return f"client {host}"
        if host == NOBODY:
            return "an unknown client"
        if host == UNIX:
            return "a UNIX client"
        host = f"[{host}]" if ":" in host else host
        return f"{host}:{port}" if port else host


cdef bint traced(Head head) noexcept:
    """Whether it has a traceparent."""
    return head.known[TRACEPARENT >> 6] >> (TRACEPARENT & 63) & 1


cdef Origin new_origin():
    cdef Origin origin = Origin.__new__(Origin)
    origin.proxies = ()
    origin.scheme = "http"
    origin.root_path = ""
    return origin


cdef class Origins:
    """The rules, for all requests of a server.

    Arguments:
        settings: those under the heading "Behind a proxy" count.
    """

    def __init__(self, settings):
        self.unlisted = ()
        self.trusted = Peers(settings.forwarded_allow_ips)
        self.family = settings.forwarded_field
        self.schemes = {}
        self.values = [None] * len(KNOWN_NAMES)
        if self.family == "x-forwarded":
            self.watch("x-forwarded-for")
            for pair in settings.secure_scheme_headers:
                name, _, value = pair.partition("=")
                self.watch_scheme(name, value.encode("latin-1"))
            self.believes_host = settings.forwarded_host
            if self.believes_host:
                self.watch("x-forwarded-host")
                self.watch("x-forwarded-port")
        elif self.family == "forwarded":
            self.watch("forwarded")
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
        name = (settings.request_id_header or "x-request-id").lower()
        self.identifies = settings.request_id_header is not None
        self.id_name = name.encode("ascii")
        self.id_index = KNOWN_NAMES.index(name) if name in KNOWN_NAMES else -1
        if self.id_index >= 0:
            self.id_known[self.id_index >> 6] = <uint64_t>1 << (self.id_index & 63)
        if settings.forwarded_strip:
            self.strip_all(settings)
        self.redirects = settings.https_redirect
        self.https_port = HTTPS
        if settings.proxy_protocol != "off":
            self.always = True              # TLS is told there, for all requests of a connection

    cdef int watch_scheme(self, str name, bytes value) except -1:
        if name in KNOWN_NAMES:
            self.values[KNOWN_NAMES.index(name)] = value
        else:
            self.schemes[name.encode("latin-1")] = value
            self.unknown = True
        return self.watch(name)

    cdef int strip_all(self, object settings) except -1:
        """Have every request looked at, and fields that are not believed removed."""
        believed = set()
        if self.family == "x-forwarded":
            believed.add("x-forwarded-for")
            believed.update([pair.partition("=")[0] for pair in settings.secure_scheme_headers])
            if self.believes_host:
                believed |= {"x-forwarded-host", "x-forwarded-port"}
        elif self.family == "forwarded":
            believed.add("forwarded")
        believed.add((settings.request_id_header or "x-request-id").lower())
        if settings.root_path_header:
            believed.add(settings.root_path_header.lower())
        told = {*TOLD, *believed, *[pair.partition("=")[0] for pair in settings.secure_scheme_headers]}
        self.fates = {name.replace("_", "-").encode(): REMOVED for name in told}
        self.fates.update({name.encode(): KEPT_IF_TRUSTED for name in believed})
        self.always = True
        return 0

    def identify(self):
        """From now on each request has an ID."""
        self.identifies = True
        self.settle()

    cdef int settle(self) except -1:
        """All rules are known: what there is to ask of a request (`concerns`)."""
        cdef int word
        self.asks = self.always or self.identifies or self.rules or self.redirects or len(self.unlisted) > 0
        for word in range(2):
            self.asked[word] = self.known[word] | self.id_known[word]
        self.asked[TRACEPARENT >> 6] |= <uint64_t>1 << (TRACEPARENT & 63)      # see hosting.wsgi
        return 0

    cdef int watch(self, str name) except -1:
        """Requests with that field have to be looked at."""
        if name in KNOWN_NAMES:
            index = KNOWN_NAMES.index(name)
            self.known[index >> 6] |= <uint64_t>1 << (index & 63)
        else:
            self.unlisted += (name.encode("latin-1"),)
        return 0

    cdef bint has_unlisted(self, Head head) noexcept:
        """Whether it has a field with one of these names: a look at each field that is not of KNOWN_NAMES."""
        cdef Field* field
        cdef int i
        cdef object name
        for i in range(head.count):
            field = &head.field[i]
            if field.known >= 0:
                continue
            for name in self.unlisted:
                if field.name_len == <size_t>PyBytes_GET_SIZE(name) and same_name(
                    <const unsigned char*>head.base + field.name, PyBytes_AS_STRING(name), field.name_len
                ):
                    return True
        return False

    cdef bint trusts(self, Stream stream) except -1:
        """Whether that peer is believed. By a request once: its connection may end before it does."""
        cdef Proxied proxied = stream.proxied
        if proxied is not None and proxied.family == 0 and not proxied.local:
            return False                    # the peer is the proxy, and who is behind it nobody knows
        if type(stream) is not SocketStream:
            return True                     # in memory
        return self.trusted.trust(<SocketStream>stream)

    cdef int ask(self, Origin origin, Head head, Stream stream, bint trusted) except -1:
        """Find out what there is to know of a request; called only where `concerns` says so.

        `origin` is the request's already: whoever is refused from here is named as far as that is known. Raises
        RequestRefused.
        """
        origin.root_path = self.root_path
        if stream.proxied is not None and stream.proxied.tls is not None:
            origin.scheme = "https"         # unless a field that is believed says otherwise: it is of one farther away
        if trusted and self.family == "x-forwarded":
            self.x_forwarded(origin, head, stream)
        elif trusted and self.family == "forwarded":
            self.forwarded(origin, head, stream)
        if trusted and self.prefix_name is not None:
            prefix = self.prefix_of(head)
            if prefix:
                origin.root_path = prefix + self.root_path
        if self.fates is not None:
            self.strip(head, trusted)
        return 0

    cdef int x_forwarded(self, Origin origin, Head head, Stream stream) except -1:
        """X-Forwarded-For, -Proto and the like, -Host and -Port."""
        cdef Hops hops = listed(head, KNOWN_X_FORWARDED_FOR)
        cdef int client = self.walk(origin, head, stream, hops, False)
        cdef int secure = self.scheme_of(head, hops.count, client)
        cdef Span host, port
        if secure != NOT_SAID:
            origin.told = True
            origin.scheme = "https" if secure else "http"
        if self.believes_host:
            host.size = port.size = 0
            choose(head, KNOWN_X_FORWARDED_HOST, hops.count, client, &host)
            choose(head, KNOWN_X_FORWARDED_PORT, hops.count, client, &port)
            if host.size or port.size:
                set_host(origin, head, head.base + host.at, host.size, head.base + port.at, port.size)
        return 0

    cdef int forwarded(self, Origin origin, Head head, Stream stream) except -1:
        """Forwarded (RFC 7239)."""
        cdef Hops hops = Hops.__new__(Hops)
        cdef const char* p = head.base
        cdef Field* field
        cdef Hop* hop
        cdef bytes value
        cdef int i, client
        for i in range(head.count):
            field = &head.field[i]
            if field.known == KNOWN_FORWARDED and not hops.read_forwarded(p, field.value, field.value_len):
                raise RequestRefused(400, "a malformed Forwarded field")
        client = self.walk(origin, head, stream, hops, True)
        if client == NOT_SAID:
            return 0
        hop = &hops.hop[client]
        if hop.has & HAS_PROTO:
            origin.told = True
            value = unescaped(p + hop.proto.at, hop.proto.size).lower()     # schemes have no case (RFC 3986 3.1)
            if value == b"https" or value == b"wss":
                origin.scheme = "https"
            elif value == b"http" or value == b"ws":
                origin.scheme = "http"
            else:
                raise RequestRefused(400, "an unknown scheme in the Forwarded field")
        if hop.has & HAS_HOST:
            value = unescaped(p + hop.host.at, hop.host.size)
            if not value:
                raise RequestRefused(400, MALFORMED_HOST)
            set_host(origin, head, value, <uint32_t>len(value), NULL, 0)
        return 0

    cdef int walk(self, Origin origin, Head head, Stream stream, Hops hops, bint strict) except -2:
        """Find the client: peer and proxies of `origin`. The index of its hop; NOT_SAID: there are no hops.

        `strict`: nodes are those of RFC 7239.
        """
        cdef unsigned char packed[16]
        cdef char written[LONGEST_ADDRESS + 1]
        cdef const char* p
        cdef Hop* hop
        cdef Node node
        cdef bytes value
        cdef list passed
        cdef object name = stream.peer
        cdef int i = hops.count, family
        cdef uint32_t length
        cdef bint trusted
        if i == 0:
            return NOT_SAID
        passed = [name[0] if name else UNIX]        # from the direct peer to the one nearest to the client
        while True:
            i -= 1
            hop = &hops.hop[i]
            if not hop.has & HAS_FOR:
                name, node.port, trusted = NOBODY, 0, False
            else:
                p = head.base + hop.node.at
                node.size = hop.node.size
                if hop.escaped & HAS_FOR:
                    value = unescaped(p, node.size)
                    p = value
                    node.size = <uint32_t>len(value)
                parse_node(<const unsigned char*>p, node.size, strict, &node)
                trusted = False
                if node.kind == ADDRESS:
                    family = 0
                    length = node.size - node.zone
                    if length <= LONGEST_ADDRESS:
                        memcpy(written, p + node.at, length)
                        written[length] = 0
                        family = read_address(written, packed)
                    if family == 0 or inet_ntop(family, packed, written, sizeof(written)) == NULL:
                        node.kind = MALFORMED
                    else:
                        name = (<const char*>written).decode("ascii")
                        if node.zone:               # an interface of the proxy's, which says nothing here
                            name += p[node.at + length:node.at + node.size].decode("ascii")
                        trusted = self.trusted.named(family, packed, 0)
                elif node.kind == LOCAL:
                    name, trusted = UNIX, self.trusted.local
                elif node.kind == UNKNOWN:
                    name = NOBODY
                else:
                    name = p[node.at:node.at + node.size].decode("latin-1")
                if node.kind == MALFORMED:
                    raise RequestRefused(
                        400, f"{'Forwarded' if strict else 'X-Forwarded-For'} names no address where the client is told"
                    )
            if i == 0 or not trusted:
                break
            passed.append(name)
        passed.reverse()
        origin.peer = name, node.port
        origin.proxies = tuple(passed)
        return i

    cdef int scheme_of(self, Head head, int count, int client) except -2:
        """Whether the fields of `secure_scheme_headers` say https. gunicorn's rules: each says https if its value is
        exactly the one that is set, else http. Of X-Forwarded-Proto, which may be a list, what is of the client counts.
        """
        cdef const char* p = head.base
        cdef Field* field
        cdef Span value
        cdef object wanted
        cdef bytes meant
        cdef int i, says, said = NOT_SAID
        cdef bint chosen = False
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
            value.at, value.size = field.value, field.value_len
            if field.known == KNOWN_X_FORWARDED_PROTO:
                if chosen:
                    continue
                chosen = True
                value.size = 0
                choose(head, KNOWN_X_FORWARDED_PROTO, count, client, &value)
            meant = <bytes>wanted
            says = same(p, &value, meant) or (
                field.known == KNOWN_X_FORWARDED_PROTO and meant == b"https" and same(p, &value, b"wss")
            )
            if said != NOT_SAID and said != says:
                raise RequestRefused(
                    400, "the fields that tell the scheme contradict each other (secure_scheme_headers)"
                )
            said = says
        return said

    cdef str prefix_of(self, Head head):
        """The path prefix that a trusted proxy says it has removed (`root_path_header`); "" without one."""
        cdef const char* p = head.base
        cdef Field* found = next_of(head, self.prefix_known, self.prefix_name, NULL)
        cdef bytes value, known
        if found == NULL:
            return ""
        if next_of(head, self.prefix_known, self.prefix_name, found) != NULL:
            # The same prefix twice may have been removed twice, or once.
            raise RequestRefused(400, f"more than one {self.prefix_name.decode('ascii')} (root_path_header)")
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
        cdef Py_ssize_t size
        cdef bint healthy = self.is_health(head)
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

    cdef bint is_health(self, Head head) noexcept:
        """Whether it is for `health_path`."""
        cdef bytes path = self.health_path
        return (
            path is not None and head.path_len == <size_t>PyBytes_GET_SIZE(path)
            and memcmp(head.base + head.path_at, PyBytes_AS_STRING(path), head.path_len) == 0
        )

    cdef int redirect(self, Head head, Origin origin, bint secure) except -1:
        """Where there are `redirects`: raise RequestRefused with the address to ask, unless it has come by https."""
        cdef Authority authority
        cdef str host = None, path, query
        cdef int port = self.https_port
        if (secure if origin is None else origin.scheme == "https") or self.is_health(head):
            return 0
        if head.form == Form.ASTERISK or head.form == Form.AUTHORITY:
            raise RequestRefused(400, "only https:// is served, and what it asks for has no address (https_redirect)")
        if origin is not None and (origin.told or origin.host is not None or origin.proxies):
            port = HTTPS                    # it has come to a proxy, whose port of ours is not known there
        if origin is not None and origin.host is not None:
            host = origin.name
        elif parse_authority(<const unsigned char*>head.base + head.host_at, head.host_len, &authority):
            host = head.text(head.host_at, authority.name_size)
        if not host:
            raise RequestRefused(400, "no host was named (https_redirect)")
        path = head.text(head.path_at, head.path_len)
        if origin is not None:
            path = origin.root_path.removesuffix(self.root_path) + path     # what a proxy has removed
        query = "?" + head.text(head.query_at, head.query_len) if head.has_query else ""
        if port != HTTPS:
            host = f"{host}:{port}"
        raise RequestRefused(308, "it has not come by https", f"https://{host}{path}{query}")

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

    cdef int strip(self, Head head, bint trusted) except -1:
        """Take fields of proxies that are not believed out of the head."""
        cdef const char* p = head.base
        cdef Field* field
        cdef object fate
        cdef uint64_t known[2]
        cdef int i, left = 0
        known[0] = known[1] = 0
        for i in range(head.count):
            field = &head.field[i]
            name = p[field.name:field.name + field.name_len].lower()
            fate = self.fates.get(name)
            if fate is None:
                # WSGI makes one key of `-` and `_`, which `allow_headers` may let through. Believed is one name only.
                name = name.replace(b"_", b"-")
                if name in self.fates or name.startswith(b"x-forwarded-"):
                    fate = REMOVED
            if fate is None or fate == KEPT_IF_TRUSTED and trusted:
                if field.known >= 0:
                    known[field.known >> 6] |= <uint64_t>1 << (field.known & 63)
                head.field[left] = field[0]
                left += 1
        head.count = left
        head.known[0], head.known[1] = known[0], known[1]
        return 0

    cdef str given_id(self, Head head):
        """The ID in a request, whoever has given it; None: none, more than one, or one that cannot be."""
        cdef Field* found = next_of(head, self.id_index, self.id_name, NULL)
        cdef const unsigned char* value
        cdef uint32_t i
        if found == NULL or next_of(head, self.id_index, self.id_name, found) != NULL:
            return None
        if not 1 <= found.value_len <= LONGEST_ID:
            return None
        value = <const unsigned char*>head.base + found.value
        for i in range(found.value_len):
            if not ID[value[i]]:
                return None
        return head.text(found.value, found.value_len)

    cdef str believed_id(self, Head head, Stream stream):
        """The ID that a trusted peer has given a request, else None."""
        cdef str given = self.given_id(head)
        return given if given is not None and self.trusts(stream) else None

    cdef str id_of(self, Head head, Stream stream):
        """The ID of a request from its beginning: given, or made if each has one; else None.

        `head`: None if nothing, or not enough, is known of the request.
        """
        cdef str given = self.believed_id(head, stream) if head is not None else None
        return self.id_from(given)

    cdef str id_from(self, str given):
        """The ID of a request from its beginning: the one that is believed, or one that is made if each has one."""
        return new_id() if given is None and self.identifies else given


cdef Field* next_of(Head head, int known, bytes name, Field* last) noexcept:
    """The next field of that name behind `last`, from the first one if that is NULL; NULL: there is none.

    `known`: its index in KNOWN_NAMES, or -1: then `name` counts, in small letters.
    """
    cdef Field* field = head.field if last == NULL else last + 1
    cdef Field* end = head.field + head.count
    while field < end:
        if field.known == known and (known >= 0 or (
            field.name_len == <size_t>PyBytes_GET_SIZE(name) and same_name(
                <const unsigned char*>head.base + field.name, PyBytes_AS_STRING(name), field.name_len
            )
        )):
            return field
        field += 1
    return NULL


cdef Hops listed(Head head, int known):
    """The elements of all fields of that name."""
    cdef Hops hops = Hops.__new__(Hops)
    cdef Field* field
    cdef int i
    for i in range(head.count):
        field = &head.field[i]
        if field.known == known:
            hops.read_list(head.base, field.value, field.value_len)
    return hops


cdef bint same(const char* p, Span* value, bytes text) noexcept:
    return value.size == <uint32_t>len(text) and memcmp(p + value.at, <const char*>text, len(text)) == 0


cdef int choose(Head head, int known, int count, int client, Span* out) except -1:
    """What the fields of that name say of the client; `out` stays as it is if they say nothing.

    A proxy that appends to X-Forwarded-For may append here as well. Then the lists are equally long: `count` elements,
    of which one is the client's. Any other list must say one thing: which element is whose cannot be told.
    """
    cdef Hops hops = listed(head, known)
    cdef Span* first
    cdef Span* other
    cdef int i
    if hops.count == 0:
        return 0
    first = &hops.hop[0].node
    if hops.count == count:
        first = &hops.hop[client].node
    else:
        for i in range(1, hops.count):
            other = &hops.hop[i].node
            if other.size != first.size or memcmp(head.base + other.at, head.base + first.at, first.size) != 0:
                name = "-".join([word.capitalize() for word in KNOWN_NAMES[known].split("-")])
                raise RequestRefused(400, f"{name} is a list of different values, and not as long as X-Forwarded-For")
    out[0] = first[0]
    return 0


cdef int set_host(
    Origin origin, Head head, const char* host, uint32_t size, const char* port, uint32_t port_size
) except -1:
    """The host that a client has asked a proxy for, and the port, each as far as it is told; not both are empty.

    A port in the host counts more than one beside it.
    """
    cdef Authority authority
    cdef int number = -1, i
    cdef int usual = 443 if origin.scheme == "https" else 80
    if port_size:
        number = 0
        for i in range(<int>port_size):
            if not c"0" <= port[i] <= c"9" or i == 5:
                number = 65536
                break
            number = number * 10 + (port[i] - c"0")
        if not 0 < number <= 65535:
            raise RequestRefused(400, "X-Forwarded-Port is no port")
    if not size:
        host = head.base + head.host_at
        size = head.host_len
        if not size:
            return 0                        # HTTP/1.0 without a Host
    if not parse_authority(<const unsigned char*>host, size, &authority):
        raise RequestRefused(400, MALFORMED_HOST)
    origin.name = host[:authority.name_size].decode("latin-1")
    if authority.port >= 0:
        number = authority.port
    origin.port = usual if number < 0 else number
    origin.host = origin.name if origin.port == usual and authority.port < 0 else f"{origin.name}:{origin.port}"
    return 0
