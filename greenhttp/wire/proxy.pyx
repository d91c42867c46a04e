"""The PROXY protocol, versions 1 and 2: what a proxy says of its client before the client's own first byte.

`parse` reads a header from the beginning of a connection; the specification is proxy-protocol.txt of HAProxy. A header
that is not whole is read anew from its first byte when more has come: it is short, and comes in one piece.

Stricter than the specification in three points: no leading zeros in ports, each TLV that is known here comes once, and
texts are printable. Where the addresses cannot be used (UNKNOWN, LOCAL, UNSPEC, UNIX, datagrams) the header is good,
and the peer stays who it is.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from greenhttp.wire.host cimport is_ipv4, is_ipv6

from greenhttp.errors import WireError


cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <netinet/in.h>
    #include <stdint.h>
    #include <string.h>
    #include <sys/socket.h>

    static uint32_t greenhttp_crc_table[256];

    /* CRC-32C (Castagnoli), RFC 4960 appendix B. */
    static void greenhttp_crc_fill(void) {
        uint32_t i, j, c;
        for (i = 0; i < 256; i++) {
            for (c = i, j = 0; j < 8; j++)
                c = c & 1 ? (c >> 1) ^ 0x82F63B78u : c >> 1;
            greenhttp_crc_table[i] = c;
        }
    }

    static uint32_t greenhttp_crc(uint32_t c, const unsigned char* p, size_t size) {
        while (size--)
            c = greenhttp_crc_table[(c ^ *p++) & 255] ^ (c >> 8);
        return c;
    }

    static int greenhttp_packed(int family, const char* text, unsigned char* into) {
        return inet_pton(family, text, into) == 1;
    }

    /* An IPv4 address that is written as IPv6 is that IPv4 address. Room for 46 bytes. */
    static void greenhttp_shown(int family, const unsigned char* address, char* into) {
        if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr*)address)) {
            family = AF_INET;
            address += 12;
        }
        inet_ntop(family, address, into, 46);
    }
    """
    const int AF_INET
    const int AF_INET6
    void greenhttp_crc_fill() noexcept
    uint32_t greenhttp_crc(uint32_t c, const unsigned char* p, size_t size) noexcept
    bint greenhttp_packed(int family, const char* text, unsigned char* into) noexcept
    void greenhttp_shown(int family, const unsigned char* address, char* into) noexcept

LONGEST = 4096              # bytes of a header of version 2, TLVs included; proxies send some hundred

cdef enum:
    MOST_V1 = 107           # bytes, of the specification: its line end included
    MOST_V2 = 4096
    MOST_IPV4 = 15          # characters of an address; with two of IPv6 a line has 104 bytes at most
    MOST_IPV6 = 39
    FIXED = 16              # bytes of version 2 before addresses and TLVs
    UNIX_ADDRESSES = 216

    # TLVs, section 2.2
    ALPN = 0x01
    AUTHORITY = 0x02
    CRC32C = 0x03
    NOOP = 0x04
    UNIQUE_ID = 0x05
    SSL = 0x20
    SSL_VERSION = 0x21
    SSL_CN = 0x22
    SSL_CIPHER = 0x23
    SSL_SIGNATURE = 0x24
    SSL_KEY = 0x25
    NETNS = 0x30

    MOST_UNIQUE_ID = 128    # bytes
    MOST_TEXT = 255

    CLIENT_TLS = 1          # bits of an SSL TLV's `client`
    CLIENT_CERTIFICATE = 2
    CLIENT_CERTIFICATE_IN_SESSION = 4

cdef bytes START_V1 = b"PROXY "
cdef bytes START_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
cdef bytes TCP = b"TCP"
cdef bytes UNKNOWN = b"UNKNOWN"

greenhttp_crc_fill()


cdef class ProxiedTLS:
    """What a proxy says of the TLS that its client speaks with it (PP2_TYPE_SSL).

    Attributes:
        version, cipher: as the proxy names them, `TLSv1.3`; None where it does not.
        common_name: CN of the client's certificate.
        signature, key: algorithms of the proxy's own certificate, `SHA256`, `RSA2048`.
        client: the bits PP2_CLIENT_SSL (1), PP2_CLIENT_CERT_CONN (2), PP2_CLIENT_CERT_SESS (4).
        verify: 0 if the client has shown a certificate that the proxy has verified.
    """

    def __init__(self):
        raise TypeError("made by parse() only")

    @property
    def verified(self):
        """Whether the client has shown a certificate, now or earlier in its TLS session, and the proxy verified it."""
        return self.verify == 0 and bool(self.client & (CLIENT_CERTIFICATE | CLIENT_CERTIFICATE_IN_SESSION))

    def __repr__(self):
        return f"<ProxiedTLS {self.version} {self.cipher}>"


cdef class Proxied:
    """A PROXY header: what the proxy in front says of the connection that it forwards.

    Attributes:
        size: bytes of the header.
        version: 1 or 2.
        local: the proxy speaks for itself (LOCAL), a health check, say.
        authority: the host name that the client has asked for in TLS (SNI), or None.
        unique_id: bytes by which the proxy names the connection, or None.
        alpn: the protocol agreed upon in TLS, b"http/1.1", say; or None.
        netns: name of the network namespace, or None.
        tls: a ProxiedTLS, or None if the client does not speak TLS with the proxy, or it does not say.
        tlvs: (type, bytes) of each other TLV, in order.
    """

    def __init__(self):
        raise TypeError("made by parse() only")

    cdef object end(self, int index):
        cdef char text[64]
        if self.family == 0:
            return None
        greenhttp_shown(self.family, self.addresses + index * (4 if self.family == AF_INET else 16), text)
        return text.decode("ascii"), self.ports[index]

    @property
    def source(self):
        """(host, port) of the client; None: the proxy does not say, or the connection is its own."""
        return self.end(0)

    @property
    def destination(self):
        """(host, port) that the client has connected to; None as for `source`."""
        return self.end(1)

    @property
    def protocol(self):
        """`TCP4` or `TCP6`; without a source `LOCAL`, `UNSPEC` (version 2) or `UNKNOWN` (version 1)."""
        if self.local:
            return "LOCAL"
        if self.family == 0:
            return "UNKNOWN" if self.version == 1 else "UNSPEC"
        return "TCP4" if self.family == AF_INET else "TCP6"

    def __repr__(self):
        return f"<Proxied v{self.version} {self.protocol} {self.source}>"


cdef object broken(str why):
    return WireError(400, why)


cdef Proxied new_proxied(int version):
    cdef Proxied made = Proxied.__new__(Proxied)
    made.version = version
    made.tlvs = ()
    return made


cdef inline Py_ssize_t agreed(const unsigned char* p, Py_ssize_t size, bytes wanted) noexcept:
    """How many bytes at the beginning of both are the same."""
    cdef const unsigned char* q = wanted
    cdef Py_ssize_t i = 0
    while i < size and i < len(wanted) and p[i] == q[i]:
        i += 1
    return i


def parse(bytes data not None, bint v1=True, bint v2=True):
    """The header that `data`, the first bytes of a connection, begins with.

    Arguments:
        v1, v2: the versions that are expected.

    Returns a Proxied, whose `size` says where the client's own bytes begin, or None while the header is not whole.
    Raises WireError at the first byte with which it can be none.
    """
    cdef const unsigned char* p = data
    cdef Py_ssize_t size = len(data), same
    if size == 0:
        return None
    if v1 and p[0] == c"P":
        same = agreed(p, size, START_V1)
        if same == len(START_V1):
            return line(p, size)
    elif v2 and p[0] == c"\r":
        same = agreed(p, size, START_V2)
        if same == len(START_V2):
            return block(p, size)
    else:
        same = 0
    if same == size:
        return None
    raise broken("it is no PROXY header")


# Version 1 ------------------------------------------------------------------------------------------------------------


cdef Proxied line(const unsigned char* p, Py_ssize_t size):
    """`PROXY TCP4 source destination port port` and a line end, section 2.1. `p` begins with PROXY and a space."""
    cdef Proxied made = new_proxied(1)
    cdef Py_ssize_t at = len(START_V1), n
    cdef int i
    if size == at:
        return None
    if p[at] == c"U":
        n = agreed(p + at, size - at, UNKNOWN)
        at += n
        if at == size:
            return None
        if n < len(UNKNOWN) or p[at] != c" " and p[at] != c"\r":
            raise broken("its protocol is none of TCP4, TCP6 and UNKNOWN")
        while at < size and p[at] != c"\r":
            if p[at] == c"\n":
                raise broken("its line end is no CRLF")
            at += 1
            if at > MOST_V1 - 2:
                raise broken(f"its line is longer than {MOST_V1} bytes")
        return ended(made, p, size, at)
    n = agreed(p + at, size - at, TCP)
    at += n
    if at == size:
        return None
    if n < len(TCP) or p[at] != c"4" and p[at] != c"6":
        raise broken("its protocol is none of TCP4, TCP6 and UNKNOWN")
    made.family = AF_INET if p[at] == c"4" else AF_INET6
    at += 1
    if at == size:
        return None
    if p[at] != c" ":
        raise broken("its protocol is none of TCP4, TCP6 and UNKNOWN")
    at += 1
    for i in range(2):
        n = address(made, i, p + at, size - at)
        if n < 0:
            return None
        at += n + 1
    for i in range(2):
        n = port(made, i, p + at, size - at, c" " if i == 0 else c"\r")
        if n < 0:
            return None
        at += n + 1
    return ended(made, p, size, at - 1)


cdef Proxied ended(Proxied made, const unsigned char* p, Py_ssize_t size, Py_ssize_t at):
    """The line ends at `at`, with a CR if it is there."""
    if at + 1 < size:
        if p[at + 1] != c"\n":
            raise broken("its line end is no CRLF")
        made.size = at + 2
        return made
    return None


cdef Py_ssize_t address(Proxied made, int index, const unsigned char* p, Py_ssize_t size) except -2:
    """Bytes of the address at `p`, which a space follows; -1: not all of it is there."""
    cdef bint four = made.family == AF_INET
    cdef Py_ssize_t n = 0, most = MOST_IPV4 if four else MOST_IPV6
    cdef char text[48]
    cdef unsigned char c
    cdef int value = -1, dots = 0           # of IPv4: the number that is being read, -1 before its first digit
    while n < size and n <= most:
        c = p[n]
        if four:
            if c == c"." and value >= 0 and dots < 3:
                value = -1
                dots += 1
            elif c"0" <= c <= c"9" and value != 0:
                value = max(value, 0) * 10 + (c - c"0")
                if value > 255:
                    break
            else:
                break
        elif not (c"0" <= c <= c"9" or c == c"." or c == c":" or c"a" <= c | 0x20 <= c"f"):
            break
        n += 1
    if n == size and n <= most:
        return -1
    if n > most or p[n] != c" " or not (is_ipv4(p, n) if four else is_ipv6(p, n)):
        raise broken(f"it has an address that is no {'IPv4' if four else 'IPv6'} address")
    memcpy(text, p, n)
    text[n] = 0
    if not greenhttp_packed(made.family, text, made.addresses + index * (4 if four else 16)):
        raise broken(f"it has an address that is no {'IPv4' if four else 'IPv6'} address")
    return n


cdef Py_ssize_t port(Proxied made, int index, const unsigned char* p, Py_ssize_t size, unsigned char end) except -2:
    """Bytes of the port at `p`, which `end` follows; -1: not all of it is there."""
    cdef Py_ssize_t n = 0
    cdef unsigned int value = 0
    while n < size and n < 5 and c"0" <= p[n] <= c"9" and not (n == 1 and p[0] == c"0"):
        value = value * 10 + (p[n] - c"0")
        n += 1
    if value > 65535 or n < size and (p[n] != end or n == 0):
        raise broken("it has a port that is no number from 0 to 65535")
    if n == size:
        return -1
    made.ports[index] = <unsigned short>value
    return n


# Version 2 ------------------------------------------------------------------------------------------------------------


cdef inline unsigned int two(const unsigned char* p) noexcept:
    return <unsigned int>p[0] << 8 | p[1]


cdef inline unsigned int four(const unsigned char* p) noexcept:
    return two(p) << 16 | two(p + 2)


cdef Proxied block(const unsigned char* p, Py_ssize_t size):
    """Sixteen bytes, addresses and TLVs, section 2.2. `p` begins with the signature."""
    cdef Proxied made
    cdef Py_ssize_t at = len(START_V2), whole, needed = 0
    cdef bint local
    cdef int family = 0, kind
    if size == at:
        return None
    if p[at] >> 4 != 2 or p[at] & 15 > 1:
        raise broken("its version and command are not known")
    local = p[at] & 15 == 0
    at += 1
    if size == at:
        return None
    kind = p[at]
    if not local:                           # else it is not looked at, nor is what follows
        if kind not in (0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32):
            raise broken("its address family and transport are not known")
        needed = (0, 12, 36, UNIX_ADDRESSES)[kind >> 4]
        if kind == 0x11:
            family = AF_INET
        elif kind == 0x21:
            family = AF_INET6
    at += 1
    if size < FIXED:
        # A length that is too large is seen by its first byte.
        if size == FIXED - 1 and FIXED + (<unsigned int>p[at] << 8) > MOST_V2:
            raise broken(f"it is larger than {MOST_V2} bytes")
        return None
    whole = FIXED + two(p + at)
    if whole > MOST_V2:
        raise broken(f"it is larger than {MOST_V2} bytes")
    if whole < FIXED + needed:
        raise broken("it is too short for its addresses")
    if size < whole:
        return None
    made = new_proxied(2)
    made.size = whole
    made.local = local
    made.family = family
    if family == AF_INET:
        memcpy(made.addresses, p + FIXED, 8)
        made.ports[0], made.ports[1] = two(p + FIXED + 8), two(p + FIXED + 10)
    elif family == AF_INET6:
        memcpy(made.addresses, p + FIXED, 32)
        made.ports[0], made.ports[1] = two(p + FIXED + 32), two(p + FIXED + 34)
    if needed:                              # without addresses of a known size, nobody knows where TLVs begin
        tlvs(made, p, FIXED + needed, whole)
    return made


cdef int tlvs(Proxied made, const unsigned char* p, Py_ssize_t at, Py_ssize_t end) except -1:
    cdef Py_ssize_t n
    cdef int kind
    cdef list others = None
    cdef uint64_t seen = 0
    while at < end:
        if end - at < 3:
            raise broken("a TLV is cut short")
        kind, n = p[at], two(p + at + 1)
        at += 3
        if n > end - at:
            raise broken("a TLV is longer than the header")
        if kind == NOOP:
            pass
        elif kind == ALPN or kind == AUTHORITY or kind == CRC32C or kind == UNIQUE_ID or kind == SSL or kind == NETNS:
            if seen >> kind & 1:
                raise broken(f"the TLV 0x{kind:02x} comes twice")
            seen |= <uint64_t>1 << kind
            if kind == ALPN:
                made.alpn = p[at:at + n]
            elif kind == AUTHORITY:
                made.authority = text(p + at, n)
            elif kind == CRC32C:
                if n != 4 or not checked(p, at, end):
                    raise broken("its checksum is wrong")
            elif kind == UNIQUE_ID:
                if n > MOST_UNIQUE_ID:
                    raise broken(f"its unique ID is longer than {MOST_UNIQUE_ID} bytes")
                made.unique_id = p[at:at + n]
            elif kind == SSL:
                made.tls = tls(p + at, n)
            else:
                made.netns = text(p + at, n)
        else:
            if others is None:
                others = []
            others.append((kind, p[at:at + n]))
        at += n
    if others is not None:
        made.tlvs = tuple(others)
    return 0


cdef bint checked(const unsigned char* p, Py_ssize_t at, Py_ssize_t end) noexcept:
    """Whether the checksum at `at` is that of the header, in which it counts as four zeros."""
    cdef uint32_t crc = greenhttp_crc(0xFFFFFFFF, p, at)
    crc = greenhttp_crc(crc, <const unsigned char*>b"\0\0\0\0", 4)
    crc = greenhttp_crc(crc, p + at + 4, end - at - 4)
    return crc ^ <uint32_t>0xFFFFFFFF == four(p + at)


cdef str text(const unsigned char* p, Py_ssize_t size):
    cdef Py_ssize_t i
    if size > MOST_TEXT:
        raise broken(f"a TLV has a text of more than {MOST_TEXT} bytes")
    for i in range(size):
        if p[i] < 0x20 or p[i] == 0x7F:
            raise broken("a TLV has a text with control characters")
    try:
        return p[:size].decode("utf-8")
    except UnicodeDecodeError:
        raise broken("a TLV has a text that is not UTF-8") from None


cdef ProxiedTLS tls(const unsigned char* p, Py_ssize_t size):
    """The value of an SSL TLV; None: the client does not speak TLS."""
    cdef ProxiedTLS made = ProxiedTLS.__new__(ProxiedTLS)
    cdef Py_ssize_t at = 5, n
    cdef int kind, seen = 0
    cdef str value
    if size < at:
        raise broken("its TLV about TLS is cut short")
    made.client = p[0]
    made.verify = four(p + 1)
    while at < size:
        if size - at < 3 or two(p + at + 1) > size - at - 3:
            raise broken("its TLV about TLS is cut short")
        kind, n = p[at], two(p + at + 1)
        at += 3
        if SSL_VERSION <= kind <= SSL_KEY:      # others, a whole certificate among them, are passed over
            if seen >> (kind - SSL_VERSION) & 1:
                raise broken(f"the TLV 0x{kind:02x} comes twice")
            seen |= 1 << (kind - SSL_VERSION)
            value = text(p + at, n)
            if kind == SSL_VERSION:
                made.version = value
            elif kind == SSL_CN:
                made.common_name = value
            elif kind == SSL_CIPHER:
                made.cipher = value
            elif kind == SSL_SIGNATURE:
                made.signature = value
            else:
                made.key = value
        at += n
    return made if made.client & CLIENT_TLS else None
