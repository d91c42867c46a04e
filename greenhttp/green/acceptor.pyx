"""From a listening socket to connected descriptors: non-blocking, flagged by the same call, the address included.

A turn of the loop accepts at most `batch` connections, so that newcomers do not starve those who are served. When the
process or the system is out of descriptors, accepting stops for a moment instead of spinning (the listener stays
readable), says so once, and goes on by itself.

Where several processes accept from one socket, each takes one connection per turn, and one that has more of them than
another waits a moment before it takes any: the kernel wakes them all, and the quickest would have most.
"""

from cpython.exc cimport PyErr_SetFromErrno
from libc.errno cimport (
    EAGAIN, EBADF, EFAULT, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOTSOCK, EOPNOTSUPP, errno,
)
from libc.stdint cimport int64_t

from greenhttp.process.board cimport ALONE, MORE, Loads, Standing
from greenhttp.green.transport cimport adopt, sockaddr_storage


cdef extern from *:
    """
    #include <fcntl.h>
    #include <poll.h>
    #include <string.h>
    #include <sys/socket.h>
    #include <unistd.h>

    #if defined(__linux__) || defined(__FreeBSD__)
    #define GREENHTTP_ACCEPT4 1
    #endif

    static int greenhttp_accept(int fd, struct sockaddr_storage* peer) {
        socklen_t size = sizeof *peer;
        memset(peer, 0, sizeof(short) * 2);     /* a UNIX peer has no address: the family must not be left over */
    #ifdef GREENHTTP_ACCEPT4
        return accept4(fd, (struct sockaddr*)peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    #else
        int connected = accept(fd, (struct sockaddr*)peer, &size);
        if (connected >= 0) {
            fcntl(connected, F_SETFL, fcntl(connected, F_GETFL) | O_NONBLOCK);
            fcntl(connected, F_SETFD, FD_CLOEXEC);
        }
        return connected;
    #endif
    }

    static int greenhttp_somebody_waits(int fd) {
        struct pollfd look = {fd, POLLIN, 0};
        return poll(&look, 1, 0) != 0;
    }
    """
    int greenhttp_accept(int fd, sockaddr_storage* peer) noexcept
    bint greenhttp_somebody_waits(int fd) noexcept
    int c_close "close"(int fd) noexcept

cdef enum:
    READ = 1

cdef double YIELD = 0.002           # seconds that a process with more connections leaves to those with fewer
cdef double BACK_OFF = 0.1          # seconds without accepting once descriptors have run out
cdef double FOR_EVER = 1e9          # seconds


cdef class Acceptor:
    """Accepts from one listening socket. Subclasses say what a connection becomes.

    Arguments:
        loop: gevent's loop.
        sock: a listening, non-blocking socket object.
        log: called with one line when descriptors have run out, and when it goes on.
        batch: connections per turn of the loop at most.
    """

    def __init__(self, loop, sock, log, int batch=256):
        self.loop = loop
        self.sock = sock
        self.log = log
        self.batch = batch
        self.watcher = loop.io(sock.fileno(), READ)

    cdef int64_t load(self) noexcept:
        """Connections that this process has."""
        return 0

    def share(self, Loads loads):
        """Other processes accept from the same socket."""
        self.loads = loads

    cdef bint crowded(self) noexcept:
        """Whether one more connection is one too many. Then `admit` is asked, but only when one is really there."""
        return False

    cdef bint admit(self) except -1:
        """Whether there is room for one more connection. False: nothing is accepted until `resume`."""
        return True

    cdef int connected(self, int fd, sockaddr_storage* peer) except -1:
        """A new connection. Takes the descriptor over."""
        c_close(fd)
        return 0

    def start(self):
        watcher = self.watcher
        if watcher is None:
            return
        if self.alive is None:
            # Neither a pause nor a back-off may end the loop, which their stopped watcher would allow.
            alive = self.loop.timer(FOR_EVER)
            alive.start(_nothing)
            if self.alive is None and self.watcher is watcher:
                self.alive = alive
            else:
                alive.stop()            # by foreign code that ran meanwhile; so below
                alive.close()
        on_readable = self._on_readable
        if self.watcher is watcher:
            watcher.start(on_readable)
            if self.watcher is not watcher:
                watcher.stop()
                watcher.close()

    def _on_readable(self):
        try:
            self.accept_some()
        except OSError as error:
            if self.watcher is not None:
                self.watcher.stop()     # it would be called again and again
            self.complain(error)
        except BaseException:
            self.rest_for(BACK_OFF)     # a signal's handler has raised: gevent stops a watcher whose callback does
            raise

    cdef int complain(self, object error) except -1:
        self.log(f"a listening socket is broken, nobody is accepted from it any more: {error}")
        return 0

    cdef int accept_some(self) except -1:
        cdef sockaddr_storage peer
        cdef int fd
        cdef int batch = self.batch
        cdef Standing standing
        if self.loads is not None and not self.stopping:
            self.loads.set(self.load())
            standing = self.loads.standing(self.load())
            if standing == MORE and not self.yielded:
                return self.let_others()
            self.yielded = False
            if standing != ALONE:
                batch = 1
        for _ in range(batch):
            if self.crowded():
                if not greenhttp_somebody_waits(self.sock.fileno()):
                    return 0            # nobody has to go for nobody
                if not self.admit():
                    self.pause()
                    return 0
            fd = greenhttp_accept(self.sock.fileno(), &peer)
            if fd >= 0:
                self.accepted += 1
                self.connected(fd, &peer)
                continue
            if errno == EAGAIN:
                if self.backing_off:
                    self.backing_off = False
                    self.log("file descriptors are available again; new connections are accepted")
                return 0
            if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
                self.back_off()
                return 0
            if errno == EBADF or errno == EINVAL or errno == ENOTSOCK or errno == EOPNOTSUPP or errno == EFAULT:
                PyErr_SetFromErrno(OSError)     # raises: the listener itself is wrong
            # Anything else is about that one peer: it has gone, a firewall refused it, its network is down (accept(2)).
        return 0

    cdef int let_others(self) except -1:
        """Those with fewer connections go first. If they do not come, since they are busy, this one does after all."""
        self.yielded = True
        self.rest_for(YIELD)
        return 0

    def back_off(self):
        if not self.backing_off:
            self.backing_off = True
            self.log(
                "out of file descriptors: new connections wait in the kernel's queue until some are free "
                "(raise the limit with ulimit -n, or lower --connections)"
            )
        self.rest_for(BACK_OFF)

    cdef int rest_for(self, double seconds) except -1:
        """Accept nobody for so long."""
        # A new one: libev's does not start twice with the same time.
        cdef object timer = self.loop.timer(seconds, ref=False)
        cdef object former
        timer.start(self._retry, update=True)
        former = timer                  # if it has been stopped meanwhile
        if self.watcher is not None:
            self.watcher.stop()
            former, self.timer = self.timer, timer
        if former is not None:
            former.stop()
            former.close()
        return 0

    def _retry(self):
        if not self.paused and self.watcher is not None:
            self.start()

    cdef int pause(self) except -1:
        if not self.paused:
            self.paused = True
            self.watcher.stop()
        return 0

    cdef int resume(self) except -1:
        if self.paused and self.watcher is not None:
            self.paused = False
            self.start()
        return 0

    def go_on(self):
        """There may be room again."""
        self.resume()

    def stop(self):
        """Accept what is waiting in the kernel's queue, then no more. The socket stays open."""
        if self.watcher is None:
            return
        self.paused = self.backing_off = False
        self.stopping = True
        if self.loads is not None:
            self.loads.leave()
        before = -1
        try:
            while before != self.accepted and not self.paused and not self.backing_off:
                before = self.accepted
                self.accept_some()
        except OSError as error:
            self.complain(error)        # nobody can be waiting there
        self.shut()

    def shut(self):
        """Accept no more, at once; whoever waits in the kernel's queue stays there. Twice is nothing."""
        watcher, self.watcher = self.watcher, None
        alive, self.alive = self.alive, None
        timer, self.timer = self.timer, None
        for each in (watcher, alive, timer):
            if each is not None:
                each.stop()
                each.close()


cdef class StreamAcceptor(Acceptor):
    """Makes each connection a SocketStream and hands it to a function.

    Arguments:
        take: called in the hub with each new stream; must not block.
        room: called when somebody waits; False pauses accepting until `go_on`. None: there always is.
    """

    def __init__(self, loop, sock, log, take, room=None, int batch=256):
        Acceptor.__init__(self, loop, sock, log, batch)
        self.take = take
        self.room = room

    cdef bint crowded(self) noexcept:
        return self.room is not None

    cdef bint admit(self) except -1:
        return self.room()

    cdef int connected(self, int fd, sockaddr_storage* peer) except -1:
        self.take(adopt(fd, peer))
        return 0


def _nothing():
    """What the timer that keeps the loop going would call."""
