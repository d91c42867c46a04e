from greenhttp.green.deadline cimport flag
from greenhttp.green.stream cimport Stream, iovec

cdef extern from *:
    """
    #include <errno.h>
    #include <sys/socket.h>
    static inline void greenhttp_errno_set(int number) { errno = number; }
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0
    #endif
    #ifndef MSG_MORE
    #define MSG_MORE 0
    #endif
    """
    ssize_t c_recv "recv"(int fd, void* into, size_t size, int flags) noexcept
    ssize_t c_send "send"(int fd, const void* data, size_t size, int flags) noexcept
    int MSG_NOSIGNAL, MSG_MORE
    void errno_set "greenhttp_errno_set"(int number) noexcept

cdef enum:
    RECORD = 16384              # plaintext of a record at most (RFC 8446 5.1)
    MOST_GIVEN = 49152          # plaintext encrypted before it is sent
    MOST_TAKEN = 262144         # received for one `take`: a flood of records without content must come to an end
    MOST_REPLIES = 65536        # what OpenSSL itself answers meanwhile, and the peer does not read

cdef enum Ending:               # Layer.over: how the input has ended
    OPEN = 0
    PARTED = 1                  # the peer has said goodbye
    CUT = 2                     # it has not: the connection ended, and bytes may be missing
    BROKEN = 3                  # what it sent cannot be decrypted

cdef enum Handshake:
    SHAKING = 0                 # more has to come
    SHAKEN = 1

cdef class Layer:
    cdef int fd                 # what the stream's socket is
    cdef flag unfinished        # bytes of the input are held here, of which the system will say nothing
    cdef flag stuck             # output waits for the system to take more
    cdef flag said              # our goodbye is said, or cannot be
    cdef flag over              # an Ending

    cdef Py_ssize_t take(self, Stream stream, char* into, size_t size) except -2
    cdef Py_ssize_t discard(self, Stream stream, size_t size) except -2
    cdef Py_ssize_t give(self, Stream stream, iovec* parts, int count) except -2
    cdef bint settle(self, Stream stream, bint last) except -1
    cdef Py_ssize_t held_back(self) noexcept
    cdef Handshake shake(self, Stream stream) except *
    cdef int part(self, Stream stream) except -1
