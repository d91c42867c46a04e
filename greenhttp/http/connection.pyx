"""One connection's life. This page is the whole of it:

    accepted -> HEAD -> RUNNING -> [FLUSH] -> [DRAIN] -> HEAD ...       while requests come
                                   [FLUSH] -> [LINGER] -> CLOSED        after the last answer, or the first error

`run` is a green thread's part: requests as they come, answered in order. All else is `advance`, which never blocks and
holds no green thread: reading a head, flushing the rest of a finished answer, dropping the rest of a body, lingering.
Each state is a phase with a deadline; `expired` says how each of them ends.

Foreign code (a finalizer, a signal's handler) may run, and wait, inside of either. Meanwhile the connection is `busy`:
nobody else advances it, and what others want of it - that it expires, retires, is cut - waits until that is over.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp

from greenhttp.green.acceptor cimport Acceptor
from greenhttp.green.arrival cimport Arrival, Arrivals
from greenhttp.green.deadline cimport Node, Phase, owner
from greenhttp.green.lingering cimport Lingering, share
from greenhttp.green.pool cimport BECAME_READY, TO_CUT, TO_RETIRE, Job, Worker, silent
from greenhttp.green.chunks cimport held_bytes
from greenhttp.green.stream cimport FilePart, Stream
from greenhttp.green.tls cimport Certificates
from greenhttp.green.transport cimport MemoryStream, SocketStream, adopt, sockaddr_storage
from greenhttp.green.waiting cimport Wait
from greenhttp.http.application cimport NO_ANSWER, App, Observer, answer_request, entrance_of, lost
from greenhttp.http.body cimport NOTHING, Body, StreamBody, body_of
from greenhttp.http.exchange cimport Entrance, Exchange, Reach
from greenhttp.http.request cimport CUT_SHORT, Request
from greenhttp.http.response cimport head_wants_json, refusal, wants_json as request_wants_json
from greenhttp.http.service cimport Service, naming
from greenhttp.process.clock cimport clock
from greenhttp.wire.body cimport CHUNK_HEAD_MAX, LAST_CHUNK_SIZE, put_chunk_head, put_last_chunk
from greenhttp.wire.head cimport Framing, Head
from greenhttp.wire.response cimport ResponseHead, Transfer

from math import ceil

from greenhttp.errors import BodyError, StreamClosed, WireError
from greenhttp.http.preface import preface_of, retort
from greenhttp.http.refusals import other_protocol
from greenhttp.settings.address import as_ipv4

cdef enum:
    SHARE = 16                  # requests of one connection in one turn of the loop
    COALESCE = 65536            # bytes of answers gathered before they are sent although more requests are there
    SPOKEN = 16                 # bytes that tell another protocol from HTTP/1


cdef Connection open_connection(Service service, Stream stream, Entrance base):
    cdef Connection connection = Connection.__new__(Connection)
    connection.service = service
    connection.stream = stream
    connection.base = base
    stream.job = connection
    service.open_connections += 1
    connection.enter(service.fresh)
    return connection


def connect_memory(Service service, MemoryStream stream not None):
    """A connection as a Door makes one, to a peer in memory: for `greenhttp.testing`."""
    cdef Connection connection = open_connection(service, stream, (<App>service.app).prepare("localhost", 80))
    service.pool.submit(connection)
    return connection


def arrive_memory(Service service, MemoryStream stream not None):
    """The same for one that begins with what comes before HTTP, if its server expects that: an Arrival then."""
    cdef Arrival arrival
    if service.arrivals is None:
        return connect_memory(service, stream)
    arrival = service.arrivals.receive(stream, (<App>service.app).prepare("localhost", 80), False)
    service.pool.submit(arrival)
    return arrival


cdef class ServiceArrivals(Arrivals):
    """What comes before HTTP, where the settings ask for it. Made by `expect_prefaces`."""

    cdef Service service

    cdef Job welcome(self, Stream stream, object base):
        # Here the protocol that was agreed on (ALPN, RFC 7301) chooses what the stream becomes. HTTP/1 is all there is,
        # and whoever has agreed on nothing gets that too: it may have offered others alone, and yet speak it.
        return open_connection(self.service, stream, entrance_of(<App>self.service.app, stream, <Entrance>base))

    cdef void count(self, int change) noexcept:
        self.service.open_connections += change

    cdef int make_way(self) except -1:
        return self.service.make_way() if self.service.full else 0

    cdef int gone(self) except -1:
        self.service.open_connections -= 1
        return left(self.service)

    cdef int relieve(self) except -1:
        if held_bytes() > <size_t>self.service.limit_buffers:
            return crowd_out(self.service, None)
        return 0


def expect_prefaces(Service service not None, Certificates certificates=None):
    """From now on connections begin with what comes before HTTP: a PROXY header, if the settings ask for that, and, by
    doors that are `secure`, the handshake of TLS."""
    cdef ServiceArrivals arrivals
    cdef object settings = service.settings
    cdef object read = preface_of(settings.proxy_protocol)
    if read is not None or certificates is not None:
        arrivals = ServiceArrivals(
            service.pool, service.arriving, settings.proxy_allow_from, read, service.noise, service.handshaking, retort
        )
        arrivals.service = service
        arrivals.certificates = certificates
        service.arrivals = arrivals


cdef int left(Service service) except -1:
    """A connection has gone."""
    if service.full:
        service.make_way()
    if service.open_connections == 0 and service.emptied is not None:
        service.emptied()
    return 0


cdef class Connection(Exchange):
    """See the module. Made by `open_connection`; owned by the phase it is in."""

    # A green thread's part --------------------------------------------------------------------------------------------

    cdef int run(self) except -1:
        try:
            return self.answer_requests()
        except OSError:
            self.show_end()
            return self.close(True)             # the peer has gone
        except BaseException:
            self.show_end()
            self.close(True)                    # never a connection without a state, a watcher or a deadline
            raise

    cdef int answer_requests(self) except -1:
        cdef int answered = 0
        cdef Worker worker = self.worker
        if self.suspect:
            self.suspect = False
            if type(self.stream) is SocketStream and (<SocketStream>self.stream).gone():
                return self.close(True)         # it went away while it was queued: nobody waits for the answer
        while True:
            self.serve()
            answered += 1
            if self.stream.lost:
                return self.close(True)         # an answer is cut: nothing may follow
            if self.state != State.RUNNING or self.closing or self.rest is not None:
                break                           # the last answer, or there is a body to get rid of first
            if self.stream.in_end == self.stream.in_pos:
                break                           # nothing more has come
            if self.stream.pending() > COALESCE:
                break                           # enough to send
            if worker.reserved:
                break                           # what comes next may not be what the reserve is for
            if not self.parse():
                break                           # not a whole head, or not HTTP
            if answered == SHARE or not self.service.pool.renew(worker, 2):
                break                           # others first, or this green thread is held by somebody
        if self.state == State.RUNNING:
            self.settle()
        return 0

    cdef int serve(self) except -1:
        """One request: from a complete head to an answer in the stream's output."""
        cdef Head head = self.head
        cdef Body body = NOTHING
        self.head = None
        self.state = State.RUNNING
        self.enter(self.service.running)
        self.stream.sealed = False
        self.stream.pinned = True                               # until `head_used`
        if head.framing != Framing.NO_BODY:
            body = body_of(self.service, self.stream, head)     # foreign code may run in there, and this be cut
        head.base = self.stream.inbuf + self.stream.in_pos      # the buffer may have moved since it was parsed
        return answer_request(self, head, body, self.base)

    cdef int head_used(self, Head head) except -1:
        return self.stream.unpin(head.head_size)                # its bytes leave the stream, the body is next

    cdef int inform(self, ResponseHead head, Head asked) except -1:
        if asked.minor > 0:                                     # RFC 9110 15.2: never to a client of HTTP/1.0
            head.close_block()
            self.stream.put(head.data, head.size)
        return 0

    cdef int start(self, ResponseHead answer, Head asked, Body content, int64_t known) except -1:
        """Also decides whether the connection persists (RFC 9112 9.3)."""
        cdef Service service = self.service
        # A client that was not told to continue may or may not send its body: where the next request begins is unknown.
        cdef bint keep = asked.keep_alive and not content.expecting and not content.broken
        if service.stopping and not (content.done and self.stream.in_end > self.stream.in_pos):
            keep = False                # the last answer; a request that is here already still gets its own
        if content.left() > DRAIN_BYTES:
            # What stays unread of it would not be drained; the close must have been announced by then (RFC 9112 9.6).
            # An application that still reads it all, while it answers, loses a connection it could have kept.
            keep = False
        answer.frame(asked.is_head, asked.minor, keep, known, service.date, service.server)
        content.expecting = False
        self.stream.put(answer.data, answer.size)
        if not answer.keep_alive:
            self.closing = True
        return 0

    cdef int piece(self, ResponseHead answer, bytes data) except -1:
        cdef char* p
        cdef Py_ssize_t n
        if answer.transfer != Transfer.CHUNKS:
            return self.stream.put_object(data)
        n = PyBytes_GET_SIZE(data)
        try:
            p = self.stream.reserve(CHUNK_HEAD_MAX)
            self.stream.commit(put_chunk_head(p, n) - p)
            self.stream.put_object(data)
            return self.stream.put(b"\r\n", 2)
        except BaseException:
            self.stream.lost = True             # no memory: part of a chunk is out
            raise

    cdef int file(self, ResponseHead answer, FilePart part) except -1:
        return self.stream.put_file(part)       # which the kernel sends, without this green thread

    cdef int end(self, ResponseHead answer, ResponseHead trailers, int64_t missing) except -1:
        cdef char* p
        if missing:
            self.closing = True                 # before what was announced has come: the client notices
        elif answer.transfer != Transfer.CHUNKS:
            return 0
        elif trailers is None:
            p = self.stream.reserve(LAST_CHUNK_SIZE)
            self.stream.commit(put_last_chunk(p) - p)
        else:
            trailers.close_block()
            self.stream.put(b"0\r\n", 3)
            self.stream.put(trailers.data, trailers.size)
        return 0

    cdef int flush(self) except -1:
        return self.stream.flush_all()

    cdef int abort(self) except -1:
        return self.close(True)

    cdef int reach(self) noexcept:
        if self.stream.failed or self.stream.closed:
            return Reach.GONE
        return Reach.LOST if self.stream.lost else Reach.OPEN

    cdef bint gone(self) except -1:
        return self.stream.left()

    cdef bint part(self, Head head, Body content) except -1:
        cdef bint left
        self.last = not head.keep_alive
        if not content.done:
            if content.broken:
                self.closing = True
            if self.state != State.CLOSED:
                self.rest = <StreamBody>content
        left = self.stream.expel("the request is over")
        if left:
            self.closing = True
        if self.rest is None:
            content.detach()
        return left and self.state != State.CLOSED

    cdef Phase input_phase(self):
        return self.service.body                # whoever reads from the stream while it runs, reads content

    cdef Phase output_phase(self):
        return self.service.writing

    # Without a green thread -------------------------------------------------------------------------------------------

    cdef int gave_up(self, object error) except -1:
        if isinstance(error, StreamClosed):     # a file
            self.service.report("error", f"{self.stream.about()}the answer was cut and the connection closed: {error}")
        else:
            self.service.noise("disconnections", f"{self.stream.about()}{lost(error)} while it was answered")
        return 0

    cdef bint ready(self, bint writing) except -1:
        if self.busy and self.state != State.RUNNING:
            self.missed |= BECAME_READY         # looked at once that is done
            return False
        if self.state == State.RUNNING:
            return False                        # unread bytes stay where they are
        if self.phase is self.service.queued or (
            self.state == State.HEAD and self.head is not None and self.head.head_size
        ):
            return False                        # its request is complete, and waits for a green thread
        if (self.state == State.FLUSH) != writing and (writing or not self.hears()):
            return False
        self.service.pool.wake(self)
        return True

    cdef bint advance(self) except -1:
        if self.service.full and self.phase is self.service.fresh:
            self.service.make_way()             # accepting waited for newcomers to be looked at
        try:
            if self.state == State.HEAD:
                return self.head is not None and self.head.head_size > 0 or self.receive()
            if self.state == State.FLUSH:
                self.drop_ahead()
                self.settle()
            elif self.state == State.DRAIN:
                self.drain(False)
            elif self.state == State.LINGER:
                self.linger()
        except OSError:
            self.close(True)                    # reset by the peer
        except BaseException:
            self.close(True)                    # a signal's handler has raised, say: between two states
            raise
        return False

    cdef bint urgent(self) noexcept:
        """Whether this is the health check: for that path, and without content, for which the reserve would wait."""
        cdef bytes path = self.service.health_path
        cdef Head head = self.head
        if path is None or head.path_len != <size_t>PyBytes_GET_SIZE(path) or head.framing != Framing.NO_BODY:
            return False
        return memcmp(
            self.stream.inbuf + self.stream.in_pos + head.path_at, PyBytes_AS_STRING(path), head.path_len
        ) == 0

    cdef bint receive(self) except -1:
        """Take what has come of a head. True: it is complete."""
        cdef Py_ssize_t n, most = self.service.limit_pipeline
        if self.stream.in_end > self.stream.in_pos and self.parse():
            return True
        while not self.refused:
            n = self.stream.fill_some(most)     # all of it may be further requests
            if n < 0:
                break                           # no more for now
            if n == 0:
                self.close(False)               # the peer has finished; half a head is no request
                return False
            if self.parse():
                return True
            if self.stream.in_end < self.stream.in_cap and n < most:
                break                           # that was all that had come
        if not self.refused:
            self.park()
        return False

    cdef bint completed(self) except -1:
        """The time for a head is up. True: it needs no answer, because the head is here after all, or was refused."""
        cdef bint complete = False
        try:
            if self.stream.in_end > self.stream.in_pos:
                complete = self.parse()         # perhaps nobody has come to look at it yet
            while not complete and not self.refused and self.stream.fill_some(self.service.limit_pipeline) > 0:
                complete = self.parse()
        except OSError:
            self.close(True)
            return True
        if complete:
            self.enter(self.service.heading)
            self.service.pool.again(self)
        return complete or self.refused

    cdef bint parse(self) except -1:
        """Go on with the head in the buffer. True: it is complete. An error is answered here."""
        if self.head is None:
            self.head = self.service.take_head()
        try:
            return self.head.parse(self.stream.inbuf + self.stream.in_pos, self.stream.in_end - self.stream.in_pos) > 0
        except WireError as error:
            self.turn_away(error.status, None, self.spoken() or self.service.why(error))
            return False

    cdef str spoken(self):
        """What the peer speaks in the place of HTTP/1, if that is known."""
        cdef Stream stream = self.stream
        if self.head.fields_at or stream.inbuf == NULL:
            return None                         # it has begun as HTTP/1 does
        return other_protocol(stream.inbuf[stream.in_pos:min(stream.in_end, stream.in_pos + SPOKEN)])

    cdef int settle(self) except -1:
        """The answers are complete: send them; what does not leave at once leaves without a green thread."""
        cdef int64_t before = self.stream.pending()
        cdef bint stalled = self.state == State.FLUSH
        cdef bint parting = self.closing and self.stream.parting()      # TLS says goodbye behind the last of it
        cdef bint known = self.stream.failed    # and said, by whoever has met it
        if self.stream.lost or self.stream.closed:
            return self.close(True)             # an answer is cut: nothing may follow
        if before or parting:
            self.stream.finishing = self.closing and (not stalled or parting)
            try:
                if not self.stream.flush_now():
                    self.stream.finishing = False
                    self.state = State.FLUSH
                    if not stalled or self.stream.pending() < before:
                        self.stream.progressed()
                        self.enter(self.service.flushing)       # its silence begins anew
                    self.stream.pack()
                    if self.rest is not None:
                        if not stalled:
                            self.service.lingering.meanwhile(self.stream)
                        if self.hears():
                            self.stream.watch_read()
                    self.stream.watch_write(True)
                    if held_bytes() > <size_t>self.service.limit_buffers:
                        self.shed()             # what it has sent ahead counts too
                    return 0
            except OSError as error:
                if not self.stream.closed and not known:
                    self.gave_up(error)
                return self.close(True)
            self.stream.watch_write(False)
        return self.proceed()

    cdef bint hears(self) noexcept:
        """Whether there is content to drop while an answer leaves."""
        return self.rest is not None and self.service.lingering.hears(self.stream)

    cdef int drop_ahead(self) except -1:
        """The answer has not left, perhaps because its client does not read before it has sent all that nobody wants to
        read: that is dropped meanwhile."""
        cdef Py_ssize_t n
        if not self.hears():
            return 0
        try:
            if self.closing:
                n = self.stream.drop(share(self.service.flushing.count))
                if n > 0:
                    self.stream.taken += n
            elif self.rest.discard_now():
                self.rest.detach()
                self.rest = None
        except (BodyError, WireError):
            self.closing = True                 # the position in the stream is unknown
        except OSError as error:
            self.gave_up(error)
            return self.close(True)             # reset, so nothing of the answer arrives any more
        if self.service.lingering.dropped(self.stream):
            self.enter(self.service.flushing)
        return 0

    cdef int proceed(self) except -1:
        """Every answer has left."""
        cdef Stream stream = self.stream
        if self.closing:
            if self.service.lingers and self.unread():
                # Closing with unread input would reset the connection, and the answer with it (RFC 9112 9.6).
                self.state = State.LINGER
                if self.service.lingering.begin(self, stream):
                    self.service.noise("overload", self.service.lingering.crowded, "warning")
                stream.hang_up()
                return self.linger()
            return self.close(False)
        if self.rest is not None:
            if not self.service.lingers and self.rest.left() > stream.in_end - stream.in_pos:
                return self.close(False)        # no time to wait for the rest of the body
            self.state = State.DRAIN
            return self.drain(True)
        self.state = State.HEAD
        if stream.in_end > stream.in_pos or self.head is not None:
            self.enter(self.service.heading)
            self.service.pool.again(self)      # the next request is here, or part of it
            return 0
        if stream.at_end:
            return self.close(False)
        stream.calm()
        self.enter(self.service.idle)
        if self.service.closes_idle:
            return self.see_off()
        return self.park()

    cdef bint unread(self) except -1:
        """Whether the peer has sent, or may be sending, what nobody will read."""
        if self.refused or self.rest is not None or self.stream.in_end > self.stream.in_pos:
            return True
        # A client that said `Connection: close` sends nothing more: no need to look.
        return not self.last and not self.stream.at_end and self.stream.fill_now() > 0

    cdef int park(self) except -1:
        """Put the connection aside until the peer sends."""
        cdef Stream stream = self.stream
        if stream.inbuf != NULL:
            stream.pack()
            if self.phase is self.service.idle:
                self.enter(self.service.heading)
            if held_bytes() > <size_t>self.service.limit_buffers:
                self.shed()
                if self.state != State.HEAD:
                    return 0
        elif self.head is not None:
            self.service.give_head(self.head)
            self.head = None
        stream.watch_read()
        if self.service.full:
            self.service.make_way()
        return 0

    cdef int shed(self) except -1:
        return crowd_out(self.service, self)

    cdef int give_way(self) except -1:
        cdef str reason = self.service.crowded
        if self.state == State.FLUSH:
            self.service.noise("overload", f"{self.stream.about()}aborted: {reason}", "warning")
            return self.close(True)             # it cannot be told anything: it does not read
        return self.turn_away(431, None, reason)

    cdef int drain(self, bint first) except -1:
        cdef StreamBody rest = self.rest
        cdef bint at_end
        try:
            # Nobody knows how many chunks will come, so no close was announced, and behind them the client may send
            # its next request: they are dropped to their end, as long as limit_request_body and the phase allow.
            if rest.left() > DRAIN_BYTES:
                raise BodyError(400, "more than is worth reading")
            at_end = rest.discard_now()
        except (BodyError, WireError):
            self.closing = True                 # the position in the stream is unknown
            return self.proceed()
        if not at_end:
            if not self.service.lingers:
                return self.close(False)        # no time to wait for more chunks: the phase has none and would not end
            if first:
                if self.service.draining.begin(self, self.stream):
                    self.service.noise("overload", self.service.draining.crowded, "warning")
            elif not self.service.draining.renew(self, self.stream):
                return self.end_lingering(self.service.draining, clock())
            self.stream.watch_read()
            return 0
        rest.detach()
        self.rest = None
        return self.proceed()

    cdef int linger(self) except -1:
        if self.service.lingering.read_on(self, self.stream):
            return 0
        return self.end_lingering(self.service.lingering, clock())

    cdef int end_lingering(self, Lingering phase, double now) except -1:
        cdef str why = phase.why(self.stream, now)
        if why is not None:
            self.service.noise("disconnections", f"{self.stream.about()}the connection was closed: {why}")
        return self.close(False)

    cdef Head whole_head(self):
        """The head of a request that no application has seen; None where it is not whole."""
        cdef Head head = self.head
        if head is None or head.head_size == 0 or self.stream.inbuf == NULL:
            return None
        head.base = self.stream.inbuf + self.stream.in_pos              # the buffer may have moved
        return head

    cdef str asked(self):
        """`GET /path`, for the log; None where the head is not whole."""
        cdef Head head = self.whole_head()
        return None if head is None else f"{head.method} {head.text(head.target_at, head.target_len).partition('?')[0]}"

    cdef str id(self):
        """The ID of a request that no application has seen, or None."""
        try:
            return self.service.origins.id_of(self.whole_head(), self.stream)
        except Exception:
            return None                         # no memory; whatever ends this connection goes on

    cdef int turn_away(self, int status, object retry_after, str reason) except -1:
        """Refuse: an answer of the server itself, then no more of this connection. `reason`: for the log."""
        cdef bytes text
        cdef bint is_head
        cdef str id = self.id()
        self.service.refused(self.stream, self.asked(), status, reason, id)
        is_head = self.head is not None and self.head.is_head       # also when it was refused behind its first line
        text = self.sorry(status, retry_after, self.wants_json(), is_head, id)
        self.closing = self.refused = True
        if self.service.observer is not None:
            self.tell(status, content_size(text), False, id)
        if self.head is not None:
            self.head.reset()
            self.service.give_head(self.head)
            self.head = None
        self.stream.consume(self.stream.in_end - self.stream.in_pos)    # nobody will read it
        self.stream.put(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        try:
            return self.settle()
        except OSError:
            return self.close(True)

    cdef bytes sorry(self, int status, object retry_after, bint as_json, bint is_head, str id):
        """An answer of the server itself, whole; the last on this connection."""
        cdef bytes text = refusal(self.service, status, retry_after, as_json, id)
        return text[:text.index(b"\r\n\r\n") + 4] if is_head else text

    cdef bint wants_json(self) except -1:
        """Whether its head is whole and asks for JSON; what is not a whole head is answered with text."""
        cdef Head head = self.whole_head()
        return head is not None and head_wants_json(head)

    cdef void tell(self, int status, int64_t sent, bint cut, str id) noexcept:
        """Tell the observer of a request that no application has seen."""
        cdef Head head = self.head
        cdef Stream stream = self.stream
        cdef bytes line = None
        if head is not None:
            if head.fields_at and stream.inbuf != NULL:
                head.base = stream.inbuf + stream.in_pos                # the buffer may have moved
            else:
                if stream.inbuf != NULL:
                    line = self.refused_line()
                head = None
        stream.pinned = True                    # foreign code may run in there, and this be cut
        (<Observer>self.service.observer).refused(stream, head, line, status, sent, cut, id)
        self.stream.unpin(0)

    cdef bytes refused_line(self):
        cdef Stream stream = self.stream
        try:
            return self.head.refused_line(stream.inbuf + stream.in_pos, stream.in_end - stream.in_pos)
        except BaseException:
            return None                         # no memory

    cdef int wait(self) except -1:
        self.suspect = True
        self.stream.pack()
        return 0

    cdef int refuse(self) except -1:
        return self.overloaded(self.service.queue_full())

    cdef int overloaded(self, str reason) except -1:
        """No green thread is free, and the queue is full or the wait in it was too long."""
        if self.suspect and type(self.stream) is SocketStream and (<SocketStream>self.stream).gone():
            return self.close(True)
        return self.turn_away(503, max(1, ceil(self.service.queued.duration)), reason)

    cdef int expired(self, Phase phase, double now) except -1:
        if self.busy:
            if self.state == State.RUNNING:
                return self.run_out(phase, now)
            self.enter(phase)                   # whatever is being done ends the wait in another way
            return 0
        self.busy = True
        try:
            return self.run_out(phase, now)
        except BaseException:
            self.close(True)                    # a signal's handler has raised, say: it is in no phase now
            raise
        finally:
            self.service.pool.release(self)

    cdef int run_out(self, Phase phase, double now) except -1:
        cdef Service service = self.service
        cdef bint slowly
        cdef str how
        if phase is service.idle:
            self.enter(phase)
            if not self.begun():                # a request that has just come is not thrown away
                self.close(False)
        elif phase is service.fresh or phase is service.heading:
            # The loop may have been held up, not the client: what has come meanwhile counts.
            self.enter(phase)
            if self.queued and self.head is not None and self.head.head_size or self.completed():
                return 0
            if self.stream.in_end == self.stream.in_pos:
                self.close(False)               # not a byte: nobody waits for an answer
            else:
                self.turn_away(408, None, f"no whole head came within {phase.duration:g} s (header_timeout)")
        elif phase is service.queued:
            self.overloaded(service.queue_too_long())
        elif phase is service.running:
            self.overrun(phase)
        elif phase is service.flushing:
            if self.stream.takes_enough(phase, now):
                self.enter(phase)
                return 0
            slowly = self.stream.writes_slowly(phase, now)
            how = f"the peer read {phase.broken(slowly)}; its connection was aborted"
            service.noise("disconnections", f"{self.stream.about()}{how}")
            self.close(True)
        elif phase is service.lingering:
            try:
                if not service.lingering.heard(self, self.stream, now):
                    self.end_lingering(service.lingering, now)
            except OSError:
                self.close(True)
        elif phase is service.draining:
            try:
                if self.node.expiry <= now:     # earlier: there are too many
                    self.drain(False)           # also here the loop may have been held up
                if self.phase is None and self.state != State.CLOSED:
                    self.end_lingering(service.draining, now)
            except OSError:
                self.close(True)
        else:
            self.close(False)
        return 0

    cdef bint is_slow(self, double now) noexcept:
        return self.phase is self.service.flushing and self.stream.writes_slowly(self.phase, now)

    cdef int close(self, bint reset) except -1:
        cdef Service service = self.service
        if self.state == State.CLOSED:
            return 0
        self.state = State.CLOSED
        if service.observer is not None and self.head is not None and self.head.head_size > 0:
            self.tell(NO_ANSWER, 0, False, self.id())
        if self.rest is not None:
            self.rest.detach()
            self.rest = None
        try:
            self.stream.finish(reset)
        finally:
            self.stream.job = None
            self.leave()
            service.open_connections -= 1
        return left(service)

    def retire(self):
        """The server stops: what has begun to arrive is still answered, a connection without that ends now."""
        if self.busy:
            self.missed |= TO_RETIRE
        else:
            self.see_off()

    cdef int see_off(self) except -1:
        if self.state != State.HEAD or self.queued or self.phase is self.service.queued:
            return 0
        if self.head is not None and self.stream.in_end > self.stream.in_pos:
            return 0
        if not self.begun():
            self.close(False)
        return 0

    cdef int abandon(self, bint ours) except -1:
        self.state = State.CLOSED               # so that nothing is told of its end
        return self.stream.abandon(ours)

    cdef int told_late(self, int missed) except -1:
        if missed & TO_CUT:
            self.cut_off()
        elif missed & TO_RETIRE:
            self.see_off()
        return 0

    cdef bint begun(self) except -1:
        """Whether something has come that nobody has looked at; then somebody will."""
        try:
            if self.stream.fill_now() <= 0:
                return False
        except OSError:
            return False
        if self.phase is self.service.idle:
            self.enter(self.service.heading)
        self.service.pool.again(self)
        return True

    def cut(self):
        """The server cannot wait any longer: end this connection, and the request in it, now.

        A client that has nothing of an answer yet is answered with 503, if its socket takes that at once.
        """
        cdef Worker worker = self.worker
        if self.busy:
            self.missed |= TO_CUT               # whatever becomes of the kill, whoever is busy with it closes it then
        if worker is not None:
            try:
                self.cut_request(worker)
            finally:
                self.stream.finish(True)
                worker.kill()
        elif not self.busy:
            self.busy = True
            try:
                self.cut_off()
            finally:
                self.service.pool.release(self)

    cdef int cut_request(self, Worker worker) except -1:
        """The request that runs in `worker`: tell its client, unless an answer has begun."""
        cdef Request request
        cdef bytes text
        if worker.errand == NULL:
            return 0
        request = <Request>worker.errand
        text = self.sorry(503, None, request_wants_json(request), request.method == "HEAD", request.known_id)
        if worker.errand != <void*>request:
            return 0                            # foreign code has let it go on meanwhile, to its end
        request.cut = CUT_SHORT if request.head_out else NO_ANSWER
        if request.head_out or self.stream.lost or self.stream.closed:
            return 0
        self.stream.put(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        if self.stream.last_words():
            request.cut = 503
            request.cut_sent = content_size(text)
        return 0

    cdef int cut_off(self) except -1:
        """Nobody runs it. Whose request waits for a green thread is told, as above; it has never begun."""
        cdef bytes text
        cdef bint told = False
        cdef str id
        try:
            if self.state == State.CLOSED or self.head is None or self.head.head_size == 0:
                return 0
            id = self.id()
            if self.state == State.HEAD and not (self.stream.lost or self.stream.closed):
                wait = max(1, ceil(self.service.queued.duration))
                text = self.sorry(503, wait, self.wants_json(), self.head.is_head, id)
                self.stream.put(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
                self.stream.pinned = True       # its head is still to be told
                told = self.stream.last_words()
            if self.service.observer is not None:
                self.tell(503 if told else NO_ANSWER, content_size(text) if told else 0, True, id)
            self.stream.unpin(0)
            self.head = None
        finally:
            self.close(True)
        return 0

    def unfinished(self):
        """What a stop would cut here: state, peer and request, seconds, green thread, what it waits for; or None."""
        cdef Worker worker = self.worker
        cdef Wait wait = self.stream.wait
        cdef Request request
        cdef double seconds = self.age()
        cdef str asked = self.asked(), waits = ""
        if worker is not None:
            if worker.errand == NULL:
                return None
            request = <Request>worker.errand    # held: foreign code may let it come to its end meanwhile
            if self.service.board is not None and worker.place >= 0:
                seconds = self.service.board.entry(worker.place)[0]
            if wait is not None and (wait.reads or wait.writes):
                waits = "waiting for its content" if wait.reads else "waiting for its client to read"
            return "running", request.describe(), seconds, worker, waits
        if self.state == State.FLUSH:
            return "sending", self.stream.who(), seconds, None, ""
        if self.state == State.HEAD and asked is not None:
            known = self.service.origins.believed_id(self.whole_head(), self.stream)   # whether it gets one is open
            return "queued", naming(self.stream.who(), known) + asked, seconds, None, ""
        return None


cdef Py_ssize_t content_size(bytes answer) except -1:
    return PyBytes_GET_SIZE(answer) - answer.index(b"\r\n\r\n") - 4


cdef int crowd_out(Service service, Connection asking) except -1:
    """Too much memory in unfinished handshakes and heads and in what was sent ahead: the largest goes, and of
    those that are alike the one that came first. Asked by a connection, or by an arrival, which is busy."""
    cdef Connection largest = asking, other
    cdef Arrival arrival, bulky = None
    cdef Phase phase
    cdef Node* node
    for phase in (service.arriving, service.handshaking):
        node = phase.ring.next
        while node != &phase.ring:
            arrival = <Arrival>owner(node)
            if not arrival.busy and (bulky is None or arrival.weight() > bulky.weight()):
                bulky = arrival
            node = node.next
    for phase in (service.fresh, service.heading, service.flushing):
        node = phase.ring.next
        while node != &phase.ring:
            other = <Connection>owner(node)
            if not other.busy and (largest is None or kept(other.stream) > kept(largest.stream)):
                largest = other
            node = node.next
    if bulky is not None and (largest is None or bulky.weight() > kept(largest.stream)):
        return bulky.shed(service.crowded)
    if largest is None or asking is None and kept(largest.stream) == 0:
        return 0                                # the arrival itself is all there is
    if largest is asking:
        return asking.give_way()
    largest.busy = True                         # another's: nobody else may go on with it meanwhile
    try:
        return largest.give_way()
    finally:
        service.pool.release(largest)


cdef inline uint32_t kept(Stream stream) noexcept:
    """Bytes of unread input. What is not parked yet has a whole chunk, whatever is in it."""
    return stream.in_end - stream.in_pos


cdef class Door(Acceptor):
    """Where connections come in: makes each a Connection, and makes room when there is none."""

    def __init__(self, Service service, sock, int batch=256, bint secure=False):
        Acceptor.__init__(self, service.pool.loop, sock, self.say, batch)
        self.service = service
        name = sock.getsockname()
        host, port = name[:2] if isinstance(name, tuple) else ("localhost", 80)     # a UNIX socket has neither
        self.base = (<App>service.app).prepare(as_ipv4(host), port, secure)
        self.secure = secure
        service.doors.append(self)

    def say(self, line):
        self.service.report("warning", line)

    cdef int64_t load(self) noexcept:
        return self.service.open_connections

    cdef bint crowded(self) noexcept:
        return self.service.open_connections >= self.service.max_connections

    cdef bint admit(self) except -1:
        cdef Service service = self.service
        cdef Connection victim
        cdef Py_ssize_t newcomers
        if service.arrivals is not None and service.arrivals.give_way():
            return True
        while True:
            # Those that never completed a request go first, then the longest idle. Not those about to be looked at.
            victim = <Connection>silent(service.fresh)
            newcomers = service.fresh.count + service.arriving.count + service.handshaking.count
            if victim is None and (newcomers == 0 or self.stopping):    # else those are looked at first
                victim = <Connection>silent(service.idle)
            if victim is None:
                service.full = True
                return False
            if not victim.begun():
                victim.close(False)
                return True

    cdef int connected(self, int fd, sockaddr_storage* peer) except -1:
        cdef Connection connection
        cdef Arrivals arrivals = self.service.arrivals
        if arrivals is not None and arrivals.expects(self.secure):
            arrivals.receive(adopt(fd, peer), self.base, self.secure)
            return 0
        connection = open_connection(self.service, adopt(fd, peer), self.base)
        # Its request has often come already: answered in this turn, a short connection never meets the poller.
        self.service.pool.wake(connection)
        return 0
