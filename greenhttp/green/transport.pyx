"""What lies below a Stream: a socket, or memory.

A socket has one watcher for reading, started when its stream is first put aside and then left running: a keep-alive
request costs no `epoll_ctl`. When it fires and nobody is interested - the handler is busy elsewhere - it is stopped
until somebody is. A watcher for writing exists only while output waits. Neither keeps the loop alive, except while a
green thread waits for it: gevent ends a loop in which nothing is awaited, and parked connections are not.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy

from greenhttp.green.layer cimport CUT, PARTED, SHAKING, Layer
from greenhttp.green.stream cimport FilePart, Stream, iovec
from greenhttp.green.tls cimport begun
from greenhttp.green.waiting cimport Wait

import _socket
import os
import socket as constants
from contextlib import suppress

from gevent import get_hub

from greenhttp.errors import StreamClosed, StreamTimeout, StreamTruncated, TLSError
from greenhttp.green.tls import certificates_of, for_client
from greenhttp.tls.agreed import agreed


cdef extern from *:
    """
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0              /* Python ignores SIGPIPE, so nothing is lost where the flag is missing */
    #endif
    #ifndef MSG_MORE
    #define MSG_MORE 0
    #endif
    #include <poll.h>
    #if defined(__linux__)
    #include <linux/sockios.h>
    #include <sys/ioctl.h>
    #include <sys/sendfile.h>
    #endif

    /* With `last`, the bytes wait for the close or shutdown that follows at once, and share its packet. */
    static ssize_t greenhttp_send(int fd, struct iovec* parts, int count, int last) {
        struct msghdr message = {0};
        int flags = MSG_NOSIGNAL | (last ? MSG_MORE : 0);
        if (count == 1)
            return send(fd, parts[0].iov_base, parts[0].iov_len, flags);
        message.msg_iov = parts;
        message.msg_iovlen = count;
        return sendmsg(fd, &message, flags);
    }

    /* 0: the file has ended. */
    static ssize_t greenhttp_sendfile(int fd, int file, int64_t offset, size_t size) {
    #if defined(__linux__)
        off_t at = (off_t)offset;
        return sendfile(fd, file, &at, size);
    #elif defined(__APPLE__)
        off_t sent = (off_t)size;
        int result = sendfile(file, fd, (off_t)offset, &sent, NULL, 0);
        return result < 0 && sent == 0 ? -1 : (ssize_t)sent;
    #else
        errno = ENOSYS;
        return -1;
    #endif
    }

    /* Sent and not acknowledged, or not sent yet. -1 where the system does not say. */
    static int greenhttp_backlog(int fd) {
        int size = 0;
    #if defined(__linux__)
        if (ioctl(fd, SIOCOUTQ, &size) < 0)
            return -1;
    #elif defined(SO_NWRITE)
        socklen_t room = sizeof size;
        if (getsockopt(fd, SOL_SOCKET, SO_NWRITE, &size, &room) < 0)
            return -1;
    #else
        size = -1;
    #endif
        return size;
    }

    /* macOS looks at nothing when it is asked for nothing; asked for writing, it says POLLHUP once that cannot be. */
    #if defined(__APPLE__)
    #define GREENHTTP_LOOK POLLOUT
    #else
    #define GREENHTTP_LOOK 0
    #endif

    static int greenhttp_gone(int fd) {
        struct pollfd look = {fd, GREENHTTP_LOOK, 0};
        return poll(&look, 1, 0) == 1 && (look.revents & (POLLERR | POLLHUP | POLLNVAL));
    }

    static int greenhttp_heard(int fd) {
        struct pollfd look = {fd, POLLIN, 0};
        return poll(&look, 1, 0) != 0;
    }

    /* The peer has finished sending and nothing of that is left, or the connection is broken. Takes no byte. */
    static int greenhttp_ended(int fd) {
        char byte;
        ssize_t n;
        do {
            n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        } while (n < 0 && errno == EINTR);
        return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
    }

    /* Where bytes go that nobody wants, unless the kernel throws them away where they lie: Linux does, those of TCP. */
    static char greenhttp_bin[262144];
    #if defined(__linux__)
    #define GREENHTTP_THROW_AWAY MSG_TRUNC
    #else
    #define GREENHTTP_THROW_AWAY 0
    #endif

    /* Take a little of what has come: a goodbye of the peer's, and whatever is as small. */
    static void greenhttp_clear(int fd) {
        char bin[4096];
        ssize_t n, left = sizeof bin;
        do {
            n = recv(fd, bin, left, MSG_DONTWAIT);
            left -= n > 0 ? n : 0;
        } while (left > 0 && (n > 0 || (n < 0 && errno == EINTR)));
    }

    static void greenhttp_reset_on_close(int fd) {
        struct linger at_once = {1, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }

    /* The process at the other end of a UNIX socket; 0 where the system does not say. */
    static int greenhttp_peer_process(int fd) {
    #if defined(__linux__)
        struct {int pid, uid, gid;} who = {0, 0, 0};        /* struct ucred, which needs _GNU_SOURCE */
        socklen_t size = sizeof who;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0)
            return who.pid;
    #endif
        return 0;
    }

    static int greenhttp_peer(struct sockaddr_storage* peer, unsigned char* address, unsigned short* port) {
        if (peer->ss_family == AF_INET) {
            struct sockaddr_in* v4 = (struct sockaddr_in*)peer;
            memcpy(address, &v4->sin_addr, 4);
            *port = ntohs(v4->sin_port);
            return AF_INET;
        }
        if (peer->ss_family == AF_INET6) {
            struct sockaddr_in6* v6 = (struct sockaddr_in6*)peer;
            if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {     /* of a listener that takes both: an IPv4 peer */
                memcpy(address, (unsigned char*)&v6->sin6_addr + 12, 4);
                *port = ntohs(v6->sin6_port);
                return AF_INET;
            }
            memcpy(address, &v6->sin6_addr, 16);
            *port = ntohs(v6->sin6_port);
            return AF_INET6;
        }
        return 0;
    }
    """
    ssize_t greenhttp_send(int fd, iovec* parts, int count, int last) noexcept
    ssize_t greenhttp_sendfile(int fd, int file, int64_t offset, size_t size) noexcept
    int greenhttp_backlog(int fd) noexcept
    int greenhttp_gone(int fd) noexcept
    int greenhttp_ended(int fd) noexcept
    int greenhttp_heard(int fd) noexcept
    char greenhttp_bin[262144]
    int GREENHTTP_THROW_AWAY
    void greenhttp_clear(int fd) noexcept
    void greenhttp_reset_on_close(int fd) noexcept
    int greenhttp_peer_process(int fd) noexcept
    int greenhttp_peer(sockaddr_storage* peer, unsigned char* address, unsigned short* port) noexcept
    ssize_t recv(int fd, void* into, size_t size, int flags) noexcept
    ssize_t pread(int fd, void* into, size_t size, int64_t offset) noexcept
    int c_shutdown "shutdown"(int fd, int how) noexcept
    int c_close "close"(int fd) noexcept
    int SHUT_WR
    int ENOSYS, EINVAL, ENOTCONN, ENOTSUP, EOPNOTSUPP

cdef enum:
    READ = 1
    WRITE = 2
    SPARE_WATCHERS = 1024
    READ_AT_ONCE = 49152        # bytes of a file that goes through a layer

cdef enum:                      # SocketStream.watching
    UNWATCHED = 0
    WATCHING = 1
    STARTING = 2                # in the middle of `start`, in which foreign code may run, and close the stream

# Making a watcher costs an object and, since gevent checks descriptors, a system call; a stopped one serves the next
# connection. Only libev's can be given another descriptor.
cdef list spare = []
cdef object spare_loop = None


cdef object new_watcher(object loop, int fd):
    global spare, spare_loop
    if loop is spare_loop:
        if spare:
            watcher = spare.pop()
            watcher.fd = fd
            return watcher
    elif type(loop).__module__ == "gevent.libev.corecext":
        spare = []
        spare_loop = loop
    return loop.io(fd, READ, ref=False)


cdef SocketStream adopt(int fd, sockaddr_storage* peer):
    """A stream over a connected, non-blocking descriptor, which it closes in the end."""
    cdef SocketStream stream = SocketStream.__new__(SocketStream)
    stream.fd = fd
    stream.accepted = True
    if peer != NULL:
        stream.set_peer(peer)
    return stream


cdef inline Py_ssize_t received(SocketStream stream, char* into, size_t size, int flags) except -2:
    """What recv(2) gives; -1 when nothing is there."""
    cdef ssize_t n
    while True:
        n = recv(stream.fd, into, size, flags)
        if n >= 0:
            return n
        if errno == EAGAIN:
            return -1
        if errno != EINTR:
            stream.failed = True
            PyErr_SetFromErrno(OSError)             # raises


cdef class SocketStream(Stream):
    """SocketStream(sock)\n--\n
    A stream over a connected TCP or UNIX socket; see Stream for what it does.

    Arguments:
        sock: a connected socket object. The stream takes its descriptor over (the object is detached) and makes it
            non-blocking.
    """

    def __cinit__(self):
        self.fd = -1

    def __init__(self, sock=None):
        if sock is None:
            raise TypeError("a SocketStream needs a connected socket; use connect() to make one")
        try:
            name = sock.getpeername()
        except OSError:
            name = None
        family = sock.family
        self.fd = sock.detach()
        os.set_blocking(self.fd, False)
        if isinstance(name, tuple):
            packed = constants.inet_pton(family, name[0].partition("%")[0])
            memcpy(self.address, PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))
            self.family = family
            self.port = name[1]

    def __dealloc__(self):
        if self.watcher is not None:
            # Dropped, not closed. On libuv whoever gets this descriptor next would be given what is left of the
            # watcher, and wait in a loop that takes nobody to be waiting.
            self.watcher.close()
        if self.fd >= 0:
            c_close(self.fd)
            self.fd = -1

    def __call__(self):
        # The loop calls the stream itself: a bound method would cost 64 bytes for every idle connection.
        if not self.readable() and self.watching == WATCHING:
            self.watching = UNWATCHED
            self.watcher.stop()

    def _on_writable(self):
        self.writable()

    def fileno(self):
        """The descriptor; -1 once closed."""
        return self.fd

    @property
    def peer(self):
        """(host, port) of the other end, or "" over a UNIX socket. Costs no system call."""
        if self.family == 0:
            return ""
        size = 4 if self.family == constants.AF_INET else 16
        return constants.inet_ntop(self.family, PyBytes_FromStringAndSize(<char*>self.address, size)), self.port

    cdef str who(self):
        cdef int process
        cdef object peer
        if self.family == 0:
            process = greenhttp_peer_process(self.fd)       # it has no address
            return f"a UNIX peer (process {process})" if process > 0 else "a UNIX peer"
        peer = self.peer
        return f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"

    cdef void set_peer(self, sockaddr_storage* peer) noexcept:
        self.family = <unsigned char>greenhttp_peer(peer, self.address, &self.port)

    # Encrypted --------------------------------------------------------------------------------------------------------

    @property
    def tls(self):
        return None if self.layer is None else agreed(self.layer)

    cdef int ending(self) except -1:
        if self.layer is not None and self.layer.over == CUT:
            raise StreamTruncated("the connection ended without TLS's close_notify: bytes may be missing at its end")
        return 0

    def start_tls(self, context, *, server_side=None, server_name=None, timeout=None):
        cdef uint32_t mine = self.tenure
        cdef bint whole = False, reset = True
        if self.layer is not None:
            raise RuntimeError("the stream is encrypted already")
        if server_side is None:
            server_side = self.accepted
        context = certificates_of(context) if server_side else for_client(context, server_name)
        self.begin_read(timeout)                # nobody else reads,
        self.begin_write(timeout)               # or waits with what he writes
        self.flush_all()
        try:
            self.encrypt(context, server_side, server_name)
            whole = True
        except TLSError:
            reset = False                       # so that the peer gets to know why
            raise
        finally:
            if not whole and self.tenure == mine and not self.closed:
                if not reset:
                    self.skip_input()
                self.finish(reset)
                self.tell_job()

    cdef int encrypt(self, object context, bint server, object name) except -1:
        """Shake hands, waiting for the peer. Whoever else uses the stream meanwhile must not get between."""
        cdef uint32_t mine = self.tenure
        cdef object running = self.current()
        cdef Layer layer = begun(context, self.fd, server, name)
        cdef Wait wait = self.waiting()
        if self.closed or self.tenure != mine:
            raise StreamClosed("the stream is closed")
        if wait.reads or wait.writes or self.layer is not None or self.pending():
            raise TLSError("another green thread has used the stream meanwhile")
        if self.in_end > self.in_pos:
            raise TLSError("the peer has sent more than it may before the handshake")
        # From here on others that read or write are told that somebody does already; what is small enough not to wait
        # stays in the output until the handshake is over.
        self.layer = layer
        wait.reads = wait.writes = True
        try:
            while layer.shake(self) == SHAKING:
                self.suspend(wait, running, layer.stuck, mine)
        finally:
            wait.reads = wait.writes = False
            self.hold()
        if self.pending():
            self._push()                        # tickets, for one
        return 0

    cdef bint gone(self) noexcept:
        """Whether the connection is known to be dead: reset, or closed in both directions. A FIN alone is not."""
        return self.fd < 0 or greenhttp_gone(self.fd)

    cdef bint heard(self) noexcept:
        """Whether something has come, or the end, that was not taken."""
        return greenhttp_heard(self.fd)

    cdef bint left(self) except -1:
        # Two questions: bytes that came before a reset can still be read, and hide it from the second.
        return self.lost or self.gone() or self.in_end == self.in_pos and (
            self.at_end or (greenhttp_ended(self.fd) if self.layer is None else self.parted())
        )

    cdef bint parted(self) except -1:
        """The same over TLS, where a goodbye lies before the end, and what it is shows when it is decrypted: that is
        done here, as far as there is room in a buffer of which nobody has read anything."""
        cdef Wait wait = self.wait
        if self.pinned or wait is not None and wait.reads:
            return False                        # whoever reads meets the end
        if not self.layer.unfinished and not self.heard():
            return False
        try:
            self.fill_now()
        except OSError:
            return True
        self.pack()                             # content came: it may wait for long
        return self.at_end

    cdef Py_ssize_t take(self, char* into, size_t size) except -2:
        if self.layer is not None:
            return self.layer.take(self, into, size)
        return received(self, into, size, 0)

    cdef Py_ssize_t discard(self, size_t size) except -2:
        if self.layer is not None:
            if not self.layer.said:
                return self.layer.discard(self, size)
            self.layer.unfinished = False                       # once it is, nothing is decrypted for nobody
        return received(
            self, greenhttp_bin, min(size, sizeof(greenhttp_bin)), GREENHTTP_THROW_AWAY if self.family != 0 else 0
        )

    cdef Py_ssize_t give(self, iovec* parts, int count) except -2:
        cdef ssize_t n
        if self.layer is not None:
            return self.layer.give(self, parts, count)
        while True:
            n = greenhttp_send(self.fd, parts, count, self.finishing)
            if n >= 0:
                return n
            if errno == EAGAIN:
                return -1
            if errno != EINTR:
                self.failed = True
                PyErr_SetFromErrno(OSError)         # raises

    cdef Py_ssize_t give_file(self, FilePart part, size_t size) except -2:
        cdef ssize_t n
        if self.layer is not None:
            return self.give_read(part, size)
        while True:
            n = greenhttp_sendfile(self.fd, part.fd, part.offset, size)
            if n >= 0:
                return n
            if errno == EAGAIN:
                return -1
            if errno == EINVAL or errno == ENOSYS or errno == ENOTSUP or errno == EOPNOTSUPP:
                return Stream.give_file(self, part, size)       # a file system that cannot
            if errno != EINTR:
                self.failed = True
                PyErr_SetFromErrno(OSError)         # raises

    cdef Py_ssize_t give_read(self, FilePart part, size_t size) except -2:
        """As `give_file`, for a layer, which needs the bytes: as many as it encrypts at once."""
        cdef iovec piece
        cdef ssize_t n
        if not self.layer.settle(self, False):          # what was given before: 0 from `give` would be the file's end
            return -1
        if self.layer is None:
            raise StreamClosed("the stream was closed by another green thread")
        n = pread(part.fd, greenhttp_bin, min(size, <size_t>READ_AT_ONCE), part.offset)
        if n <= 0:
            return 0
        piece.iov_base = greenhttp_bin
        piece.iov_len = n
        return self.layer.give(self, &piece, 1)

    cdef bint settle(self) except -1:
        return self.layer is None or self.layer.settle(self, self.finishing)

    cdef bint parting(self) noexcept:
        return self.layer is not None and not self.layer.said

    cdef int64_t pending(self) noexcept:
        cdef int64_t size = self.out_end - self.out_pos
        if self.chain != NULL:
            size += self.chain.size
        return size if self.layer is None else size + self.layer.held_back()

    cdef int watch_read(self) except -1:
        cdef object watcher = self.watcher
        if self.layer is not None and self.layer.unfinished:
            self.look_again()           # the system says nothing of what the layer has already
        if self.watching:
            return 1
        if watcher is None:
            watcher = new_watcher(get_hub().loop, self.fd)
            if self.closed or self.watcher is not None:     # meanwhile, by another green thread
                watcher.close()
                return 0
            self.watcher = watcher
            self.hold()
        self.watching = STARTING
        try:
            watcher.start(self)
        except BaseException:           # of a signal's handler: who looks next starts it again
            if self.watcher is watcher:
                self.watching = UNWATCHED
            watcher.stop()
            raise
        if self.watcher is watcher:
            self.watching = WATCHING
        else:
            watcher.stop()              # closed meanwhile: `release` has left the watcher to this
            watcher.close()
        return 0

    cdef int look_again(self) except -1:
        """As if the descriptor became readable in the next turn. Not by a callback of the loop: those run before it
        polls, and what becomes of a readable stream waits behind that."""
        cdef object timer = get_hub().loop.timer(0.0)
        timer.start(self._looks_again, timer)
        return 0

    def _looks_again(self, timer):
        timer.stop()
        timer.close()
        if not self.closed:
            self()

    cdef int watch_write(self, bint on) except -1:
        cdef Wait wait = self.wait
        cdef object watcher, on_writable
        if on:
            wait = self.waiting()
            if wait.watcher is not None:
                return 1
            watcher = get_hub().loop.io(self.fd, WRITE, ref=False)
            on_writable = self._on_writable
            if not self.closed:
                watcher.start(on_writable)
            if self.closed or self.wait is not wait or wait.watcher is not None:    # meanwhile, by another green thread
                watcher.stop()
                watcher.close()
                return 0
            wait.watcher = watcher
            self.hold()
        elif wait is not None and wait.watcher is not None:
            watcher, wait.watcher = wait.watcher, None
            watcher.stop()
            watcher.close()
        return 0

    cdef int hold(self) except -1:
        cdef Wait wait = self.wait
        cdef object watcher = self.watcher, write_watcher = wait.watcher if wait is not None else None
        cdef object shared = getattr(watcher if watcher is not None else write_watcher, "_watcher_ref", None)
        if shared is not None:          # libuv: one handle for both directions, and gevent passes no `ref` on to it
            shared.ref = self.awaited()
            return 0
        if watcher is not None:
            watcher.ref = wait is not None and wait.reads
        if write_watcher is not None:
            write_watcher.ref = wait is not None and wait.writes
        return 0

    cdef int64_t backlog(self) noexcept:
        return max(greenhttp_backlog(self.fd), 0) + (0 if self.layer is None else self.layer.held_back())

    cdef bint starves(self) noexcept:
        return greenhttp_backlog(self.fd) == 0

    cdef int hang_up(self) except -1:
        if self.layer is not None:
            self.layer.part(self)
        if c_shutdown(self.fd, SHUT_WR) < 0 and errno != ENOTCONN:
            PyErr_SetFromErrno(OSError)             # raises
        return 0

    cdef int release(self, bint reset) except -1:
        cdef object watcher
        cdef Layer layer = self.layer
        cdef int fd = self.fd
        cdef bint starting = self.watching == STARTING
        if layer is not None:
            if not reset:
                layer.part(self)
                if layer.over != PARTED and layer.over != CUT:
                    greenhttp_clear(self.fd)    # to close with the peer's goodbye unread would reset the connection
            layer.fd = -1                       # somebody may be in the middle of it
            self.layer = None
        watcher, self.watcher = self.watcher, None
        self.watching = UNWATCHED
        self.fd = -1
        try:
            self.watch_write(False)
            if watcher is not None and not starting:
                watcher.stop()
                watcher.ref = False
                if spare_loop is not None and getattr(watcher, "loop", None) is spare_loop \
                        and len(spare) < SPARE_WATCHERS:
                    spare.append(watcher)
                else:
                    watcher.close()
        finally:
            if fd >= 0:
                if reset:
                    greenhttp_reset_on_close(fd)
                c_close(fd)
        return 0

    cdef int abandon(self, bint ours) except -1:
        if self.layer is not None:
            self.layer.said = True              # the goodbye is the parent's to say
        return Stream.abandon(self, ours)

    cdef void let_go(self) noexcept:
        if self.fd >= 0:
            c_close(self.fd)
            self.fd = -1
            if self.layer is not None:
                self.layer.fd = -1


def connect(str address not None, *, tls=None, server_name=None, timeout=None):
    """Connect to `host:port`, `[v6]:port` or `unix:/path`, suspending the running green thread alone.

    Names are resolved through the hub's resolver; every address found is tried in turn.

    Arguments:
        tls: True: encrypted, the server must have a certificate for its name from an authority that the system trusts;
            an ssl.SSLContext (see `greenhttp.tls.client`): encrypted as that says. None, False: plain.
        server_name: whose certificate it must be; None: that of the host in `address`.
        timeout: seconds for all of it, resolving and handshake included; None: without limit.

    Returns a SocketStream. Raises StreamTimeout, TLSError if the handshake fails, ValueError for a malformed address or
    if there is no name, or what the system says.
    """
    cdef SocketStream stream
    cdef object context
    from gevent import Timeout, sleep

    if address.startswith("unix:"):
        found = [(constants.AF_UNIX, address[5:])]
        host = port = None
    else:
        host, colon, port = address.rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit():
            raise ValueError(f"{address!r}: give host:port, [v6]:port or unix:/path")
        host = host.strip("[]")
        found = None
    if tls is None or tls is False:
        if server_name is not None:
            raise TypeError("server_name is for tls; give tls=True as well")
        context = None
    else:
        server_name = host if server_name is None else server_name
        context = for_client(tls, server_name)
    problem = None
    with Timeout.start_new(timeout, StreamTimeout(f"connecting to {address} took more than {timeout} s")):
        if found is None:
            answers = get_hub().resolver.getaddrinfo(host, int(port), 0, constants.SOCK_STREAM)
            found = [(answer[0], answer[4]) for answer in answers]
        for family, name in found:
            # The C class: a monkey-patched socket object would bring watchers of its own.
            sock = _socket.socket(family, constants.SOCK_STREAM)
            try:
                sock.setblocking(False)
                code = sock.connect_ex(name)
                while code == constants.errno.EAGAIN and family == constants.AF_UNIX:
                    # The queue of the listener is full; the system tells nobody when there is room again.
                    sleep(0.01)
                    code = sock.connect_ex(name)
                if code == constants.errno.EINPROGRESS:
                    watcher = get_hub().loop.io(sock.fileno(), WRITE)
                    try:
                        get_hub().wait(watcher)
                    finally:
                        watcher.close()
                    code = sock.getsockopt(constants.SOL_SOCKET, constants.SO_ERROR)
                if code:
                    raise OSError(code, f"{os.strerror(code)}: {address}")
                if family != constants.AF_UNIX:
                    with suppress(OSError):     # macOS: EINVAL when the peer has reset; what it sent can be read
                        sock.setsockopt(constants.IPPROTO_TCP, constants.TCP_NODELAY, 1)
                stream = SocketStream(sock)
                if context is not None:
                    stream.start_tls(context, server_side=False, server_name=server_name)
                return stream
            except (StreamTimeout, TLSError):
                raise                   # OSErrors too, but the time was for all of them, and somebody is there
            except OSError as error:
                problem = error
            finally:
                sock.close()        # a no-op once the stream has taken the descriptor
    raise problem


cdef class MemoryStream(Stream):
    """MemoryStream(incoming=(), *, keep_open=False, window=None)\n--\n
    A stream whose peer is a list of byte strings: for tests.

    Arguments:
        incoming: what the peer sends. Each piece arrives by itself, in a later turn of the loop than the one before.
        keep_open: after the last piece the peer is silent; by default it has finished sending.
        window: bytes the peer takes per turn of the loop; None takes everything.

    Attributes:
        outgoing: a bytearray of what was sent.
        hung_up, reset: how this side ended.
        gives: how often something was sent: what would have been system calls.
    """

    def __init__(self, incoming=(), *, keep_open=False, window=None):
        self.incoming = [piece for piece in incoming if piece]
        self.outgoing = bytearray()
        self.arrived = self.incoming.pop(0) if self.incoming else b""
        self.ended = not self.arrived and not keep_open
        self.keep_open = keep_open
        self.window = self.room = -1 if window is None else window

    cdef Py_ssize_t take(self, char* into, size_t size) except -2:
        cdef Py_ssize_t n = min(<Py_ssize_t>size, PyBytes_GET_SIZE(self.arrived) - self.arrived_at)
        if n > 0:
            memcpy(into, PyBytes_AS_STRING(self.arrived) + self.arrived_at, n)
            self.arrived_at += n
            return n
        return 0 if self.ended else -1

    cdef Py_ssize_t give(self, iovec* parts, int count) except -2:
        cdef Py_ssize_t total = 0, n
        cdef int i
        for i in range(count):
            n = <Py_ssize_t>parts[i].iov_len
            if self.window >= 0:
                n = min(n, self.room)
                self.room -= n
            self.outgoing += (<char*>parts[i].iov_base)[:n]
            total += n
        if total:
            self.gives += 1
        return total if total or count == 0 else -1

    cdef bint left(self) except -1:
        return self.closed or self.in_end == self.in_pos and self.ended and self.arrived_at == len(self.arrived)

    cdef int watch_read(self) except -1:
        if self.arriving:
            return 1
        self.arriving = True
        get_hub().loop.run_callback(self._arrive)
        return 0

    def _arrive(self):
        self.arriving = False
        if self.closed:
            return
        if self.arrived_at == len(self.arrived):
            if self.incoming:
                self.arrived = self.incoming.pop(0)
                self.arrived_at = 0
            elif not self.keep_open:
                self.ended = True
            else:
                return
        self.readable()

    cdef int watch_write(self, bint on) except -1:
        if not on:
            return 0
        if self.draining:
            return 1
        self.draining = True
        if self.window < 0:
            get_hub().loop.run_callback(self._drain)
        else:
            # A turn of the loop runs any number of callbacks, but a timer that is due once.
            timer = get_hub().loop.timer(0.0)
            timer.start(self._next_turn, timer)
        return 0

    def _next_turn(self, timer):
        timer.stop()
        timer.close()
        self._drain()

    def _drain(self):
        self.draining = False
        if not self.closed:
            self.room = self.window
            self.writable()

    @property
    def exhausted(self):
        """Whether all that the peer sends was taken; an end of input that is still to come is not."""
        return not self.incoming and self.arrived_at == len(self.arrived) and (self.ended or self.keep_open) \
            and not self.arriving

    def send(self, bytes data):
        """The peer sends some more."""
        self.incoming.append(data)
        self.watch_read()

    cdef int hang_up(self) except -1:
        self.hung_up = True
        return 0

    cdef int release(self, bint reset) except -1:
        self.reset = reset
        return 0
