"""One WebSocket (RFC 6455): what has come, what is to leave, how it ends.

    request -> OPEN -> PARTING -> DONE -> OVER              closed by this side: our close frame, then the peer's
                    -> DONE -> OVER                         by the peer: both at once
                    -> DROPPING -> OVER                     the peer has broken a rule
                    -> OVER                                 it has gone, or does not answer

Frames are read in the hub, when the loop sees that bytes have come, and not by whoever waits in `receive`: so pings are
answered, and closes, resets and silence noticed, whatever the handler is at. A message goes into the inbox, and a green
thread that waits for one is switched to directly. With the inbox full, the descriptor is not watched: the peer waits.

An idle WebSocket is this object, a Codec, and the stream it came by; a green thread only where one waits in `receive`.
It has no buffer, and no timer: what it waits for is a phase, which ends by itself with

    open        a ping (websocket_ping_interval)
    pinged      the end: nothing has come since the ping (websocket_ping_timeout)
    choked      the end: the peer does not take what is sent to it (write_timeout, write_min_rate)
    parting     the end: its close frame has not come (websocket_close_timeout)
    full        nothing: this side does not read

A frame is put into the output as a whole, in one go, so that those of several green threads do not mix. Output leaves
when its green thread waits for a message, beyond 64 KiB, and at the latest at the end of the loop's turn, all of it in
one system call where that is possible.

Foreign code may run wherever something is allocated; in the hub it cannot wait. In a green thread what is decided is
looked at again behind whatever may have let others run.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from greenhttp.green.chunks cimport count_held, held_bytes
from greenhttp.green.deadline cimport Node, Phase, Timed, owner as timed_of
from greenhttp.green.pool cimport Job, Pool
from greenhttp.green.stream cimport Stream
from greenhttp.green.switch cimport PyGreenlet_Import, current_greenlet, greenlet, outcome, switch_quietly, switch_to
from greenhttp.wire.websocket cimport FRAME_HEAD_MAX, Codec, Event, Opcode, close_payload, frame_head

import sys
from collections import deque

from gevent import spawn
from gevent.event import Event as Flag
from greenlet import GreenletExit

from greenhttp.errors import ClientDisconnected, StreamTimeout, WebSocketClosed


cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

PyGreenlet_Import()

cdef enum:
    SMALL = 4096                # payload up to this size is copied behind its head, larger ones are chained
    HIGH_WATER = 65536          # bytes of unsent output beyond which `send` waits
    LIGHT = 16384               # bytes of messages up to which nobody counts them
    INBOX = 65536               # bytes of messages that nobody has received, beyond which reading stops
    WEIGHT = 64                 # bytes that each message counts for beside its own
    SHARE = 16                  # messages of one socket in one turn, in `on_message` style

    NORMAL = 1000               # RFC 6455 7.4.1
    NO_CODE = 1005
    ABNORMAL = 1006
    INTERNAL = 1011
    TRY_LATER = 1013

cdef double FOREVER = 1e9       # seconds that a timer of the loop can have

cdef dict named = {}            # groups, each a set; an empty one is not kept


cdef set members_of(str group):
    return named.get(group)


cdef class Conversations:
    """What all WebSockets of one server share: limits, phases, green threads.

    Arguments:
        settings: a settings.Settings, or anything with its attributes.
        limit: open WebSockets at most.
        pool: green threads, for those in `on_message` style.
        report, noise: as for http.Service.
        crowded: what the log says of one that is closed because of `limit_buffers`.
    """

    def __init__(self, settings, int64_t limit, Pool pool, report, noise, str crowded):
        s = settings
        self.pool = pool
        self.report = report
        self.noise = noise
        self.limit = limit
        self.open = Phase("websocket", s.websocket_ping_interval)
        self.full = Phase("websocket_full")
        self.pinged = Phase("websocket_pinged", s.websocket_ping_timeout)
        self.choked = Phase("websocket_choked", s.write_timeout, s.write_min_rate, s.min_rate_after, "write")
        self.parting = Phase("websocket_parting", s.websocket_close_timeout)
        self.phases = (self.open, self.full, self.pinged, self.choked, self.parting)
        self.max_frame = s.websocket_max_frame
        self.max_message = s.websocket_max_message
        self.limit_buffers = s.limit_buffers
        self.crowded = crowded
        self.backlog = s.websocket_backlog
        self.cuts_slow = s.websocket_slow == "close"
        self.close_code = s.websocket_close_code
        self.compression = s.websocket_compression
        self.origins = s.websocket_origins
        self.due = []
        self.push_due = self._push_due

    def announce(self):
        """The server stops: from now on those that are opened know it."""
        self.draining = True

    cdef int soon(self, WebSocket socket) except -1:
        """What it has put out leaves at the end of this turn of the loop."""
        if not socket.in_due:
            if not self.due:
                self.pool.loop.run_callback(self.push_due)      # first: a signal's handler may raise in there
            socket.in_due = True
            self.due.append(socket)
        return 0

    cdef WebSocket largest(self):
        """The one that keeps the most of what has come, or None."""
        cdef Phase phase
        cdef Timed timed
        cdef WebSocket found = None, each
        cdef Node* node
        for phase in (*self.phases, self.pool.patience):
            node = phase.ring.next
            while node != &phase.ring:
                timed = timed_of(node)
                node = node.next
                if type(timed) is not WebSocket:
                    continue                    # another job that waits for a green thread
                each = <WebSocket>timed
                if each.weight > (0 if found is None else found.weight) and not each.stream.pinned:
                    found = each
        return found

    def _push_due(self):
        cdef WebSocket socket
        cdef list due
        due, self.due = self.due, []
        try:
            while due:
                socket = <WebSocket>due.pop()
                socket.in_due = False
                if socket.stream.pending():
                    socket.push()
        finally:
            if due:                             # a signal's handler has raised, say
                self.due.extend(due)
                self.pool.loop.run_callback(self.push_due)


cdef class WebSocket(Job):
    """A WebSocket, open from the moment in which it is made; see `Request.websocket`.

    Messages are str (text) and bytes (binary). Iterating over it gives them until it is closed, however that comes.

        for message in ws:
            ws.send(message)

    Attributes:
        request: the Request that it was opened by.
        protocol: the sub-protocol that was agreed on, or None.
        close_reason: the text beside `close_code`, "" if none was given.

    One green thread at a time may wait in `receive`; any number may send. It is closed when the handler that has opened
    it returns (1000) or raises (1011).
    """

    def __init__(self):
        raise TypeError("made by Request.websocket only")

    # What users call --------------------------------------------------------------------------------------------------

    def receive(self, timeout=None):
        """The next message, waiting for it if need be.

        Arguments:
            timeout: seconds to wait; None: without limit.

        Raises WebSocketClosed when all that had come was received and it is closed, by whoever; StreamTimeout.
        """
        if self.first is None:
            self.await_message(timeout)
            if self.first is None:
                raise self.ended()
        return self.take()

    def __iter__(self):
        return self

    def __next__(self):
        if self.first is None:
            self.await_message(None)
            if self.first is None:
                raise StopIteration
        return self.take()

    def send(self, message, *, timeout=None):
        """Send a message: str as text, bytes or what is like it as binary.

        Waits while more than 64 KiB of earlier ones have not left, at most `timeout` seconds; who sends meanwhile waits
        in turn. Raises WebSocketClosed, StreamTimeout, TypeError, UnicodeEncodeError; then nothing was sent.
        """
        cdef const char* data
        cdef Py_ssize_t size
        cdef int opcode = Opcode.OP_TEXT
        cdef object owner = message
        cdef bytes smaller = None
        if type(message) is bytes:
            opcode = Opcode.OP_BINARY
        elif not isinstance(message, str):
            owner = bytes(memoryview(message))
            opcode = Opcode.OP_BINARY
        if self.state != State.OPEN:
            raise self.ended()
        if self.senders is not None or self.stream.pending() > HIGH_WATER:
            self.room(timeout)
        if self.codec.compression is not None:
            smaller = self.codec.compress(owner)
            if smaller is not None:
                owner = smaller
        if opcode == Opcode.OP_TEXT and smaller is None:
            data = PyUnicode_AsUTF8AndSize(owner, &size)
            if size > SMALL:
                owner = (<str>owner).encode()
                data = PyBytes_AS_STRING(owner)
        else:
            data = PyBytes_AS_STRING(owner)
            size = PyBytes_GET_SIZE(owner)
        if self.state != State.OPEN:            # while this was made
            raise self.ended()
        self.frame(opcode, owner, size, data, smaller is not None)
        if self.stream.pending() > HIGH_WATER and not self.stuck:
            self.push()
        else:
            self.shared.soon(self)

    def ping(self, bytes data not None=b""):
        """Send a ping of at most 125 bytes. The server sends its own (`websocket_ping_interval`). Answers stay unseen.

        Raises WebSocketClosed, ValueError.
        """
        if PyBytes_GET_SIZE(data) > 125:
            raise ValueError(f"a ping has at most 125 bytes, not {len(data)}")
        if self.state != State.OPEN:
            raise self.ended()
        self.frame(Opcode.OP_PING, data, PyBytes_GET_SIZE(data), PyBytes_AS_STRING(data), False)
        self.shared.soon(self)

    def close(self, int code=NORMAL, str reason not None=""):
        """Close it, behind what was sent. Does not wait: the connection ends when the client has answered, or after
        `websocket_close_timeout`. Closing what is closed is nothing.

        Arguments:
            code: 1000 to 1003, 1007 to 1014 or 3000 to 4999 (RFC 6455 7.4).
            reason: at most 123 bytes of UTF-8, for the client's program.
        """
        close_payload(code, reason)             # raises ValueError
        self.part(code, reason)

    @property
    def closed(self):
        """Whether nothing more can be sent: a close frame was sent, or has come, or the connection has ended."""
        return self.state != State.OPEN

    @property
    def close_code(self):
        """The code it was closed with, by whoever was first; None while it is open. 1005: the client has given none;
        1006: the connection ended without a close frame (RFC 6455 7.1.5)."""
        return self.code or None

    @property
    def closing(self):
        """A gevent Event, set when the server stops, and when this is closed.

        A handler that has asked for it is left the time to say its last words and to close (`websocket_drain_timeout`);
        the WebSockets of others are closed with `websocket_close_code` over `drain_linger`.
        """
        cdef object made
        if self.drained is None:
            made = Flag()
            if self.drained is None:
                self.drained = made
        if self.shared.draining or self.state != State.OPEN:
            self.drained.set()
        return self.drained

    def join(self, str group not None):
        """Get what is broadcast to this group, until it is closed or leaves."""
        cdef set own = set(), members = set()
        if self.state != State.OPEN:            # behind the sets: to make them may run foreign code
            raise self.ended()
        if self.groups is None:
            self.groups = own
        self.groups.add(group)
        (<set>named.setdefault(group, members)).add(self)

    def leave(self, str group not None):
        """Get no more of it. No matter whether it is in that group."""
        if self.groups is not None and group in self.groups:
            self.groups.discard(group)
            self.go_out(group)

    cdef int go_out(self, str group) except -1:
        cdef set members = named.get(group)
        if members is not None:
            members.discard(self)
            if not members:
                named.pop(group, None)
        return 0

    def __repr__(self):
        return f"<WebSocket {self.who()} {State(self.state).name.lower()}>"

    # For who has opened it --------------------------------------------------------------------------------------------

    cdef int begin(self) except -1:
        """From now on the stream is this one's; the 101 may still be in its output."""
        self.shared.count += 1
        self.stream.job = self
        self.stream.pushing = False             # what has to wait is this one's to send
        self.abide()
        self.shared.soon(self)
        if self.stream.in_end > self.stream.in_pos:
            self.stopped = True
            return self.go_on()
        self.stream.watch_read()
        return 0

    cdef int handler_over(self, int code) except -1:
        """The handler that has opened it has returned, or raised: unless somebody is called for its messages, that is
        its end."""
        if code == NORMAL and (self.on_message is not None or self.on_close is not None):
            return 0
        return self.part(code, "")

    cdef bint left_by_peer(self) noexcept:
        """Whether it is over, and not because this side has closed it."""
        return self.state == State.OVER and not self.ours

    cdef bint expects(self, object error) except -1:
        """Whether a handler raises that because this is closed, or because somebody wanted it to end."""
        return isinstance(error, GreenletExit) or (
            self.state != State.OPEN and isinstance(error, (ConnectionError, ClientDisconnected))
        )

    cdef int see_off(self) except -1:
        """The server stops: closed, unless its handler looks after that."""
        if self.drained is not None:
            self.drained.set()
            return 0
        return self.part(self.shared.close_code, "")

    cdef int cut(self) except -1:
        """The server cannot wait: a close frame if there was none, and the end, now. Its pool has no green thread for
        what is to be told of that: it gets one of its own."""
        cdef object function = self.on_close
        if self.worker is not None:
            self.worker.kill()
            if self.state == State.OVER:
                function = None                 # that is what it is at, or about to be
        if self.told:
            return 0
        self.on_message = self.on_close = None
        if self.state == State.OPEN:
            self.say(self.shared.close_code, "")
        if not self.stream.closed:
            self.stream.last_words()
        if self.state == State.OVER:
            self.tell()
        else:
            self.end(True)
        if function is not None:
            spawn(self._call, function)
        return 0

    # What comes -------------------------------------------------------------------------------------------------------

    cdef bint ready(self, bint writing) except -1:
        cdef WebSocket held = self              # whoever is switched to may come to its end, and be the last to have it
        if not writing:
            return held.hear()
        held.push()
        held.wake_senders()
        return held.stuck

    cdef bint hear(self) except -1:
        """Take what has come. In the hub. False: no more for now."""
        cdef Stream stream = self.stream
        cdef greenlet waiting
        cdef Py_ssize_t n
        if self.state >= State.DONE or self.stopped:
            return False
        try:
            if stream.in_end == stream.in_pos:
                n = stream.fill_now()
                if n < 0:
                    stream.watch_read()
                    return True
                if n == 0:
                    if self.state == State.OPEN:
                        self.lost("the connection ended without a close frame", False)
                    else:
                        self.end(False)
                    return False
                if self.phase is self.shared.open or self.phase is self.shared.pinged:
                    self.enter(self.shared.open)
            self.understood()
        except OSError as error:
            self.lost(f"the client disconnected ({type(error).__name__})", True)
            return False
        except BaseException:
            self.end(True)                      # no memory; never without a state or a watcher
            raise
        if self.first is not None:
            if self.receiver is not None:
                waiting, self.receiver = self.receiver, None
                wake(self.shared.pool, waiting)
            elif self.on_message is not None:
                self.shared.pool.submit(self)
        self.weigh()
        if self.state >= State.DONE or self.stopped:
            return False
        stream.watch_read()
        return True

    cdef bint understood(self) except -1:
        """Events of the bytes that are here, as long as there is room for messages."""
        cdef Stream stream = self.stream
        cdef Py_ssize_t used = 0
        while stream.in_end > stream.in_pos and self.state <= State.PARTING:
            if self.held >= INBOX:
                self.stopped = True
                stream.pack()
                if self.phase is self.shared.open:
                    self.enter(self.shared.full)
                return False
            stream.pinned = True                # whoever closes it meanwhile leaves the bytes
            try:
                used = self.codec.feed(stream.inbuf + stream.in_pos, stream.in_end - stream.in_pos)
            except BaseException:
                stream.unpin(0)
                raise
            stream.unpin(used)
            if self.codec.event != Event.NOTHING:
                self.happened()
        if stream.in_end > stream.in_pos:
            stream.consume(stream.in_end - stream.in_pos)
        if self.held >= INBOX and self.state == State.OPEN:
            self.stopped = True
            if self.phase is self.shared.open:
                self.enter(self.shared.full)
        return True

    cdef int happened(self) except -1:
        cdef Codec codec = self.codec
        cdef int event = codec.event
        cdef bytes data
        cdef object message
        if event == Event.TEXT or event == Event.BINARY:
            message = codec.take()
            if self.state == State.OPEN:
                self.keep(message)
        elif event == Event.PING:
            data = <bytes>codec.take()
            # Who sends pings and reads nothing gets no more of them answered (RFC 6455 5.5.3 asks for the last alone).
            if self.state == State.OPEN and self.stream.pending() <= HIGH_WATER:
                self.frame(Opcode.OP_PONG, data, PyBytes_GET_SIZE(data), PyBytes_AS_STRING(data), False)
                self.shared.soon(self)
        elif event == Event.PONG:
            codec.take()
        elif event == Event.CLOSE:
            self.answer_close()
        elif self.state == State.OPEN:
            self.shared.noise("refusals", f"{self.who()}: closed with {codec.code}: {codec.reason}")
            self.say(codec.code, codec.reason)
            if self.state == State.OPEN:
                return self.lost("output was lost", True)
            self.state = State.DROPPING
            self.no_more()
            if not self.stuck:
                self.push()
        elif self.state < State.DONE:
            self.state = State.DONE             # our close frame is out, and there is nothing to wait for
            if not self.stuck:
                self.push()
        return 0

    cdef int keep(self, object message) except -1:
        cdef object more = None
        if self.first is not None and self.more is None:
            more = deque()                      # in which foreign code may run, and receive
        if self.first is None:
            self.first = message
        else:
            if self.more is None:
                self.more = more
            self.more.append(message)
        self.held += len(message) + WEIGHT
        return 0

    cdef object take(self):
        cdef object message = self.first
        if self.more is None:
            self.first = None
        else:
            self.first = self.more.popleft()
            if not self.more:
                self.more = None
        self.held -= len(message) + WEIGHT
        if self.weight:
            self.weigh()
        if self.stopped and self.held <= INBOX // 2:
            self.go_on()
        return message

    cdef int weigh(self) except -1:
        """Count the messages that it keeps, and what has come of the next, among what all connections keep."""
        cdef int64_t size = self.held + self.codec.kept(), before = self.weight
        if size < LIGHT or self.state == State.OVER:
            size = 0
        if size == before:
            return 0
        self.weight = size
        count_held(<ssize_t>(size - before))
        if size > before and held_bytes() > self.shared.limit_buffers:
            largest = self.shared.largest()
            if largest is not None:
                (<WebSocket>largest).give_way()
        return 0

    cdef int give_way(self) except -1:
        """All connections keep too much, and this one the most: closed, and what has come is dropped."""
        self.shared.noise("overload", f"{self.who()}: closed with {TRY_LATER}: {self.shared.crowded}", "warning")
        if self.state != State.OPEN:
            return self.end(True)
        self.say(TRY_LATER, "")
        if self.state == State.OPEN:
            return self.lost("output was lost", True)
        self.ours = True
        self.state = State.DROPPING
        self.first = self.more = None
        self.held = 0
        self.codec.fail(TRY_LATER, "")
        self.weigh()
        self.no_more()
        if not self.stuck:
            self.push()
        return self.go_on()                     # to drop what comes, if reading was stopped

    cdef int go_on(self) except -1:
        """There is room in the inbox: read again, in the hub."""
        self.shared.pool.loop.run_callback(self._resume)
        return 0

    def _resume(self):
        if self.stopped and self.held <= INBOX // 2:
            self.stopped = False
            if self.phase is self.shared.full:
                self.enter(self.shared.open)
            self.hear()

    cdef int await_message(self, object timeout) except -1:
        """Wait until there is one, or none will come."""
        cdef object running, timer = None, hub
        cdef PyObject* result
        if self.state != State.OPEN:
            return 0
        if self.on_message is not None:
            raise RuntimeError("the messages of this WebSocket go to on_message")
        if self.receiver is not None:
            raise RuntimeError("another green thread waits for messages of this WebSocket already")
        running = current_greenlet()
        hub = self.shared.pool.hub
        if running is hub:
            raise RuntimeError("a WebSocket cannot wait in a callback of the loop; use it in a green thread")
        if timeout is not None:
            timer = self.timer(timeout, running, "no message came")
        try:
            while True:
                if self.stream.pending() and not self.stuck:
                    self.push()
                # From here to the switch nothing runs that could wait.
                if self.first is not None or self.state != State.OPEN:
                    break
                self.receiver = <greenlet>running
                result = switch_quietly(<PyObject*>hub)
                self.receiver = None
                outcome(result)
                if self.first is not None or self.state != State.OPEN:
                    break
        finally:
            if timer is not None:
                timer.stop()
                timer.close()
        return 0

    cdef object timer(self, object timeout, object running, str what):
        cdef object loop = self.shared.pool.loop
        cdef double seconds = min(max(<double>timeout, <double>loop.approx_timer_resolution), FOREVER)
        timer = loop.timer(seconds)
        timer.start(self._overdue, running, f"{what} within {timeout:g} s", update=True)
        return timer

    def _overdue(self, greenlet waiting, str what):
        if self.receiver is waiting:
            self.receiver = None
        elif self.senders is not None and waiting in self.senders:
            self.senders.remove(waiting)
        else:
            return                              # it has been woken already
        waiting.throw(StreamTimeout(what))

    # What leaves ------------------------------------------------------------------------------------------------------

    cdef int frame(self, int opcode, object owner, Py_ssize_t size, const char* data, bint compressed) except -1:
        """Put a frame into the output, as a whole. `owner`: a bytes that `data` is in, if it is large."""
        cdef Stream stream = self.stream
        cdef char* p
        cdef int n
        if size <= SMALL:
            p = stream.reserve(FRAME_HEAD_MAX + size)
            n = frame_head(p, opcode, size, compressed, True)
            memcpy(p + n, data, size)
            stream.commit(n + size)
            return 0
        p = stream.reserve(FRAME_HEAD_MAX)
        stream.commit(frame_head(p, opcode, size, compressed, True))
        try:
            return stream.put_object(<bytes>owner)
        except BaseException:
            stream.lost = True                  # no memory: a head without its payload is out
            raise

    cdef int room(self, object timeout) except -1:
        """Wait in turn until there is room in the output. Raises WebSocketClosed, StreamTimeout."""
        cdef object running = current_greenlet(), timer = None, hub = self.shared.pool.hub
        cdef PyObject* result
        if running is hub:
            raise RuntimeError("a WebSocket cannot wait in a callback of the loop; use it in a green thread")
        if not self.stuck:
            self.push()
        if timeout is not None:
            timer = self.timer(timeout, running, "the client took nothing")
        try:
            while self.state == State.OPEN and (self.senders is not None or self.stream.pending() > HIGH_WATER):
                if self.senders is None:
                    self.senders = []
                self.senders.append(running)
                result = switch_quietly(<PyObject*>hub)
                if self.senders is not None:
                    if running in self.senders:
                        self.senders.remove(running)
                    if not self.senders:
                        self.senders = None
                outcome(result)
                if self.stream.pending() <= HIGH_WATER:
                    break                       # its turn; those behind it wait
        finally:
            if timer is not None:
                timer.stop()
                timer.close()
        if self.state != State.OPEN:
            raise self.ended()
        return 0

    cdef int wake_senders(self) except -1:
        """Who waits for room and has it now, one after the other. In the hub."""
        cdef greenlet waiting
        while self.senders and (self.state != State.OPEN or self.stream.pending() <= HIGH_WATER):
            waiting = <greenlet>self.senders.pop(0)
            if not self.senders:
                self.senders = None
            wake(self.shared.pool, waiting)
        return 0

    cdef int put_whole(self, bytes frame) except -1:
        """Put a frame out that others get as well, and send it if that takes no wait."""
        self.stream.put_object(frame)
        if not self.stuck:
            self.push()
        return 0

    cdef int push(self) except -1:
        """Send what takes no wait; the rest leaves as the peer takes it."""
        cdef Stream stream = self.stream
        cdef bint all_out
        if stream.closed or self.state == State.OVER:
            return 0
        try:
            stream.finishing = self.state == State.DONE
            all_out = stream.flush_now()
            if not all_out:
                stream.finishing = False
                if self.state == State.OVER:
                    return 0
                stream.progressed()             # its silence begins anew where it has taken some
                self.stuck = True
                self.abide()
                stream.watch_write(True)
                return 0
        except OSError as error:
            if stream.closed and self.state == State.OVER:
                return 0
            self.lost(f"the client disconnected ({type(error).__name__})", True)
            return 0
        return self.left()

    cdef int left(self) except -1:
        """All output has left."""
        cdef Stream stream = self.stream
        if self.state == State.DONE:
            try:
                stream.skip_input()
            except OSError:
                pass                            # reset: it has said that it is closed, and does not wait for us
            return self.end(False)
        if self.stuck:
            self.stuck = False
            stream.watch_write(False)
            stream.calm()
            if self.senders is not None:
                self.shared.pool.loop.run_callback(self._wake)
            if self.state == State.OPEN:
                self.abide()
        if self.state != State.OPEN and self.phase is not self.shared.parting:
            self.abide()
            if self.state == State.DROPPING:
                stream.hang_up()
        return 0

    cdef int abide(self) except -1:
        """Into the phase for what it waits for now. Who waits for a green thread stays where those are: elsewhere it
        would get none."""
        cdef Conversations shared = self.shared
        if self.state == State.OVER or self.phase is shared.pool.patience:
            return 0
        if self.stuck:
            self.enter(shared.choked)
        elif self.state != State.OPEN:
            self.enter(shared.parting)
        else:
            self.enter(shared.full if self.stopped else shared.open)
        return 0

    # How it ends ------------------------------------------------------------------------------------------------------

    cdef int say(self, int code, str reason) except -1:
        """Put a close frame out: nothing follows it (RFC 6455 5.5.1)."""
        cdef bytes payload = b"" if code == NO_CODE else close_payload(code, reason)
        if self.state != State.OPEN:
            return 0                            # foreign code was quicker
        if self.stream.lost or self.stream.closed:
            self.code = ABNORMAL
            return 0
        self.frame(Opcode.OP_CLOSE, payload, PyBytes_GET_SIZE(payload), PyBytes_AS_STRING(payload), False)
        self.code = code
        self.close_reason = reason
        self.state = State.PARTING
        return 0

    cdef int part(self, int code, str reason) except -1:
        """Close it from this side."""
        if self.state != State.OPEN:
            return 0
        self.say(code, reason)
        if self.state == State.OPEN:
            return self.lost("output was lost", True)
        self.ours = True
        self.no_more()
        if not self.stuck:
            self.push()
        if self.stopped and self.state == State.PARTING:
            self.held = 0                       # what comes now is not kept: its close frame may be behind it
            self.go_on()
        return 0

    cdef int answer_close(self) except -1:
        """The peer's close frame has come (RFC 6455 5.5.1, 7.1.1: the server closes the connection first)."""
        if self.state == State.OPEN:
            self.say(self.codec.code, "")
            self.close_reason = self.codec.reason
        if self.state <= State.PARTING:
            self.state = State.DONE
        self.no_more()
        if not self.stuck:
            self.push()
        return 0

    cdef int no_more(self) except -1:
        """No more messages will come, nor may be sent: who waits is told."""
        if self.groups is not None:
            groups, self.groups = self.groups, None
            for group in groups:
                self.go_out(group)
        if self.drained is not None:
            self.drained.set()
        if self.receiver is not None or self.senders is not None:
            self.shared.pool.loop.run_callback(self._wake)
        return 0

    def _wake(self):
        cdef greenlet waiting
        self.wake_senders()
        if self.receiver is not None and (self.first is not None or self.state != State.OPEN):
            waiting, self.receiver = self.receiver, None
            wake(self.shared.pool, waiting)

    cdef int lost(self, str how, bint reset) except -1:
        """It has ended without a close frame of the peer's."""
        if self.state == State.OVER:
            return 0
        if self.code == 0:
            self.code = ABNORMAL
            self.close_reason = ""
        self.shared.noise("disconnections", f"{self.who()}: {how}")
        return self.end(reset)

    cdef int end(self, bint reset) except -1:
        if self.state == State.OVER:
            return 0
        if self.code == 0:
            self.code = ABNORMAL
        self.state = State.OVER
        self.weigh()
        if not self.stream.pinned:
            self.codec.forget()                 # this may be kept for long
        try:
            self.stream.finish(reset)
        finally:
            Timed.leave(self)                   # its phase; `leave` is what users call
            self.no_more()
            if self.on_close is not None or self.on_message is not None:
                self.shared.pool.submit(self)   # what has come, and that it is over, is told in a green thread
            else:
                self.tell()
        return 0

    cdef int tell(self) except -1:
        """It is over, for whoever has opened it as well."""
        if not self.told:
            self.told = True
            self.shared.count -= 1
            self.carrier.stream_closed()
        return 0

    cdef object ended(self):
        return WebSocketClosed(self.code, self.close_reason)

    cdef str who(self):
        """The peer and the request, for the log."""
        return f"{self.stream.about()}{self.request.method} {self.request.target.partition('?')[0]}"

    cdef int abandon(self, bint ours) except -1:
        self.state = State.OVER                 # the carrier lets go of the stream
        self.told = True
        return 0

    # Time -------------------------------------------------------------------------------------------------------------

    cdef int expired(self, Phase phase, double now) except -1:
        cdef Conversations shared = self.shared
        cdef bint slowly
        try:
            if phase is shared.open:
                self.enter(shared.pinged)
                self.frame(Opcode.OP_PING, b"", 0, b"", False)
                self.push()
            elif phase is shared.pinged:
                self.enter(phase)
                self.hear()                     # the loop may have been held up, not the peer
                if self.phase is phase:
                    self.lost(f"no answer to a ping within {phase.duration:g} s (websocket_ping_timeout)", True)
            elif phase is shared.choked:
                if self.stream.takes_enough(phase, now):
                    self.enter(phase)
                    return 0
                slowly = self.stream.writes_slowly(phase, now)
                self.stream.failed = True
                self.lost(f"the peer read {phase.broken(slowly)}; its connection was aborted", True)
            elif phase is shared.parting:
                self.stream.skip_input()
                self.end(False)
            else:
                self.abide()
                self.turned_away(shared.pool.patience.duration)
        except OSError:
            self.end(True)
        except BaseException:
            self.end(True)
            raise
        return 0

    cdef bint is_slow(self, double now) noexcept:
        return self.phase is self.shared.choked and self.stream.writes_slowly(self.phase, now)

    # In `on_message` style, a green thread's part ---------------------------------------------------------------------

    cdef bint advance(self) except -1:
        return self.first is not None and self.on_message is not None or self.state == State.OVER and not self.told

    cdef int run(self) except -1:
        cdef Pool pool = self.shared.pool
        cdef int count = 0
        if self.phase is None:
            self.abide()                        # it has waited for a green thread
        while self.first is not None and self.on_message is not None:
            if count == SHARE:
                return pool.again(self)         # others first
            count += 1
            self.call(self.on_message, (self, self.take()))
        if self.state == State.OVER and not self.told:
            try:
                if self.on_close is not None:
                    self.call(self.on_close, (self,))
            finally:
                self.tell()
        return 0

    cdef int call(self, object function, tuple given) except -1:
        cdef Pool pool = self.shared.pool
        if function is None:
            return 0
        try:
            function(*given)
        except BaseException as error:
            if pool.forked is not None:
                pool.forked(self.who(), error)
            if not self.expects(error):
                self.shared.report("error", f"{self.who()}: {type(error).__name__} in the application", error)
                pool.pass_on(error)
            if function is not self.on_close:
                self.first = self.more = None
                self.held = 0
            self.part(INTERNAL, "")
        if pool.forked is not None:
            pool.forked(self.who(), None)
        return 0

    def _call(self, function):
        self.call(function, (self,))

    cdef int refuse(self) except -1:
        return self.turned_away(0)

    cdef int turned_away(self, double seconds) except -1:
        """No green thread is free for its message."""
        if self.state == State.OVER:
            if self.on_message is not None:
                self.first = self.more = None
            return self.tell()                  # nobody can be told
        why = f"no place was free within {seconds:g} s (queue_timeout)" if seconds else "the queue is full (queue)"
        self.shared.noise("overload", f"{self.who()}: closed with {TRY_LATER}: {why}", "warning")
        self.first = self.more = None
        self.held = 0
        return self.part(TRY_LATER, "")


cdef int wake(Pool pool, greenlet waiting) except -1:
    """Switch to who waits, in the hub; how a green thread ends that has the hub for its parent is not ours."""
    try:
        switch_to(<PyObject*>waiting)
    except BaseException:
        pool.hub.handle_error(waiting, *sys.exc_info())
    return 0


cdef WebSocket open_socket(
    Conversations shared, Stream stream, Job carrier, object request, str protocol, object compression,
    object on_message, object on_close,
):
    cdef WebSocket socket = WebSocket.__new__(WebSocket)
    socket.shared = shared
    socket.stream = stream
    socket.carrier = carrier
    socket.request = request
    socket.protocol = protocol
    socket.on_message = on_message
    socket.on_close = on_close
    socket.close_reason = ""
    socket.codec = Codec(max_frame=shared.max_frame, max_message=shared.max_message, compression=compression)
    return socket
