"""The application, and how one request goes through it: asked, answered, failed, over. The same for every protocol."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from greenhttp.green.deadline cimport Phase
from greenhttp.green.layer cimport Layer
from greenhttp.green.stream cimport Stream
from greenhttp.green.transport cimport SocketStream
from greenhttp.http.body cimport NOTHING, Body, PythonBody
from greenhttp.http.exchange cimport Entrance, Exchange, Reach
from greenhttp.http.origin cimport OUTSIDE, Origins, identified, located, new_origin, traced
from greenhttp.http.request cimport Request, new_request
from greenhttp.http.response cimport Delivery, head_wants_json, plain, refusing, said, wants_json
from greenhttp.http.service cimport Service, concerns
from greenhttp.process.clock cimport nanoseconds
from greenhttp.wire.head cimport Framing, Head
from greenhttp.wire.proxy cimport Proxied
from greenhttp.wire.response cimport ResponseHead

from contextlib import suppress
from math import ceil

from greenhttp.errors import BodyError, RequestRefused, RequestTimeout, StreamClosed, StreamTimeout, WireError
from greenhttp.http.refusals import beyond
from greenhttp.tls.agreed import agreed
from greenhttp.traces import trace
from greenhttp.wire.response import Transfer


cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject* o)

cdef enum:
    ALIKE = 64                  # agreements in TLS of which each address remembers what was made for them


cdef class App:
    """What a request is handed to. `hosting` has the kinds there are."""

    cdef Entrance prepare(self, object name, object port, bint secure=False):
        """Whatever is worth making once for an address: `name` and `port` that requests come in by, `secure` through
        TLS. Request.base."""
        return Entrance.__new__(Entrance)

    cdef Entrance prepare_for(self, Entrance entrance, object info, object told):
        """The same for connections that have agreed on `info` in TLS, a tls.agreed.TLSInfo. `told`: the ProxiedTLS that
        it is from, or None."""
        return Entrance.__new__(Entrance)

    cdef Delivery respond(self, Request request):
        """The response to a request; `deliver` sends its content. May block, may raise anything."""
        raise NotImplementedError


cdef Entrance entrance_of(App app, Stream stream, Entrance common):
    """By which the requests of a connection come in, `common` being that of its address: what was agreed on in TLS is
    known. Most connections have agreed on the same as one before, and share what was made for that."""
    cdef Layer layer = (<SocketStream>stream).layer if type(stream) is SocketStream else None
    cdef Proxied proxied = stream.proxied
    cdef Entrance found
    cdef object info, key, told = None
    if layer is None and (proxied is None or proxied.tls is None):
        return common
    info = key = agreed(layer, proxied)
    if layer is None:
        told = proxied.tls
        key = info, told.verified, told.verify, told.common_name
    if common.alike is None:
        common.alike = {}
    found = common.alike.get(key)
    if found is None:
        found = app.prepare_for(common, info, told)
        found.tls = info
        found.secure = layer is not None
        if len(common.alike) >= ALIKE:
            common.alike = {}               # what connections have of it stays
        common.alike[key] = found
    return found


cdef inline bint give_back(App app, Delivery response) noexcept:
    """The answer is over. Whether nobody else refers to `response`: then it has let go of everything, for reuse."""
    if Py_REFCNT(<PyObject*>response) != 1 or response.data != response.small:
        return False
    response.request = None
    response.exchange = None
    response.content = None
    response.trailers = None
    response.ended = response.complete = response.cut = False
    response.sent = 0
    app.spare = response
    return True


cdef class Observer:
    """Who is told of each answer, once. Decides nothing, must neither wait nor suspend."""

    cdef void answered(self, Request request, int64_t began) noexcept:
        """A request that was handed to the application is over. Its head is still there, and owns its bytes.

        `request.answer` is the response whose head went out: the application's or the server's own; None if the
        connection ended before there was one. `began`: `nanoseconds()` when the application was asked. `request.cut`:
        whether the server could not wait any longer, and what its client was told.
        """

    cdef void refused(
        self, Stream stream, Head head, bytes line, int status, int64_t sent, bint cut, str id
    ) noexcept:
        """A request that no application has seen was answered with `status`, or never: NO_ANSWER.

        `head` is what is known of it, from the request line on. None if not even that is understood; then `line` is the
        request line as it came, None if not all of it did. `sent`: bytes of content. `cut`: because the server could
        not wait any longer. `id`: of the request, or None.
        """


cdef int answer_request(Exchange exchange, Head head, Body body, Entrance base) except -1:
    """One request: from a complete head to the end of its answer in the output.

    The caller alone holds `head` and its bytes; those stay where they are until `exchange.head_used`.
    """
    cdef Service service = exchange.service
    cdef Request request = new_request(exchange, head, body, base)
    cdef Delivery response = None
    cdef int64_t began = 0
    cdef bint sound = False, left
    exchange.settling = False
    service.requests += 1
    if service.dropped:
        service.say_dropped(exchange.stream)
    if service.board is not None:
        exchange.show(head)
    if service.observer is not None:
        head.own()
        began = nanoseconds()
    exchange.worker.errand = <void*>request     # borrowed, so it costs nothing; taken back before `request` can go
    try:
        if concerns(service, head):
            note(service.origins, request)
        if head.framing == Framing.LENGTH:
            if head.content_length > service.limit_body:
                raise BodyError(413, beyond("limit_request_body", service.limit_body))
        elif service.gather and head.framing == Framing.CHUNKED:
            request.keep()                      # the head's bytes stand before those of the content
            body.gather(service.gather)
        response = (<App>service.app).respond(request)
        if service.pool.forked is not None:
            service.pool.forked(request.describe(), None)   # the answer is the parent's; does not return
        request.take_input()
        response.deliver()
        sound = True
    except BaseException as error:
        if service.pool.forked is not None:
            service.pool.forked(request.describe(), error)
        exchange.settling = True
        try:
            failed(exchange, request, response, error)
        except BaseException:
            exchange.worker.errand = NULL
            raise
    exchange.worker.errand = NULL
    exchange.settling = True
    request.over = True
    body.over = True                            # also if it was read to its end: somebody may still wait in it
    left = exchange.part(head, body)
    if body.stored is not None:
        body.release()
    if left:
        service.report("warning", f"{request.describe()}: a green thread that the handler left behind was still"
                                  " reading or writing; the connection is closed")
    if service.observer is not None:
        (<Observer>service.observer).answered(request, began)
        request.answer = None                   # it refers to the request
    if sound and give_back(<App>service.app, response):
        response = None
    if not request.kept(1 if response is None else 2):
        request.head = None
        if head.owned is None or Py_REFCNT(<PyObject*>head) == 1:       # else its Headers were kept
            service.give_head(head)
    exchange.show_end()
    return 0


cdef int note(Origins origins, Request request) except -1:
    """Note in a request where it comes from and goes to. Raises RequestRefused."""
    cdef Head head = request.head
    cdef Stream stream = request.exchange.stream
    cdef str given = None
    cdef int judged
    cdef bint named = identified(origins, head), placed = located(origins, head)
    if named:
        given = origins.given_id(head)                      # first: it may be removed below
    if given is not None or placed or traced(head):
        request.trusted = origins.trusts(stream)
    if named:
        request.known_id = origins.id_from(given if request.trusted else None)
    if placed:
        request.origin = new_origin()
        if request.base.secure:
            request.origin.scheme = "https"                 # unless a proxy that is believed says otherwise
        origins.ask(request.origin, head, stream, request.trusted)
    request.noted = placed or request.known_id is not None or traced(head)
    if origins.rules:
        judged = origins.admit(head, request.origin)
        if judged == OUTSIDE:
            request.outside = True
        else:
            request.prefix = judged
    if origins.redirects:
        origins.redirect(head, request.origin, request.base.secure)
    return 0


cdef str lost(object error):
    """How a client was lost, for the log."""
    if isinstance(error, StreamTimeout):
        return f"{error}; its connection was aborted"
    return f"the client disconnected ({type(error).__name__})"


cdef int failed(Exchange exchange, Request request, Delivery response, object error) except -1:
    """The application raised, or what carried its answer broke."""
    cdef Service service = exchange.service
    cdef int status = 500
    cdef bint last = False, as_json
    cdef str what = request.describe()
    cdef str location = None
    cdef int reach
    request.over = True                     # whoever was left behind writes no more of an answer
    as_json = not request.head_out and wants_json(request)
    request.take_input()
    reach = exchange.reach()
    if isinstance(error, BodyError) and (request.body.broken or error.status == 413):
        status = error.status
        if reach == Reach.GONE:
            service.noise("disconnections", f"{what}: {error}")
        else:
            how = f"{error}; the connection is aborted" if request.head_out else f"refused with {status}: {error}"
            if status < 500:
                service.noise("refusals", f"{what}: {how}")
            else:
                service.noise("overload", f"{what}: {how}", "error")    # no place for what clients may send at will
    elif reach == Reach.GONE:
        service.noise("disconnections", f"{what}: {lost(error)}")
        return exchange.abort()
    elif reach == Reach.LOST and isinstance(error, StreamClosed):
        service.report("error", f"{what}: {error}")
        return exchange.abort()
    elif isinstance(error, RequestRefused):
        status = error.status
        location = error.location
        if location is None:
            service.noise("refusals", f"{what}: refused with {status}: {error.reason}")
        last = status == 400
    elif isinstance(error, RequestTimeout):
        status = 503
        service.report("error", f"{what}: {error}", error)
        last = not request.body.done        # the body may be what it was waiting for
    else:
        service.report("error", f"{what}: {type(error).__name__} in the application", error)
        service.pool.pass_on(error)
    if request.head_out:
        return exchange.abort()             # a head is out: a truncated answer must not look whole
    text = trace(error) if service.settings.debug and status in (500, 503) else None
    response = plain(request, status, as_json, text)
    if location is not None:
        response.add("Location", location)
    response.asked_close = last or request.body.broken or status == 413
    response.deliver()
    return 0


cdef class PythonExchange(Exchange):
    """PythonExchange(service, stream, head, body=None)\n--\n
    An exchange that is carried by something written in Python: subclass it. Fast it is not.

    Arguments:
        service: with its application.
        stream: of the connection, which says who the peer is.
        head: of the request, as HTTP/1 writes it, with the empty line at its end.
        body: the content, or None for a request without.
    """

    def __init__(self, Service service not None, Stream stream not None, bytes head not None, PythonBody body=None):
        self.service = service
        self.stream = stream
        self.sent = head
        self.content = NOTHING
        if body is not None:
            body.limit = body.most = service.limit_body
            self.content = body

    def begin(self):
        """Have it answered, in a green thread of the service's pool."""
        self.service.pool.submit(self)

    # What there is to say of the answer. None of these may wait but `make_room`.

    def informed(self, status, fields):
        """An informational answer: a number, and pairs of name and value."""

    def started(self, status, fields, length):
        """The head of the answer. `length`: bytes of content, None if not known; 0 where there is none."""

    def told(self, data):
        """Some content."""

    def ended(self, trailers):
        """The answer is whole. Trailers: pairs of name and value."""

    def aborted(self):
        """The answer is not whole, and will not be."""

    def make_room(self):
        """Wait until there is room for more."""

    def has_gone(self):
        """Whether the peer can no longer be told anything."""
        return False

    def over(self):
        """The request is over, however it ended."""

    cdef int run(self) except -1:
        cdef Service service = self.service
        cdef Head head
        self.enter(service.running)
        try:
            if self.has_gone():
                return self.abort()         # it went away while this was queued: nobody waits for the answer
            head = service.take_head()
            try:
                if head.parse(PyBytes_AS_STRING(self.sent), PyBytes_GET_SIZE(self.sent)) <= 0:
                    raise WireError(400, "the head of the request is not whole")
            except WireError as error:
                return self.turn_away(
                    error.status, None, False, service.why(error), service.origins.id_of(None, self.stream)
                )
            head.base = PyBytes_AS_STRING(self.sent)
            head.own()
            answer_request(self, head, self.content, (<App>service.app).prepare("localhost", 80))
        except BaseException:
            self.show_end()
            self.abort()
            raise
        finally:
            self.content.over = True
            self.leave()
            self.over()
        return 0

    cdef int turn_away(self, int status, object retry_after, bint as_json, str reason, str id) except -1:
        """An answer of the server itself to a request that no application has seen. `reason`: for the log."""
        cdef ResponseHead answer = refusing(self.service, status, retry_after, as_json, id)
        cdef bint is_head = self.sent[:5] == b"HEAD "
        cdef bytes text = said(status, as_json)
        self.service.refused(self.stream, None, status, reason, id)
        self.service.date_line()
        answer.content_length = len(text)
        answer.measure(is_head, -1)
        if is_head:
            text = b""
        self.tell_head(answer)
        if text:
            self.told(text)
        self.finish([])
        if self.service.observer is not None:
            line = self.sent.lstrip(b"\r\n").partition(b"\r\n")[0]
            (<Observer>self.service.observer).refused(self.stream, None, line, status, len(text), False, id)
        return 0

    cdef int refuse(self) except -1:
        return self.overloaded(self.service.queue_full())

    cdef int overloaded(self, str reason) except -1:
        """No green thread is free, and the queue is full or the wait in it was too long."""
        cdef Head head = self.service.take_head()
        cdef bint as_json = False, whole = False
        cdef str id
        self.content.over = True
        try:
            with suppress(WireError):
                if head.parse(PyBytes_AS_STRING(self.sent), PyBytes_GET_SIZE(self.sent)) > 0:
                    head.base = PyBytes_AS_STRING(self.sent)
                    whole = True
                    as_json = head_wants_json(head)
            id = self.service.origins.id_of(head if whole else None, self.stream)
            return self.turn_away(503, max(1, ceil(self.service.queued.duration)), as_json, reason, id)
        finally:
            self.over()

    cdef int expired(self, Phase phase, double now) except -1:
        if phase is self.service.running:
            return self.overrun(phase)
        return self.overloaded(self.service.queue_too_long())

    cdef int inform(self, ResponseHead head, Head asked) except -1:
        cdef list fields = head.fields
        if self.state == Told.NOTHING:      # else somebody has begun the answer while these were made
            self.informed(head.status, fields)
        return 0

    cdef int start(self, ResponseHead answer, Head asked, Body content, int64_t known) except -1:
        answer.measure(asked.is_head, known)
        return self.tell_head(answer)

    cdef int tell_head(self, ResponseHead answer) except -1:
        cdef list fields = answer.fields
        cdef object length = None if answer.transfer == Transfer.CHUNKS else answer.content_length
        if answer.transfer == Transfer.EMPTY:
            length = 0
        if not answer.has_server and self.service.server:
            fields.append(pair_of(self.service.server))
        if not answer.has_date:
            fields.append(pair_of(self.service.date))
        if answer.content_length >= 0:
            fields.append(("Content-Length", str(answer.content_length)))
        if self.state != Told.NOTHING:      # foreign code may have run since somebody looked
            raise AssertionError("a head is out already")
        self.state = Told.HEAD
        self.started(answer.status, fields, length)
        return 0

    cdef int finish(self, list trailers) except -1:
        self.state = Told.END
        self.ended(trailers)
        return 0

    cdef int piece(self, ResponseHead answer, bytes data) except -1:
        self.told(data)
        return 0

    cdef int end(self, ResponseHead answer, ResponseHead trailers, int64_t missing) except -1:
        return self.abort() if missing else self.finish([] if trailers is None else trailers.fields)

    cdef int flush(self) except -1:
        self.make_room()
        return 0

    cdef int abort(self) except -1:
        if self.state != Told.END:
            self.state = Told.END
            self.aborted()
        return 0

    cdef int reach(self) noexcept:
        return Reach.GONE if self.has_gone() else Reach.OPEN


cdef tuple pair_of(bytes line):
    """(name, value) of a field line."""
    name, value = line.decode("latin-1").rstrip().split(": ", 1)
    return name, value
