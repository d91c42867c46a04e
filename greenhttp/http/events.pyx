"""Server-sent events: content that is made event by event, and heartbeats while there is none.

    EventStream     what a handler returns: where the events come from
    Events          one answer made of it
    Streams         all of a service: whose heartbeat is due, who is to end when the server stops

A heartbeat is a comment between two events. The hub puts it into the output while the green thread waits for the next
event, so it costs no green thread and no timer of its own: all with the same pause are one Phase. It is what finds
clients that have gone without a word: writing to them fails, or nothing of it is taken.
"""

from libc.stdint cimport int64_t

from greenhttp.green.deadline cimport Phase
from greenhttp.http.exchange cimport Exchange
from greenhttp.http.response cimport Content, Delivery
from greenhttp.http.presence cimport FOR_EVENTS
from greenhttp.http.request cimport Request
from greenhttp.http.service cimport Service
from greenhttp.green.pool cimport TO_RETIRE
from greenhttp.wire.response cimport Transfer

from greenhttp.errors import ClientDisconnected, StreamTimeout
from greenhttp.green.deadline import Sweep
from greenhttp.http.event_text import event_bytes, milliseconds

cdef bytes COMMENT = b":\n\n"
cdef tuple FIELDS = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-cache, no-transform"),    # whoever compresses on the way would hold events back
    ("X-Accel-Buffering", "no"),                    # nginx: do not gather the answer
)


cdef class EventStream:
    """EventStream(source, *, retry=None, heartbeat=15, headers=())\n--\n
    Server-sent events (WHATWG HTML, "Server-sent events"), as an answer: a handler returns it. In WSGI it is an
    application: `return EventStream(source)(environ, start_response)`.

    Arguments:
        source: an iterable of events, a generator say. Or a function, a generator function say, that is called with the
            ID of the last event that the client has seen, a str, or None for a client that has seen none, and returns
            such an iterable. An event is a str, a dict or list, sent as JSON, or an Event.
        retry: seconds after which a client that lost its connection connects again; None: what it thinks right.
        heartbeat: seconds without an event after which a comment is sent, which clients skip: proxies see that the
            connection is alive, and clients that have gone are found. None: never.
        headers: more fields of the answer, a mapping or pairs. A Content-Type or Cache-Control replaces the usual one.

    The head of the answer leaves at once, before the first event. The source ends the stream by ending; a client then
    connects again, unless it is told not to (204). Its generator is closed (GeneratorExit where it waits) when the
    client has gone, and when the server stops: the stream ends as a whole, and the client connects again, with its
    Last-Event-ID, to whoever serves then.
    """

    def __init__(self, source, *, retry=None, heartbeat=15, headers=()):
        if not callable(source) and not hasattr(source, "__iter__") or isinstance(source, (str, bytes, dict)):
            raise TypeError(f"the source of an EventStream is an iterable or a function, not {type(source).__name__}")
        if heartbeat is not None and milliseconds(heartbeat, "heartbeat") == 0:
            raise ValueError("heartbeat is more than 0 seconds; give None for none")
        self.first = COMMENT if retry is None else f"retry: {milliseconds(retry, 'retry')}\n\n".encode("ascii")
        self.source = source
        self.retry = retry
        self.heartbeat = heartbeat
        given = list(headers.items() if hasattr(headers, "items") else headers)
        names = {name.lower() for name, _ in given}
        self.headers = [pair for pair in FIELDS if pair[0].lower() not in names] + given

    cdef Events open(self, object last_event_id):
        """One answer. `last_event_id`: what the field says, latin-1 as fields are, or None."""
        cdef Events events = Events.__new__(Events)
        if last_event_id is not None:       # it is UTF-8 (WHATWG HTML 9.2.4)
            last_event_id = last_event_id.encode("latin-1").decode("utf-8", "replace") or None
        events.source = self.source
        events.last_event_id = last_event_id
        events.first = self.first
        events.heartbeat = 0 if self.heartbeat is None else self.heartbeat
        return events

    def __call__(self, environ, start_response):
        """A WSGI application that answers with these events.

        Whoever puts an iterable of its own around what this returns, as frameworks and middleware do, gets the events,
        but there are no heartbeats, and the stream does not end by itself when the server stops.
        """
        start_response("200 OK", list(self.headers))
        return self.events(environ)

    def events(self, environ):
        """The content of a WSGI answer alone, for a framework that passes it through to the server. The fields that
        belong to it are `headers`."""
        return self.open(environ.get("HTTP_LAST_EVENT_ID"))

    def __repr__(self):
        return f"<EventStream of {self.source!r:.80}>"


cdef class Events(Content):
    """The content of one answer. For whoever iterates it, pieces of bytes, each a whole event."""

    cdef int begin(self) except -1:
        if self.iterator is None:
            source = self.source(self.last_event_id) if callable(self.source) else self.source
            self.iterator = iter(source)
        return 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.iterator is None:
            self.begin()
            return self.first
        return event_bytes(next(self.iterator))

    def close(self):
        """Close the generator."""
        source = self.source if self.iterator is None else self.iterator
        if hasattr(source, "close"):
            source.close()

    cdef int deliver(self, Delivery delivery) except -1:
        cdef Service service = delivery.service
        self.begin()
        if not delivery.request.head_out:
            delivery.start(-1)
        if delivery.transfer != Transfer.EMPTY and delivery.piece(self.first):
            delivery.exchange.flush()
            if service.event_streams is None:
                service.event_streams = Streams(service.pool.loop)
            self.send(delivery)
            if self.failure is not None:
                raise self.failure
        return delivery.end()

    cdef int send(self, Delivery delivery) except -1:
        cdef Service service = delivery.service
        cdef Exchange exchange = delivery.exchange
        cdef Request request = delivery.request
        cdef Phase phase = (<Streams>service.event_streams).phase(self.heartbeat)
        cdef bint wanted = True
        cdef bytes data
        self.delivery = delivery
        if len(service.event_streams) < service.websockets.limit:
            exchange.show_end()                 # the board is for what ends soon, and has not that many places
            service.pool.excuse(exchange.worker)
        if not exchange.heeds:
            exchange.listen()
        try:
            while wanted and not self.ending and not service.closes_idle:
                self.enter(phase)           # its pause begins anew
                self.unread = -1
                self.silent = 0
                self.asked = True
                exchange.pulling = FOR_EVENTS
                try:
                    item = next(self.iterator)
                except StopIteration:
                    break
                except GeneratorExit:
                    if not self.ending and (request.presence is None or not request.presence.thrown):
                        raise
                    break
                finally:
                    self.asked = exchange.pulling = False
                data = event_bytes(item)
                item = None
                wanted = delivery.piece(data)
                exchange.flush()
                if request.presence is not None:
                    request.presence.wrote()
                    wanted = wanted and not request.presence.gone
        finally:
            self.leave()
            self.delivery = None
        if self.failure is None and request.presence is not None and request.presence.gone:
            self.failure = ClientDisconnected("the client has disconnected")
        if service.stopping:
            exchange.missed |= TO_RETIRE        # the connection ends behind this answer
        return 0

    # In the hub -------------------------------------------------------------------------------------------------------

    cdef int expired(self, Phase phase, double now) except -1:
        if self.ending:
            return 0
        self.enter(phase)
        if not self.asked or self.delivery.transfer == Transfer.SIZED:
            return 0                        # an event is on its way out, at the client's pace
        try:
            return self.beat(phase.duration)
        except Exception as error:
            return self.lost(error)

    cdef int beat(self, double pause) except -1:
        """Send a comment, between two events, unless earlier output still waits for the client."""
        cdef Exchange exchange = self.delivery.exchange
        cdef Phase limit = (<Service>exchange.service).writing
        cdef int64_t unread = exchange.untaken()
        if unread and self.unread >= 0 and unread >= self.unread:
            self.silent += pause
            if 0 < limit.duration <= self.silent:
                exchange.give_up()
                raise StreamTimeout(f"the peer read {limit.broken(False)}")
        else:
            self.silent = 0
        if exchange.push():
            self.delivery.piece(COMMENT)
            exchange.push()
            if self.delivery.request.presence is not None:
                self.delivery.request.presence.wrote()
        self.unread = exchange.untaken()
        return 0

    cdef int lost(self, object failure) except -1:
        self.failure = failure
        self.end()
        return 0

    def end(self):
        """Close the source where it waits, and with that the stream. In the hub."""
        if self.delivery is not None:
            self.ending = True
            if self.asked:
                self.delivery.exchange.worker.throw(GeneratorExit)


cdef class Streams:
    """The event streams of a service that are open.

    Arguments:
        loop: gevent's loop.
    """

    def __init__(self, loop):
        self.loop = loop
        self.paces = {}

    cdef Phase phase(self, double heartbeat):
        """Where those wait that have a heartbeat so often, in seconds; 0: that have none."""
        found = self.paces.get(heartbeat)
        if found is not None:
            return found[0]
        phase = Phase("streaming", heartbeat)
        sweep = None
        if heartbeat > 0:
            sweep = Sweep(self.loop, (phase,), lambda: self._look(heartbeat))
        self.paces[heartbeat] = phase, sweep
        if sweep is not None:
            sweep.start()
        return phase

    def _look(self, heartbeat):
        """Called by a sweep: without streams it is not needed."""
        phase, sweep = self.paces[heartbeat]
        if phase.count == 0:
            del self.paces[heartbeat]
            sweep.stop()

    def __len__(self):
        return sum([phase.count for phase, _ in self.paces.values()])

    def end(self, count=None):
        """End so many of them, by default all. They end in the next turn of the loop."""
        cdef list members = [each for phase, _ in self.paces.values() for each in phase.members()]
        members = [each for each in members if not (<Events>each).ending]
        for events in members[:count]:
            self.loop.run_callback((<Events>events).end)

    def stop(self):
        """No heartbeat is sent any more."""
        for _, sweep in self.paces.values():
            if sweep is not None:
                sweep.stop()
