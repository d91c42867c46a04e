"""One green thread per connection: `handler(stream)` for any protocol.

    accepted -> the handler, in a green thread of a pool -> what it has written leaves -> lingering -> closed

The handler owns the stream while it runs and may block in it. When it returns, the rest of its output is sent without a
green thread, then the connection is closed for writing and read on for a moment, so that the peer gets the last bytes
instead of a reset. When it raises, the connection is reset: a broken dialogue must not look like a finished one.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t

from greenhttp.green.acceptor cimport Acceptor
from greenhttp.green.arrival cimport Arrivals
from greenhttp.process.board cimport Board
from greenhttp.green.deadline cimport Phase
from greenhttp.green.lingering cimport lingering, share
from greenhttp.green.pool cimport TO_CUT, Job, Pool, Worker, in_progress
from greenhttp.green.stream cimport Stream
from greenhttp.green.tls cimport Certificates
from greenhttp.green.transport cimport SocketStream, adopt, sockaddr_storage
from greenhttp.green.waiting cimport Wait
from greenhttp.process.clock cimport clock

from greenlet import GreenletExit

from greenhttp.errors import StreamTimeout, StreamTruncated, TLSError

cdef class Spawner:
    """What all connections of one handler share.

    Arguments:
        handler: called with the Stream of each connection, in a green thread of its own.
        settings: a config.Settings, or anything with its attributes.
        connections: open connections at most, and so green threads.
        report: report(level, message, exc_info=None), for the log; must neither block nor raise.
        hub: gevent's hub, by default that of this thread.
        noise: noise(kind, message, level="info"), for what outsiders can make the log say at will: connections that
            break. As `report`, which it is by default.
        certificates, retort: for doors that are `secure`, see arrival.Arrivals.
        preface: how to read what comes before the handler's first byte, see arrival.Arrivals; None: nothing does.
    """

    def __init__(
        self, handler, settings, int64_t connections, report, hub=None, noise=None, preface=None,
        Certificates certificates=None, retort=None,
    ):
        cdef SpawnedArrivals arrivals
        s = settings
        self.handler = handler
        self.report = report
        self.noise = noise if noise is not None else lambda kind, message, level="info": report(level, message)
        self.max_connections = connections
        self.arriving = Phase("arriving", 0.0 if preface is None else s.proxy_timeout)
        self.handshaking = Phase("handshaking", s.tls_timeout)
        self.fresh = Phase("fresh")
        self.running = Phase("running")
        self.flushing = Phase("flushing", s.write_timeout, s.write_min_rate, s.min_rate_after, "write")
        self.lingering = lingering("lingering", s, connections)
        self.writing = Phase("writing", s.write_timeout, s.write_min_rate, s.min_rate_after, "write")
        self.phases = (
            self.arriving, self.handshaking, self.fresh, self.running, self.flushing, self.lingering, self.writing,
        )
        self.pool = Pool(connections, connections, hub=hub)
        if preface is not None or certificates is not None:
            arrivals = SpawnedArrivals(
                self.pool, self.arriving, s.proxy_allow_from, preface, self.noise, self.handshaking, retort
            )
            arrivals.spawner = self
            arrivals.certificates = certificates
            self.arrivals = arrivals
        self.lingers = s.linger_timeout > 0
        self.doors = []

    def show(self, Board board):
        """List on this board what runs."""
        self.board = board

    def in_progress(self):
        """As Service.in_progress; the text is the peer's address."""
        return in_progress(self.board, (self.running,))

    def renew(self, certificates):
        """From now on handshakes are made with these certificates."""
        if self.arrivals is not None:
            self.arrivals.certificates = certificates

    def announce_close(self):
        """The server stops. Nothing to say: what an announcement looks like is the protocol's business."""

    def when_empty(self, callback):
        """Call `callback` when the last connection has gone, which may be now."""
        self.emptied = callback
        if self.open_connections == 0:
            callback()

    cdef int make_way(self) except -1:
        """Accepting had to wait, and there may be room now."""
        self.full = False
        for door in self.doors:
            door.go_on()
        return 0

    cdef int left(self) except -1:
        """A connection has gone."""
        if self.full:
            self.make_way()
        if self.open_connections == 0 and self.emptied is not None:
            self.emptied()
        return 0

    def statistics(self):
        """As Service.statistics."""
        return {
            "connections": self.open_connections, "served": self.served,
            **{phase.name: phase.count for phase in self.phases},
            **self.pool.statistics(),
        }


cdef class SpawnedJob(Job):
    """One connection. Owned by the phase it is in, and by the green thread that runs its handler."""

    cdef int run(self) except -1:
        try:
            return self.handle()
        except BaseException:
            self.close(True)                    # never a connection without a state, a watcher or a deadline
            raise

    cdef int handle(self) except -1:
        cdef Spawner spawner = self.spawner
        cdef Worker worker = self.worker
        cdef bytes peer
        spawner.served += 1
        self.enter(spawner.running)
        if spawner.board is not None:
            peer = self.listed().encode("ascii", "replace")
            worker.place = spawner.board.note(PyBytes_AS_STRING(peer), PyBytes_GET_SIZE(peer))
        try:
            spawner.handler(self.stream)
        except BaseException as error:
            if spawner.pool.forked is not None:
                spawner.pool.forked(self.who(), error)
            return self.failed(error)
        finally:
            if worker.place >= 0:
                spawner.board.strike(worker.place)
                worker.place = -1
        if spawner.pool.forked is not None:
            spawner.pool.forked(self.who(), None)
        self.done = True
        if self.stream.closed:
            return self.close(False)
        # If a green thread that the handler left behind still reads or writes: the stream is no longer its own.
        self.stream.expel("the handler of the stream has returned")
        return self.settle()

    cdef int failed(self, object error) except -1:
        cdef Stream stream = self.stream
        cdef bint gone = (stream.failed or stream.closed) and isinstance(error, (ConnectionError, StreamTimeout))
        if isinstance(error, GreenletExit):
            pass                                # the server, or somebody else, wanted it to end
        elif gone or stream.at_end and isinstance(error, EOFError):
            self.lost(error)
        else:
            self.spawner.report("error", f"{self.who()}: {type(error).__name__} in the handler", error)
            self.spawner.pool.pass_on(error)
        return self.close(True)

    cdef str who(self):
        """The peer, for the log."""
        return self.stream.who() or "a peer"

    cdef str listed(self):
        """The peer, for the board: without the system call that it takes to know the process behind a UNIX socket."""
        unix = type(self.stream) is SocketStream and (<SocketStream>self.stream).family == 0
        return "a UNIX peer" if unix else self.who()

    cdef int lost(self, object error) except -1:
        """Log how the peer was lost."""
        cdef str how = f"the peer disconnected ({type(error).__name__})"
        if isinstance(error, StreamTimeout):
            how = f"{error}; its connection was aborted"
        elif isinstance(error, TLSError) and not isinstance(error, StreamTruncated):
            how = f"TLS failed: {error}"
        elif self.stream.lost:
            how = f"the peer disconnected ({error})"
        self.spawner.noise("disconnections", f"{self.who()}: {how}")
        return 0

    cdef Phase output_phase(self):
        return self.spawner.writing if self.spawner is not None else None

    cdef bint ready(self, bint writing) except -1:
        if not self.done:
            return False                        # unread bytes stay where they are
        if writing == self.hung_up and (writing or not self.spawner.lingering.hears(self.stream)):
            return False
        self.spawner.pool.wake(self)
        return not self.busy                    # if it is, whoever is will have it watched again

    cdef int stream_closed(self) except -1:
        if self.done and self.spawner is not None:
            self.spawner.pool.submit(self)
        return 0

    cdef int gave_up(self, object error) except -1:
        if self.spawner is not None:
            self.spawner.noise("disconnections", f"{self.who()}: output was lost: {error}")
        return 0

    cdef bint advance(self) except -1:
        if self.spawner is None:
            return False                        # it was cut while it was queued
        if not self.done:
            return True
        try:
            if self.stream.closed:
                self.close(False)           # by a green thread that the handler has left behind
            elif self.hung_up:
                self.linger()
            else:
                self.drop_ahead()
                self.settle()
        except OSError:
            self.close(True)
        except BaseException:
            self.close(True)            # a signal's handler has raised, say: between two states
            raise
        return False

    cdef int settle(self) except -1:
        """The handler is done: send what it has written, then end the connection."""
        cdef Spawner spawner = self.spawner
        cdef Stream stream = self.stream
        cdef int64_t before = stream.pending()
        cdef bint stalled = self.phase is spawner.flushing
        if stream.lost or stream.closed:
            return self.close(True)             # output of the handler was given up: nothing may look like its end
        try:
            stream.finishing = stream.parting()     # TLS says goodbye behind the last of its output
            if (before or stream.finishing) and not stream.flush_now():
                if not stalled or stream.pending() < before:
                    stream.progressed()
                    self.enter(spawner.flushing)
                if not stalled:
                    spawner.lingering.meanwhile(stream)
                if spawner.lingering.hears(stream):
                    stream.watch_read()
                stream.watch_write(True)
                return 0
            stream.watch_write(False)
            if not spawner.lingers or stream.at_end:
                return self.close(False)
            stream.hang_up()
            self.hung_up = True
            if spawner.lingering.begin(self, stream):
                spawner.noise("overload", spawner.lingering.crowded, "warning")
            return self.linger()
        except OSError as error:
            if not stream.closed:
                self.lost(error)
            return self.close(True)

    cdef int drop_ahead(self) except -1:
        """Its output has not left, perhaps because the peer does not read before it has sent all: that is dropped
        meanwhile."""
        cdef Spawner spawner = self.spawner
        cdef Py_ssize_t n
        if self.phase is not spawner.flushing or not spawner.lingering.hears(self.stream):
            return 0
        try:
            n = self.stream.drop(share(self.phase.count))
        except OSError:
            return 0                            # reset: whoever sends the rest of the output meets it, and says so
        if n > 0:
            self.stream.taken += n
        if spawner.lingering.dropped(self.stream):
            self.enter(spawner.flushing)
        return 0

    cdef int linger(self) except -1:
        if self.spawner.lingering.read_on(self, self.stream):
            return 0
        return self.end_lingering(clock())

    cdef int end_lingering(self, double now) except -1:
        cdef str why = self.spawner.lingering.why(self.stream, now)
        if why is not None:
            self.spawner.noise("disconnections", f"{self.who()}: the connection was closed: {why}")
        return self.close(False)

    cdef int refuse(self) except -1:
        return self.close(True)

    cdef int expired(self, Phase phase, double now) except -1:
        cdef bint slowly
        cdef str how
        if self.spawner is None:
            return 0                            # it is being closed
        if self.busy:
            self.enter(phase)
            return 0
        if phase is self.spawner.flushing:
            if self.stream.takes_enough(phase, now):
                self.enter(phase)
                return 0
            try:
                slowly = self.stream.writes_slowly(phase, now)
                how = f"the peer read {phase.broken(slowly)}; its connection was aborted"
                self.spawner.noise("disconnections", f"{self.who()}: {how}")
            finally:
                self.close(True)        # whatever the log does: it is in no phase now
            return 0
        if phase is self.spawner.lingering:
            try:
                return 0 if self.spawner.lingering.heard(self, self.stream, now) else self.end_lingering(now)
            except OSError:
                return self.close(True)
        return self.close(False)

    cdef bint is_slow(self, double now) noexcept:
        cdef Spawner spawner = self.spawner
        return spawner is not None and self.phase is spawner.flushing and self.stream.writes_slowly(self.phase, now)

    cdef int close(self, bint reset) except -1:
        cdef Spawner spawner = self.spawner
        if spawner is None:
            return 0
        self.spawner = None
        self.done = self.hung_up = True
        try:
            self.stream.finish(reset)
        finally:
            self.stream.job = None
            self.leave()
            spawner.open_connections -= 1
        return spawner.left()

    def retire(self):
        """The server stops: nothing to do, the handler knows best when its dialogue is over."""

    def cut(self):
        """The server cannot wait any longer: end this connection, and its handler, now."""
        worker = self.worker
        if self.busy:
            self.missed |= TO_CUT               # whatever becomes of the kill, whoever is busy with it closes it then
        if worker is not None:
            self.stream.finish(True)
            worker.kill()
        elif not self.busy:
            self.close(True)

    def unfinished(self):
        """What a stop would cut here: state, peer, seconds, green thread, what it waits for; or None."""
        cdef Worker worker = self.worker
        cdef Wait wait = self.stream.wait
        cdef double seconds = -1
        cdef str waits = ""
        if self.spawner is None or self.hung_up:
            return None
        if self.done:
            return "sending", self.who(), seconds, None, ""
        if worker is None:
            return "queued", self.who(), seconds, None, ""
        if self.spawner.board is not None and worker.place >= 0:
            seconds = self.spawner.board.entry(worker.place)[0]
        if wait is not None and (wait.reads or wait.writes):
            waits = "waiting for its peer to send" if wait.reads else "waiting for its peer to read"
        return "running", self.who(), seconds, worker, waits

    cdef int abandon(self, bint ours) except -1:
        self.spawner = None                     # so that nothing is told of its end
        return self.stream.abandon(ours)

    cdef int told_late(self, int missed) except -1:
        if missed & TO_CUT:
            self.close(True)
        return 0


cdef class SpawnDoor(Acceptor):
    """Where connections come in."""

    def __init__(self, Spawner spawner, sock, int batch=256, bint secure=False):
        Acceptor.__init__(self, spawner.pool.loop, sock, self.say, batch)
        self.secure = secure
        self.spawner = spawner
        spawner.doors.append(self)

    def say(self, line):
        self.spawner.report("warning", line)

    cdef int64_t load(self) noexcept:
        return self.spawner.open_connections

    cdef bint crowded(self) noexcept:
        return self.spawner.open_connections >= self.spawner.max_connections

    cdef bint admit(self) except -1:
        if self.spawner.arrivals is not None and self.spawner.arrivals.give_way():
            return True
        self.spawner.full = True
        return False

    cdef int connected(self, int fd, sockaddr_storage* peer) except -1:
        cdef Spawner spawner = self.spawner
        if spawner.arrivals is not None and spawner.arrivals.expects(self.secure):
            spawner.arrivals.receive(adopt(fd, peer), None, self.secure)
        else:
            spawner.pool.wake(spawned(spawner, adopt(fd, peer)))
        return 0


cdef SpawnedJob spawned(Spawner spawner, Stream stream):
    cdef SpawnedJob job = SpawnedJob.__new__(SpawnedJob)
    job.spawner = spawner
    job.stream = stream
    stream.job = job
    spawner.open_connections += 1
    job.enter(spawner.fresh)
    return job


cdef class SpawnedArrivals(Arrivals):
    """What comes before the handler's first byte. `connections` alone bounds the memory of handshakes:
    48 KiB each, 48 MiB for a thousand."""

    cdef Spawner spawner

    cdef Job welcome(self, Stream stream, object base):
        return spawned(self.spawner, stream)

    cdef void count(self, int change) noexcept:
        self.spawner.open_connections += change

    cdef int make_way(self) except -1:
        return self.spawner.make_way() if self.spawner.full else 0

    cdef int gone(self) except -1:
        self.spawner.open_connections -= 1
        return self.spawner.left()
