"""A list of trusted peers, in a form that is compared with an address without making an object."""

from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from greenhttp.green.transport cimport SocketStream

import socket

from greenhttp.settings.peers import EVERYBODY, UNIX, parse_network


cdef extern from *:
    """
    #include <string.h>
    #include <arpa/inet.h>
    #include <netinet/in.h>
    #include <sys/socket.h>

    /* The interface that a peer with a link-local address came in by; 0: none is known. */
    static unsigned int greenhttp_zone(int fd) {
        struct sockaddr_in6 peer;
        socklen_t size = sizeof peer;
        memset(&peer, 0, sizeof peer);
        return getpeername(fd, (struct sockaddr*)&peer, &size) == 0 && peer.sin6_family == AF_INET6
            ? peer.sin6_scope_id : 0;
    }

    /* macOS tells no address of a TCP peer that was gone before it was accepted: it is nobody over a UNIX socket. */
    static int greenhttp_is_unix(int fd) {
        struct sockaddr_storage own;
        socklen_t size = sizeof own;
        return getsockname(fd, (struct sockaddr*)&own, &size) == 0 && own.ss_family == AF_UNIX;
    }

    /* The family of an address in text, 0 for none. An IPv4 address that is written as IPv6 is that IPv4 address. */
    static int greenhttp_address(const char* text, unsigned char* into) {
        if (inet_pton(AF_INET, text, into) == 1)
            return AF_INET;
        if (inet_pton(AF_INET6, text, into) != 1)
            return 0;
        if (!IN6_IS_ADDR_V4MAPPED((struct in6_addr*)into))
            return AF_INET6;
        memmove(into, into + 12, 4);
        return AF_INET;
    }
    """
    const int AF_INET
    const int AF_INET6
    unsigned int greenhttp_zone(int fd) noexcept
    bint greenhttp_is_unix(int fd) noexcept
    int greenhttp_address(const char* text, unsigned char* into) noexcept


cdef int read_address(const char* text, unsigned char* into) noexcept:
    """AF_INET or AF_INET6 and 4 or 16 bytes in `into`, which has room for 16; 0: the text is no address."""
    return greenhttp_address(text, into)


cdef class Peers:
    """Whom the operator has named.

    Arguments:
        texts: entries as settings.peers has them.

    `"10.0.0.1" in peers` looks an address up that is a text.

    Attributes:
        everybody: `*` is among them.
        local: `unix` is among them.
    """

    def __init__(self, texts):
        cdef Network* network
        self.everybody = EVERYBODY in texts
        self.local = UNIX in texts
        self.networks = <Network*>calloc(len(texts) + 1, sizeof(Network))
        if self.networks == NULL:
            raise MemoryError
        for text in texts:
            parsed = parse_network(text)
            if parsed is None:
                continue
            network = &self.networks[self.count]
            address, network.bits, zone = parsed
            memcpy(network.address, <const char*><bytes>address, len(address))
            network.family = AF_INET if len(address) == 4 else AF_INET6
            if zone:
                try:
                    network.zone = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
                except (OSError, OverflowError, ValueError):
                    continue                # an interface that this machine has not: nobody comes in by it
                if network.zone == 0:
                    continue                # no number of one; here it would be any
            self.count += 1

    def __dealloc__(self):
        free(self.networks)

    def __contains__(self, str address not None):
        cdef unsigned char packed[16]
        cdef int family = read_address(address.encode(), packed)
        return family != 0 and self.have(family, packed, 0)

    cdef bint have(self, int family, const unsigned char* address, unsigned int zone) noexcept:
        """Whether that is a trusted address. `zone`: the interface it came in by, 0 where that is not known."""
        return self.everybody or self.named(family, address, zone)

    cdef bint named(self, int family, const unsigned char* address, unsigned int zone) noexcept:
        """Whether an entry has that address. `*` has none: it is about who connects, not about what that writes."""
        cdef Network* network
        cdef int i, whole, rest
        for i in range(self.count):
            network = &self.networks[i]
            if network.family != family or network.zone and network.zone != zone:
                continue
            whole, rest = network.bits >> 3, network.bits & 7
            if memcmp(network.address, address, whole) != 0:
                continue
            if rest == 0 or (network.address[whole] ^ address[whole]) >> (8 - rest) == 0:
                return True
        return False

    cdef bint trust(self, SocketStream stream) noexcept:
        """Whether that connection's peer is one of them. Without an address it came over a UNIX socket."""
        cdef unsigned int zone = 0
        if stream.family == 0:
            return self.everybody or self.local and greenhttp_is_unix(stream.fd)
        if stream.proxied is None and stream.family == AF_INET6 and stream.address[0] == 0xFE \
                and stream.address[1] >> 6 == 2:            # a proxy's word for its client says no interface
            zone = greenhttp_zone(stream.fd)
        return self.have(stream.family, stream.address, zone)
