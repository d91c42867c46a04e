"""What may lie between a stream and its socket: TLS. `transport` asks it, `tls` has the kinds there are."""

from greenhttp.green.stream cimport Stream, iovec


cdef class Layer:
    """Turns what a stream reads and writes into what its socket does. One connection's, made before its handshake.

    None of these waits. They raise OSError when the connection breaks, as the socket's own do.
    """

    cdef Py_ssize_t take(self, Stream stream, char* into, size_t size) except -2:
        """As the stream's `take`."""
        raise NotImplementedError

    cdef Py_ssize_t discard(self, Stream stream, size_t size) except -2:
        """As the stream's `discard`."""
        raise NotImplementedError

    cdef Py_ssize_t give(self, Stream stream, iovec* parts, int count) except -2:
        """As the stream's `give`; some of what was taken may be held back here until the system takes more."""
        raise NotImplementedError

    cdef bint settle(self, Stream stream, bint last) except -1:
        """Send what is held back; with `last`, our goodbye behind it. Whether all has left."""
        raise NotImplementedError

    cdef Py_ssize_t held_back(self) noexcept:
        """Bytes that are held back."""
        return 0

    cdef Handshake shake(self, Stream stream) except *:
        """Go on with the handshake as far as that is possible. Bytes that the stream has in its buffer come first.

        Raises TLSError if it fails; the peer has been told why, if it can be.
        """
        raise NotImplementedError

    cdef int part(self, Stream stream) except -1:
        """The connection is closed now: say goodbye if that takes no wait. Raises nothing that could prevent that."""
        if self.said or stream.failed:
            return 0
        try:
            self.settle(stream, True)
        except OSError:
            pass
        return 0
