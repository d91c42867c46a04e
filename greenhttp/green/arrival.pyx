"""Between accept and the connection of a protocol: a stream whose preface is still to come.

    accepted -> arriving -> what the stream becomes: HTTP's connection, or a stream handler's job
                   '-----> closed unanswered: an unlisted peer, another preface or none, or not in time

The preface is a PROXY header. An Arrival is advanced by the pool and holds no green thread; it takes the bytes of the
header and not one more, says who the peer is from now on, and hands the stream over. There is one such object for a
connection, for as long as that takes, and none where no preface is expected.

A preface that is a dialogue, such as the handshake of TLS, is another kind of Arrival: `step` is all that differs.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memcpy

from greenhttp.green.deadline cimport Node, Phase, owner
from greenhttp.green.peers cimport Peers, read_address
from greenhttp.green.pool cimport TO_CUT, TO_RETIRE, Job, Pool
from greenhttp.green.stream cimport Stream
from greenhttp.green.transport cimport SocketStream

from greenhttp.errors import WireError

cdef enum:
    MOST = 4096                 # bytes received at once: as long as a header may be. What else comes is the protocol's


cdef class Arrivals:
    """What the arrivals of a server share. Subclasses say what a stream becomes, and who counts it.

    Arguments:
        pool: which advances them.
        phase: where they wait.
        allowed: entries of settings.peers: who may connect.
        read: called with all bytes that have come; returns an object with `size`, the bytes that are the preface's,
            and `source`, (host, port) or None, or returns None: not all of it has come. Raises WireError, whose reason
            is for the log. In the hub: it must not block.
        noise: noise(kind, message, level="info"), for what outsiders can make the log say at will.
    """

    def __init__(self, Pool pool, Phase phase, allowed, read, noise):
        self.pool = pool
        self.phase = phase
        self.allowed = Peers(allowed)
        self.read = read
        self.noise = noise

    cdef Job welcome(self, Stream stream, object base):
        """What a stream becomes whose preface is over: counted, in its first phase, not yet looked at."""
        raise NotImplementedError

    cdef void count(self, int change) noexcept:
        """That many connections more."""

    cdef int make_way(self) except -1:
        """Accepting may have waited for an arrival to be looked at."""
        return 0

    cdef int gone(self) except -1:
        """A connection has ended that never arrived; it is to be counted no more."""
        return 0

    cdef Arrival receive(self, Stream stream, object base):
        """A connection that was accepted just now. None: it is closed, since its peer is not listed."""
        cdef ProxyArrival arrival
        if type(stream) is SocketStream and not self.allowed.trust(<SocketStream>stream):
            unix = (<SocketStream>stream).family == 0
            how = "add unix to the list" if unix else "add its address if it is your proxy"
            try:
                self.noise(
                    "strangers",
                    f"{stream.about()}connection closed: the peer is not listed in proxy_allow_from; {how}", "warning",
                )
            finally:
                stream.finish(False)
            return None
        arrival = ProxyArrival.__new__(ProxyArrival)
        arrival.arrivals = self
        arrival.stream = stream
        arrival.base = base
        stream.job = arrival
        self.count(1)
        arrival.enter(self.phase)
        # Its header has often come already, and the first request with it.
        self.pool.wake(arrival)
        return arrival

    cdef bint give_way(self) except -1:
        """There is no room for a newcomer: whoever has been arriving for longest, and is silent, goes. False: nobody
        is."""
        cdef Node* node
        cdef Arrival arrival, longest
        while True:
            longest = None
            node = self.phase.ring.next
            while node != &self.phase.ring:
                arrival = <Arrival>owner(node)
                if not arrival.queued and not arrival.busy:
                    longest = arrival
                    break
                node = node.next
            if longest is None:
                return False
            if not longest.begun():
                longest.close(False)
                return True

    cdef int say(self, Stream stream, str why) except -1:
        self.noise("arrivals", f"{stream.about()}connection closed: {why}", "warning")
        return 0


cdef class Arrival(Job):
    """One connection on its way in. Owned by its phase."""

    cdef Step step(self, Arrivals arrivals) except *:
        """Take what has come; the words for the log are said here. Raises OSError if the connection broke."""
        return REFUSED

    cdef bint advance(self) except -1:
        if self.arrivals is not None:           # else it was closed while it was queued
            self.arrivals.make_way()
            self.proceed(False)
        return False

    cdef int proceed(self, bint last) except -1:
        """Go on as far as that is possible. `last`: there is no time left."""
        cdef Arrivals arrivals = self.arrivals
        cdef Step step
        try:
            step = self.step(arrivals)
            if self.arrivals is None:
                return 0                        # abandoned: foreign code in there has forked, and this is the child
            if step == ARRIVED:
                self.hand_over()
            elif step == REFUSED:
                self.close(False)
            elif last:
                seconds = arrivals.phase.duration
                arrivals.say(self.stream, f"no whole PROXY header came within {seconds:g} s (proxy_timeout)")
                self.close(False)
            else:
                self.stream.pack()
                self.stream.watch_read()
                arrivals.make_way()             # somebody may have come while this was busy, and could not be closed
        except OSError:
            self.close(True)
        except BaseException:
            self.close(True)                    # a signal's handler has raised, say: between two states
            raise
        return 0

    cdef int hand_over(self) except -1:
        cdef Arrivals arrivals = self.arrivals
        cdef Job heir = arrivals.welcome(self.stream, self.base)
        # Nothing allocates from here on: it is counted twice, and in two phases.
        self.heir = heir
        self.arrivals = None
        self.leave()
        arrivals.count(-1)
        arrivals.pool.submit(heir)              # what has come behind the preface is looked at in this turn
        return 0

    cdef bint ready(self, bint writing) except -1:
        if writing or self.arrivals is None:
            return False
        self.arrivals.pool.wake(self)
        return not self.busy                    # if it is, whoever is will have it watched again

    cdef int expired(self, Phase phase, double now) except -1:
        cdef Pool pool
        if self.arrivals is None:
            return 0                            # it is being closed, or is somebody else's by now
        self.enter(phase)
        if self.busy:
            return 0                            # whatever is being done ends the wait in another way
        pool = self.arrivals.pool
        self.busy = True
        try:
            self.proceed(True)                  # the loop may have been held up, not the peer: what has come counts
        finally:
            pool.release(self)
        return 0

    cdef bint begun(self) except -1:
        """Whether something has come that nobody has looked at; then somebody will."""
        try:
            if self.stream.fill_some(MOST) <= 0:
                return False
        except OSError:
            return False
        self.arrivals.pool.again(self)
        return True

    cdef int close(self, bint reset) except -1:
        cdef Arrivals arrivals = self.arrivals
        if arrivals is None:
            return 0
        self.arrivals = None
        try:
            self.stream.finish(reset)
        finally:
            self.stream.job = None
            self.leave()
            arrivals.gone()
        return 0

    cdef int shed(self, str reason) except -1:
        """Too much memory in unread input, and this has most of it."""
        cdef Arrivals arrivals = self.arrivals
        self.busy = True                        # it is another's call: nobody else may go on with it meanwhile
        try:
            arrivals.noise("overload", f"{self.stream.about()}connection closed: {reason}", "warning")
            return self.close(False)
        finally:
            arrivals.pool.release(self)

    def retire(self):
        """The server stops: what has begun to arrive goes on, a connection without that ends now."""
        if self.heir is not None:
            self.heir.retire()                  # it was an arrival when the server looked who is here
        elif self.busy:
            self.missed |= TO_RETIRE
        else:
            self.see_off()

    cdef int see_off(self) except -1:
        if self.arrivals is None or self.queued or self.stream.in_end > self.stream.in_pos:
            return 0
        if not self.begun():
            self.close(False)
        return 0

    def cut(self):
        """The server cannot wait any longer."""
        if self.heir is not None:
            self.heir.cut()
        elif self.busy:
            self.missed |= TO_CUT
        else:
            self.close(True)

    cdef int told_late(self, int missed) except -1:
        if self.heir is not None:               # it is that one's business by now
            if missed & TO_CUT:
                self.heir.cut()
            elif missed & TO_RETIRE:
                self.heir.retire()
        elif missed & TO_CUT:
            self.close(True)
        elif missed & TO_RETIRE:
            self.see_off()
        return 0

    def unfinished(self):
        """What a stop would cut here: nothing that anybody waits for."""
        return None

    @property
    def over(self):
        """Whether it was closed, or has arrived and is `heir` now."""
        return self.arrivals is None

    cdef int abandon(self, bint ours) except -1:
        self.arrivals = None                    # so that nothing is told of its end
        return self.stream.abandon(ours)


cdef class ProxyArrival(Arrival):
    """Waits for a PROXY header."""

    cdef Step step(self, Arrivals arrivals) except *:
        cdef Stream stream = self.stream
        cdef Step found
        cdef Py_ssize_t n
        try:
            while True:
                if stream.in_end > stream.in_pos:
                    found = self.read_header(arrivals)
                    if found != WANTING:
                        return found
                n = stream.fill_some(MOST)
                if n <= 0:
                    break
        except OSError:
            n = 0                               # reset by the peer: no other end than a regular one
        if n < 0:
            return WANTING
        if stream.in_end > stream.in_pos:       # else it has only looked whether somebody listens here
            why = "the peer disconnected in the middle of its PROXY header"
            arrivals.noise("disconnections", f"{stream.about()}{why}")
        return REFUSED

    cdef Step read_header(self, Arrivals arrivals) except *:
        cdef Stream stream = self.stream
        cdef SocketStream socket
        cdef unsigned char address[16]
        cdef int family = 0
        cdef unsigned short port = 0
        cdef Py_ssize_t size = stream.in_end - stream.in_pos
        cdef object found, source
        try:
            found = arrivals.read(PyBytes_FromStringAndSize(stream.inbuf + stream.in_pos, size))
        except WireError as error:
            if self.arrivals is not None:
                arrivals.say(stream, error.reason)
            return REFUSED
        if self.arrivals is None:
            return REFUSED                      # see `proceed`
        if found is None:
            return WANTING
        size = found.size
        source = found.source
        if source is not None and type(stream) is SocketStream:
            family = read_address(source[0].encode(), address)
            port = source[1]
        # From here on nothing allocates: the peer is one or the other.
        if family:
            socket = <SocketStream>stream
            memcpy(socket.address, address, 16)
            socket.family = <unsigned char>family
            socket.port = port
        stream.proxied = found
        stream.consume(size)
        return ARRIVED
