"""Whether the client of a request is still there, for whoever asks; nobody else pays.

TCP has no sign that the other program has gone. What is seen without taking a byte:

    a reset, a broken connection      it has gone
    the end of what it sends (FIN)    it has gone, or has closed one direction and waits for its answer
    bytes that nobody has read        they may hide an end

A program that has gone answers whatever it is sent with a reset. So an end makes the exchange send, once, what every
client of HTTP/1.1 skips and nobody is told of: `100 Continue` (RFC 9110 15.2.1), as long as no head of an answer is
out. A client that waits for its answer gets that and then its answer. What comes back is looked for after pauses that
grow, since the loop would call for an end again and again: only such connections, and those with something in the way,
wait in a Lookout. All others cost a watcher that HTTP/1 has started anyway.
"""

from greenhttp.green.deadline cimport Phase, Timed
from greenhttp.green.waiting cimport Sight
from greenhttp.http.exchange cimport Exchange
from greenhttp.http.service cimport Service
from greenhttp.process.clock cimport clock

import sys

import gevent
from gevent.event import Event

from greenhttp.errors import ClientDisconnected

cdef tuple PAUSES = (0.05, 0.25, 1.0, 5.0)      # seconds; an answer from around the world takes 0.3
cdef enum:
    AT_ONCE = 128               # looked for per turn of the loop


class Link:
    """What is called in place of a callback given to `rawlink`, which is to get a Disconnected, not the Event in it."""

    __slots__ = ("whose", "callback")

    def __init__(self, whose, callback):
        self.whose = whose
        self.callback = callback

    def __call__(self, event):
        self.callback(self.whose)

    def __eq__(self, other):
        return isinstance(other, Link) and self.callback == other.callback

    def __hash__(self):
        return hash(self.callback)


cdef class Disconnected(Timed):
    """Whether the client has gone before its request was over: true or false, and something to wait for.

    `request.disconnected`, and `environ["greenhttp.disconnected"]()`. Can be kept and used in any green thread; once
    the request is over it does not change.

    Attributes:
        gone: the same as its truth value.

    True within moments of a reset, and of the end of a client that has closed: at once over a UNIX socket, else when
    its system answers the `100 Continue` that it is sent. A client that closes its sending side alone has not gone.
    Content that nobody has read, and a request sent ahead, may hide an end for 5 s, and where the system does not
    report it (other than Linux) until they are read.
    """

    def __init__(self):
        raise TypeError("made by requests only")

    def __bool__(self):
        return self.gone

    def is_set(self):
        """Whether the client has gone."""
        return self.gone

    ready = is_set

    def wait(self, timeout=None):
        """Wait until the client has gone, the request is over, or `timeout` seconds have passed; whether it has gone.
        None: without limit."""
        if not self.gone and self.exchange is not None:
            self.awaited().wait(timeout)
        return self.gone

    def rawlink(self, callback):
        """For gevent.wait: call `callback(self)` in the hub when the client has gone, or the request is over."""
        self.awaited().rawlink(Link(self, callback))

    def unlink(self, callback):
        """Undo `rawlink`."""
        self.awaited().unlink(Link(self, callback))

    def on_disconnect(self, function):
        """See Request.on_disconnect."""
        if not callable(function):
            raise TypeError(f"a function is needed, not {type(function).__name__}")
        self.call(function, "")
        return function

    @property
    def cancel_on_disconnect(self):
        """See Request.cancel_on_disconnect."""
        return self.cancels

    @cancel_on_disconnect.setter
    def cancel_on_disconnect(self, bint cancels):
        self.cancels = cancels
        if self.gone:
            self.cancel()

    def __repr__(self):
        return f"<Disconnected {self.gone}>"

    cdef object awaited(self):
        cdef object made
        if self.event is None:
            made = Event()
            if self.event is None:          # else somebody was first while this was made
                self.event = made
                if self.gone or self.exchange is None:
                    made.set()
        return self.event

    cdef int begin(self, Exchange exchange, bint look) except -1:
        """The request begins to care. `look`: now, too; else when there is something to see."""
        self.exchange = exchange
        self.service = exchange.service
        if not look or self.examine():
            exchange.listen()
        return 0

    cdef bint examine(self) except -1:
        """Look. False: whoever watches the stream need not go on; who has to look again is asked to."""
        cdef Exchange exchange = self.exchange
        cdef int seen
        if exchange is None or self.gone:
            return False
        seen = exchange.sight()
        if self.exchange is None or self.gone:
            return False                    # meanwhile: what was looked at may have run foreign code
        if seen == Sight.PRESENT:
            self.leave()
            self.looks = 0
            return True
        if seen == Sight.ABSENT:
            self.found()
            return False
        if seen == Sight.FINISHED and not self.finished:
            self.finished = True
            self.looks = 0
            exchange.probe()
        if self.exchange is not None:
            lookout_of(exchange.service).put_off(self)
        return False

    cdef int expired(self, Phase phase, double now) except -1:
        cdef Exchange exchange = self.exchange
        if self.examine():
            exchange.listen()
        return 0

    cdef int wrote(self) except -1:
        """Something was sent: a client that has gone answers with a reset."""
        if self.finished and not self.gone:
            self.looks = 0
            lookout_of(self.exchange.service).put_off(self)
        return 0

    cdef int found(self) except -1:
        """The client has gone."""
        cdef list calls = self.calls
        self.gone = True
        self.calls = None
        self.leave()
        if self.event is not None:
            self.event.set()
        if calls is not None:
            for function, what in calls:
                self.call(function, what)
        return self.cancel()

    cdef int call(self, object function, str what) except -1:
        """Have `function` called in a green thread of its own when the client has gone; soon if it has."""
        if self.gone:
            gevent.spawn(called, function, what, self.service)
        elif self.exchange is not None:
            if self.calls is None:
                self.calls = []
            self.calls.append((function, what))
        return 0

    cdef int cancel(self) except -1:
        """End the request, if it wants that: in the hub, where its green thread waits for something."""
        cdef Exchange exchange = self.exchange
        if exchange is not None and (self.cancels or exchange.pulling):
            exchange.service.pool.loop.run_callback(self._cancel)
        return 0

    def _cancel(self):
        cdef Exchange exchange = self.exchange
        if exchange is None or exchange.worker is None or exchange.settling or self.answered or self.thrown:
            return
        if self.cancels or exchange.pulling:
            self.thrown = True
            if exchange.pulling == FOR_EVENTS and not self.cancels:
                exchange.worker.throw(GeneratorExit)
            else:
                exchange.worker.throw(ClientDisconnected("the client has disconnected"))

    cdef int end(self) except -1:
        """The request is over. What comes now is none of its business."""
        self.exchange = None
        self.calls = None
        self.leave()
        if self.event is not None:
            self.event.set()
        return 0


def called(function, what, Service service):
    """Call a function that was given to `on_disconnect`, and log its errors."""
    try:
        function()
    except gevent.GreenletExit:
        pass
    except BaseException as error:
        service.report("error", f"{what}{type(error).__name__} in a function for on_disconnect", error)
        service.pool.pass_on(error)


cdef Lookout lookout_of(Service service):
    cdef Lookout made
    if service.lookout is None:
        made = Lookout(service.pool.loop)
        if service.lookout is None:
            service.lookout = made
    return <Lookout>service.lookout


cdef class Lookout:
    """Lookout(loop)\n--\n
    Where those wait that have to look again, and the timer behind it, which is there while somebody does."""

    def __init__(self, loop):
        self.loop = loop
        self.pauses = tuple([Phase("looking", seconds) for seconds in PAUSES])

    cdef int put_off(self, Disconnected who) except -1:
        """Have it look again, the next time after a longer pause."""
        cdef object timer
        who.enter(<Phase>self.pauses[min(who.looks, len(self.pauses) - 1)])
        who.looks += 1
        if self.timer is None:
            timer = self.loop.timer(PAUSES[0], PAUSES[0], ref=False)
            if self.timer is None:
                self.timer = timer
                timer.start(self.look)
            else:
                timer.close()
        return 0

    def look(self):
        """Called by the loop, as often as the shortest pause is."""
        cdef double now = clock()
        cdef Phase pause
        cdef int most = AT_ONCE
        cdef object timer
        for pause in self.pauses:
            try:
                most -= pause.sweep(now, False, most)
            except BaseException:
                # Of a signal's handler, say. The others are looked at all the same.
                self.loop.handle_error(self, *sys.exc_info())
        if not any([(<Phase>pause).count for pause in self.pauses]):
            timer, self.timer = self.timer, None
            if timer is not None:
                timer.stop()
                timer.close()
