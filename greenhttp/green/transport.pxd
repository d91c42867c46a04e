from libc.stdint cimport int64_t

from greenhttp.green.deadline cimport flag
from greenhttp.green.layer cimport Layer
from greenhttp.green.stream cimport FilePart, Stream, iovec

cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <netinet/in.h>
    #include <sys/socket.h>
    #include <sys/types.h>
    #include <sys/uio.h>
    #include <sys/un.h>
    #include <unistd.h>
    """
    cdef struct sockaddr:
        pass
    cdef struct sockaddr_storage:
        unsigned short ss_family
    ctypedef unsigned int socklen_t

cdef class SocketStream(Stream):
    cdef object watcher             # for reading: made when first needed, then kept until the end
    cdef readonly Layer layer       # TLS between this and the socket; None: plain
    cdef readonly int fd
    cdef unsigned char watching     # UNWATCHED, WATCHING or STARTING
    cdef unsigned char family       # AF_INET, AF_INET6, or 0: no address
    cdef unsigned short port
    cdef unsigned char address[16]

    cdef Py_ssize_t give_read(self, FilePart part, size_t size) except -2
    cdef int encrypt(self, object context, bint server, object name) except -1
    cdef void set_peer(self, sockaddr_storage* peer) noexcept
    cdef bint gone(self) noexcept
    cdef bint parted(self) except -1
    cdef int look_again(self) except -1
    cdef bint heard(self) noexcept

cdef class MemoryStream(Stream):
    cdef readonly bytearray outgoing
    cdef readonly bint reset
    cdef readonly bint hung_up
    cdef readonly int gives
    cdef list incoming
    cdef bytes arrived
    cdef Py_ssize_t arrived_at
    cdef bint keep_open
    cdef bint arriving
    cdef bint draining
    cdef bint ended
    cdef Py_ssize_t window
    cdef Py_ssize_t room

cdef SocketStream adopt(int fd, sockaddr_storage* peer)
