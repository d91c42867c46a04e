"""Reading on after the last answer: to close while input is unread, or still on its way, resets the connection, and the
answer may be lost with it (RFC 9112 9.6). A client in the middle of an upload looks for an answer only behind it.

What comes is dropped where it lies: on Linux the kernel throws a TCP stream's bytes away without copying them. Nobody
waits for it: no green thread, no buffer. The same where an answer cannot leave, because its client does not read
before it has sent everything.

Bounds. Time: `linger_timeout` in all, and SILENCE without progress, by which a few bytes now and then are not meant.
Bytes: `limit_linger`. All lingering connections together: a share of the connections that there may be; and of each
turn of the loop they take a mebibyte, or 16 KiB each where they are more than 64.
"""

from greenhttp.process.clock cimport clock

cdef enum:
    SILENCE = 5                 # seconds in which something must come,
    PROGRESS = 4096             # namely so many bytes
    A_TURN = 1048576            # bytes dropped in a turn of the loop, of all connections together,
    LEAST = 16384               # but of one so many at least,
    LARGEST = 262144            # and at most
    CROWD = 16                  # so many may linger in any case


cdef class Lingering(Phase):
    """The phase of connections that are read on. Its deadline is that of silence; progress begins it anew, as long as
    it ends within `total`. Made by `lingering`."""

    cdef bint begin(self, Timed one, Stream stream) except -1:
        """The last answer has left. True: too many linger, and whoever has for longest was told that its time is up."""
        cdef Timed longest
        self.meanwhile(stream)
        one.enter(self)
        if self.count <= self.crowd:
            return False
        longest = self.first()
        longest.leave()
        longest.expired(self, clock())
        return True

    cdef int meanwhile(self, Stream stream) except -1:
        """From now on what comes is dropped, also while the answer still leaves."""
        stream.waiting().lingers_until = clock() + self.total
        stream.wait.dropped = 0
        stream.taken = 0
        return 0

    cdef bint hears(self, Stream stream) noexcept:
        """Whether there is more to drop while the answer leaves: the peer has not finished, nor sent too much."""
        return self.total > 0 and not stream.at_end and stream.wait is not None and stream.wait.dropped <= self.most

    cdef bint dropped(self, Stream stream) except -1:
        """What has come while the answer leaves was dropped. Whether that is progress: then a peer that reads nothing
        yet is not slow."""
        cdef bint moved = self.moved(stream) > 0
        if moved:
            stream.hold_up()
        return moved

    cdef bint read_on(self, Timed one, Stream stream) except -1:
        """Drop what has come. Once a call: a fast sender must not keep the hub. False: it is time to close, since the
        peer has finished or has sent too much."""
        cdef Py_ssize_t n = stream.drop(share(self.count))
        if n == 0:
            return False
        if n > 0:
            stream.taken += n
            if not self.renew(one, stream):
                return False
        stream.watch_read()
        return True

    cdef bint renew(self, Timed one, Stream stream) except -1:
        """`stream.taken` more bytes have come: if that is progress, silence begins anew, within `total`. False: it was
        too much."""
        cdef int moved = self.moved(stream)
        if moved > 0:
            one.enter(self)
        return moved >= 0

    cdef int moved(self, Stream stream) except -2:
        """Count `stream.taken` as dropped. 1: that is progress, within `total`. 0: it is not. -1: it was too much."""
        cdef int64_t before = stream.waiting().dropped
        cdef int64_t dropped = before + stream.taken
        stream.wait.dropped = dropped
        stream.taken = 0
        if dropped > self.most:
            return -1
        return before // PROGRESS != dropped // PROGRESS and clock() + self.duration < stream.wait.lingers_until

    cdef bint heard(self, Timed one, Stream stream, double now) except -1:
        """Its time is up, and it has left this phase. True: not the peer was silent, but the loop did not turn; what
        has come meanwhile was progress, and it is back in the phase."""
        return one.node.expiry <= now and self.read_on(one, stream) and one.phase is not None

    cdef str why(self, Stream stream, double now):
        """What is to be said of a peer that is closed while it may still send; None of one that has been silent."""
        if stream.at_end or stream.wait is None or not stream.wait.dropped:
            return None
        if stream.wait.dropped > self.most:
            return f"it had sent {stream.wait.dropped} bytes after its answer, more than {self.most} (limit_linger)"
        if now + 1 >= stream.wait.lingers_until:
            return f"{self.total:g} s after its answer it still sent (linger_timeout)"
        return None


cdef Py_ssize_t share(Py_ssize_t count) noexcept:
    """Bytes that one of so many connections may have dropped in a turn of the loop."""
    return max(LEAST, min(LARGEST, A_TURN // max(1, count)))


cdef Lingering lingering(str name, object settings, int64_t connections):
    """The phase of that name, for `connections` open ones at most."""
    cdef double total = settings.linger_timeout
    cdef Lingering made = Lingering(name, min(total, <double>SILENCE))
    made.total = total
    made.most = settings.limit_linger
    made.crowd = max(CROWD, connections // 4)
    made.crowded = (
        f"more than {made.crowd} connections linger (a quarter of connections, {CROWD} in any case): the oldest ends"
    )
    return made
