"""Between accept and the connection of a protocol: a stream whose preface is still to come.

    accepted -> [arriving] -> [handshaking] -> what the stream becomes: HTTP's connection, or a stream handler's job
                   '--------------'-----> closed: an unlisted peer, something else or nothing, or not in time

The preface is a PROXY header, the handshake of TLS, or one after the other. An Arrival is advanced by the pool and
holds no green thread; it says who the peer is from now on, puts TLS between stream and socket, and hands the stream
over. There is one such object for a connection, for as long as that takes, and none where nothing is expected.

A handshake costs as much as a hundred requests, and anybody may ask for one: a turn of the loop has time for some, the
rest of them goes on in the next, behind whatever has become ready until then.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from greenhttp.green.chunks cimport CHUNK, count_held
from greenhttp.green.deadline cimport Phase
from greenhttp.green.hello cimport WHOLE, WRONG, Hello, Verdict, look
from greenhttp.green.layer cimport SHAKING, Layer
from greenhttp.green.peers cimport Peers, read_address
from greenhttp.green.pool cimport TO_CUT, TO_RETIRE, Job, Pool, silent
from greenhttp.green.stream cimport Stream
from greenhttp.green.tls cimport Certificates
from greenhttp.green.transport cimport SocketStream
from greenhttp.process.clock cimport clock

from greenhttp.errors import TLSError, WireError

cdef enum:
    MOST = 4096                 # bytes received at once: as long as a header may be. What else comes is the protocol's
    HANDSHAKE = 22              # what a record begins with that belongs to one (RFC 8446 5.1)
    HANDSHAKES = 16             # of a turn at most, and
    WEIGHT = 49152              # bytes that OpenSSL has for one from its ClientHello to its end: 43 to 47 KB (3.0)

cdef double BEHIND = 1.0            # seconds after its time within which the sweep comes, unless the loop was held up
cdef double HANDSHAKING = 0.001     # seconds of it after which none is begun


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
        handshaking: where those wait whose handshake is due or not over.
        retort: retort(bytes) -> (bytes, str): what to answer where something else than TLS comes, b"" for nothing, and
            the words for the log.

    `read` may be None: nothing comes before the handshake. Attributes:
        certificates: of connections that come `secure`; may be replaced at any time.
    """

    def __init__(self, Pool pool, Phase phase, allowed, read, noise, Phase handshaking=None, retort=None):
        self.pool = pool
        self.phase = phase
        self.allowed = Peers(allowed)
        self.read = read
        self.noise = noise
        self.handshaking = handshaking
        self.retort = retort

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

    cdef int relieve(self) except -1:
        """A handshake holds more memory than before; perhaps another has to go. Here the number of connections is all
        that bounds it."""
        return 0

    cdef bint expects(self, bint secure) noexcept:
        """Whether connections that come in by a listener have something before their protocol."""
        return secure or self.read is not None

    cdef Arrival receive(self, Stream stream, object base, bint secure):
        """A connection that was accepted just now. None: it is closed, since its peer is not listed."""
        cdef Arrival arrival
        if self.read is not None and type(stream) is SocketStream and not self.allowed.trust(<SocketStream>stream):
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
        arrival = Arrival.__new__(Arrival)
        arrival.arrivals = self
        arrival.header = self.read is not None
        arrival.secure = secure
        arrival.stream = stream
        arrival.base = base
        stream.job = arrival
        self.count(1)
        arrival.enter(self.phase if arrival.header else self.handshaking)
        # Its preface has often come already, and the first request with it.
        self.pool.wake(arrival)
        return arrival

    cdef bint give_way(self) except -1:
        """There is no room for a newcomer: whoever has been arriving for longest, and is silent, goes. False: nobody
        is."""
        cdef Arrival longest
        while True:
            longest = <Arrival>silent(self.phase)
            if longest is None and self.handshaking is not None:
                longest = <Arrival>silent(self.handshaking)
            if longest is None:
                return False
            if not longest.begun():
                longest.close(False)
                return True

    cdef bint has_time(self) noexcept:
        """Whether one more handshake fits into this turn of the loop."""
        if self.turn != self.pool.turns:
            self.turn = self.pool.turns
            self.shaken = 0
        self.shaken += 1
        if self.shaken == 1:
            self.turn_began = clock()
            return True
        return self.shaken <= HANDSHAKES and clock() - self.turn_began < HANDSHAKING

    cdef int say(self, Stream stream, str why) except -1:
        self.noise("arrivals", f"{stream.about()}connection closed: {why}", "warning")
        return 0


cdef class Arrival(Job):
    """One connection on its way in. Owned by its phase."""

    cdef Step step(self, Arrivals arrivals) except *:
        """Take what has come; the words for the log are said here. Raises OSError if the connection broke."""
        cdef Step found
        if self.header:
            found = self.receive_header(arrivals)
            if found != ARRIVED or not self.secure:
                return found
            self.header = False
            self.enter(arrivals.handshaking)
        return self.shake(arrivals)

    cdef bint advance(self) except -1:
        if self.arrivals is not None:           # else it was closed while it was queued
            self.arrivals.make_way()
            self.proceed(False)
        return False

    cdef int proceed(self, bint last) except -1:
        """Go on as far as that is possible. `last`: there is no time left for a PROXY header."""
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
            elif last and self.header:
                why = f"no whole PROXY header came within {arrivals.phase.duration:g} s (proxy_timeout)"
                arrivals.say(self.stream, why)
                self.close(False)
            else:
                if not self.header and 0 < self.node.expiry < clock() - (BEHIND if self.overtime else 0):
                    self.overtime = True            # the loop was behind: what came in time is taken now
                    self.enter(arrivals.handshaking)
                self.stream.pack()
                self.stream.watch_read()
                self.stream.watch_write(self.is_stuck())
                if not self.header:
                    arrivals.relieve()
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
        self.weigh(False)
        self.leave()
        arrivals.count(-1)
        arrivals.pool.submit(heir)              # what has come behind the preface is looked at in this turn
        return 0

    cdef bint is_stuck(self) noexcept:
        """Whether a part of its handshake waits for the system to take more."""
        cdef Stream stream = self.stream
        return type(stream) is SocketStream and (<SocketStream>stream).layer is not None \
            and (<SocketStream>stream).layer.stuck

    cdef bint ready(self, bint writing) except -1:
        if self.arrivals is None or writing and not self.is_stuck():
            return False
        self.arrivals.pool.wake(self)
        return not self.busy                    # if it is, whoever is will have it watched again

    cdef int expired(self, Phase phase, double now) except -1:
        cdef Pool pool
        cdef bint behind = now - self.node.expiry > BEHIND
        if self.arrivals is None:
            return 0                            # it is being closed, or is somebody else's by now
        self.enter(phase)
        if self.busy:
            return 0                            # whatever is being done ends the wait in another way
        pool = self.arrivals.pool
        self.busy = True
        try:
            if self.header:
                self.proceed(True)              # the loop may have been held up, not the peer: what has come counts
            else:
                self.overrun(behind)
        finally:
            pool.release(self)
        return 0

    cdef int overrun(self, bint behind) except -1:
        """The time for its handshake is up. That goes on within the limits of a turn alone, so whoever has sent what
        nobody has had the time for waits once more, and no longer than before, or again if the loop is to blame
        (`behind`); anybody else is closed."""
        cdef Arrivals arrivals = self.arrivals
        if (behind or not self.overtime) and (self.queued or (<SocketStream>self.stream).heard()):
            self.overtime = True
            return arrivals.pool.again(self)
        why = f"no whole TLS handshake came within {arrivals.handshaking.duration:g} s (tls_timeout)"
        try:
            arrivals.say(self.stream, why)
        finally:
            self.close(False)
        return 0

    cdef bint begun(self) except -1:
        """Whether something has come that nobody has looked at; then somebody will."""
        cdef Stream stream = self.stream
        if type(stream) is SocketStream and (<SocketStream>stream).layer is not None:
            if not (<SocketStream>stream).heard():      # to read would be to shake hands
                return False
        else:
            try:
                if stream.fill_some(MOST) <= 0:
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
        self.weigh(False)
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
        cdef Stream stream = self.stream
        if self.arrivals is None or self.queued or stream.in_end > stream.in_pos:
            return 0
        if type(stream) is SocketStream and (<SocketStream>stream).layer is not None:
            return 0                            # it is in the middle of its handshake
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
        self.weigh(False)
        return self.stream.abandon(ours)

    cdef void weigh(self, bint on) noexcept:
        """From now on the memory of its handshake counts, or no longer."""
        if self.counted != on:
            self.counted = on
            count_held(WEIGHT if on else -WEIGHT)

    cdef uint32_t weight(self) noexcept:
        """Bytes of memory that it holds, of those that count."""
        return self.stream.in_end - self.stream.in_pos + (WEIGHT if self.counted else 0)

    # A PROXY header ---------------------------------------------------------------------------------------------------

    cdef Step receive_header(self, Arrivals arrivals) except *:
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

    # A handshake ------------------------------------------------------------------------------------------------------

    cdef Step shake(self, Arrivals arrivals) except *:
        cdef SocketStream stream = <SocketStream>self.stream
        cdef Layer layer
        cdef Certificates certificates
        cdef Step found
        if stream.layer is None:
            found = self.receive_hello(arrivals)
            if found != ARRIVED:
                return found
        if not arrivals.has_time():
            arrivals.pool.again(self)
            return WANTING
        if stream.layer is None:
            certificates = arrivals.certificates        # which foreign code in there may replace, and so end
            layer = certificates.layer(stream.fd)
            if self.arrivals is None:
                return REFUSED                  # see `proceed`
            stream.layer = layer
            self.weigh(True)
        try:
            if not self.shaken:
                if stream.layer.shake(stream) == SHAKING:
                    return WANTING
                self.shaken = True
        except TLSError as error:
            if self.arrivals is not None:
                self.say_failed(arrivals, str(error))
            stream.skip_input()
            return REFUSED
        # Its first request has often come already; then the end of the handshake leaves together with the answer.
        if stream.fill_some(CHUNK) < 0 and not stream.layer.settle(stream, False):
            return WANTING                      # a client of TLS 1.2 says nothing before it has had all of this
        stream.watch_write(False)
        return ARRIVED

    cdef Step receive_hello(self, Arrivals arrivals) except *:
        """Its first message, into the stream's own buffer: as long as that is not whole, a handshake takes no more
        memory than what has come of it."""
        cdef Stream stream = self.stream
        cdef Hello found
        cdef Verdict verdict
        cdef Py_ssize_t n
        while True:
            if stream.in_end > stream.in_pos:
                if <unsigned char>stream.inbuf[stream.in_pos] != HANDSHAKE:
                    return self.decline(arrivals)
                found = look(
                    <unsigned char*>stream.inbuf + stream.in_pos, stream.in_end - stream.in_pos, &verdict
                )
                if found == WHOLE:
                    return ARRIVED
                if found == WRONG:
                    break
            n = stream.fill_some(MOST)
            if n < 0:
                return WANTING
            if n == 0:
                if stream.in_end > stream.in_pos:       # else it has only looked whether somebody listens here
                    self.say_failed(arrivals, "the peer disconnected during the handshake")
                return REFUSED
        self.say_failed(arrivals, (<bytes>verdict.why).decode())
        if self.arrivals is not None:
            stream.put_object(b"\x15\x03\x03\0\2\2" + bytes((verdict.alert,)))      # fatal (RFC 8446 6)
            stream.last_words()
        return REFUSED

    cdef int say_failed(self, Arrivals arrivals, str why) except -1:
        arrivals.noise("handshakes", f"{self.stream.about()}TLS handshake failed: {why}")
        return 0

    cdef Step decline(self, Arrivals arrivals) except *:
        """Something else than TLS has come."""
        cdef Stream stream = self.stream
        cdef Py_ssize_t n
        cdef object found, answer, why
        while True:
            found = arrivals.retort(
                PyBytes_FromStringAndSize(stream.inbuf + stream.in_pos, stream.in_end - stream.in_pos)
            )
            if self.arrivals is None:
                return REFUSED                  # see `proceed`
            if found is not None:
                break
            n = stream.fill_some(MOST)          # too few bytes to tell what it is
            if n <= 0:
                return WANTING if n < 0 else REFUSED
        answer, why = found
        arrivals.say(stream, why)
        if answer and self.arrivals is not None:
            stream.put_object(answer)
            stream.last_words()
        return REFUSED
