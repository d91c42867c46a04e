"""A request, as a native handler sees it, and as the rest of the house asks it for its head and its content."""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from greenhttp.green.transport cimport SocketStream
from greenhttp.http.body cimport UNLIMITED, Body
from greenhttp.http.exchange cimport Entrance, Exchange
from greenhttp.http.presence cimport Disconnected
from greenhttp.http.service cimport naming
from greenhttp.http.upgrade cimport change as to_protocol, offers
from greenhttp.http.websocket cimport agreed, check_room
from greenhttp.websockets.socket cimport WebSocket, open_socket
from greenhttp.process.ids cimport new_id
from greenhttp.wire.head cimport Framing, Head
from greenhttp.wire.response cimport ResponseHead

from json import JSONDecodeError, loads
from urllib.parse import parse_qsl, unquote

from greenhttp.errors import HTTPError, ResponseError
from greenhttp.http.trace import read_trace
from greenhttp.http.values import Values
from greenhttp.wire.names import KNOWN_NAMES


cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject* o)

cdef int TRACEPARENT = KNOWN_NAMES.index("traceparent")
cdef int TRACESTATE = KNOWN_NAMES.index("tracestate")


@cython.final
cdef class Headers:
    """The fields of a request by name, in any case. Does not change, and can be kept after the request.

    A mapping of each name, in small letters, to its value; fields of one name are joined with `, `, cookies with `; `
    (RFC 9110 5.3). `get_all(name)` gives the values apart. Values are latin-1, as WSGI has them.

    Trailers are a mapping of the same kind, of the fields behind the content. It is empty until the content was read to
    its end.
    """

    def __init__(self):
        raise TypeError("made by requests only")

    cdef object find(self, str name):
        """The value of the field, None without one."""
        if self.head is not None:
            if self.decoded:
                lower = name.lower()
                if lower == "transfer-encoding":
                    return None
                if lower == "content-length":
                    return self.length
            return self.head.get(name)
        values = self.get_all(name)
        return ("; " if name.lower() == "cookie" else ", ").join(values) if values else None

    cdef list all(self):
        if self.decoded:
            pairs = [pair for pair in self.head.fields if pair[0].lower() != "transfer-encoding"]
            return pairs if self.length is None else [*pairs, ("Content-Length", self.length)]
        if self.head is not None:
            return self.head.fields
        return self.content.followed() if self.content.done else []

    def __getitem__(self, str name not None):
        value = self.find(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, str name not None, default=None):
        """The value of the field, or `default`."""
        value = self.find(name)
        return default if value is None else value

    def get_all(self, str name not None):
        """The values of all fields of that name, in the order they came."""
        wanted = name.lower()
        return [value for key, value in self.all() if key.lower() == wanted]

    def __contains__(self, name):
        return isinstance(name, str) and self.find(name) is not None

    def _names(self):
        return list(dict.fromkeys([name.lower() for name, _ in self.all()]))

    def __iter__(self):
        return iter(self._names())

    def __len__(self):
        return len(self._names())

    def keys(self):
        """The names, in small letters, each once."""
        return self._names()

    def values(self):
        """The values, in the order of `keys`."""
        return [self.find(name) for name in self._names()]

    def items(self):
        """(name, value) for each name."""
        return [(name, self.find(name)) for name in self._names()]

    @property
    def pairs(self):
        """(name, value) of every field, as the client spelled them, in order."""
        return self.all()

    def __repr__(self):
        return f"Headers({self.pairs!r})"


cdef Headers trailers_of(Body content):
    cdef Headers trailers = Headers.__new__(Headers)
    trailers.content = content
    return trailers


def _no_number(text):
    raise ValueError(f"{text} is no JSON number")


cdef object read_json(Body body, int64_t announced, Py_ssize_t limit):
    if announced > limit:
        raise HTTPError(413, f"JSON content of more than {limit} bytes")
    data = body.read(limit + 1 if limit < UNLIMITED else limit)
    if len(data) > limit:
        raise HTTPError(413, f"JSON content of more than {limit} bytes")
    try:
        return loads(data, parse_constant=_no_number)
    except JSONDecodeError as error:
        raise HTTPError(400, f"the content is not JSON: {error}") from None
    except (ValueError, RecursionError):
        raise HTTPError(400, "the content is not JSON that can be read") from None


@cython.final
@cython.freelist(8)
cdef class Parsed:
    """What a Request has for those who ask for its query, or parse its content."""


@cython.final
@cython.freelist(8)
cdef class Request:
    """One request, as a native handler sees it. What is not asked for is not made.

    Attributes:
        method: as sent; methods are case-sensitive (RFC 9110 9.1).
        body: the content, as a binary file that can be read once, forward: read, read_some, readline, readlines, iter.
    """

    def __init__(self):
        raise TypeError("made by connections only")

    @property
    def target(self):
        """The request target as it was sent (RFC 9112 3.2), a str of latin-1."""
        if self.sent_target is None:
            self.sent_target = self.known().target
        return self.sent_target

    @property
    def path(self):
        """The path, %-decoded as UTF-8; what is not UTF-8 becomes U+FFFD. Only `target` tells a `%2F` from a `/`.

        Without `root_path`: "" for exactly that.
        """
        cdef Head head = self.known()
        if self.made_path is None:
            text = head.text(head.path_at + self.prefix, head.path_len - self.prefix)
            self.made_path = text if head.path_plain else unquote(text, errors="replace")
        return self.made_path

    @property
    def root_path(self):
        """The path prefix of the application, to be put before its paths in links: "", or like "/below".

        The prefix that a trusted proxy removed (`--root-path-header`), followed by `--root-path`.
        """
        return self.below()

    @property
    def query_string(self):
        """What follows the first `?` of the target, as sent."""
        return self.known().query

    @property
    def query(self):
        """The parameters in the target, as Values: a mapping of names to first values, with get_all."""
        cdef Head head = self.known()
        cdef Parsed made = self.parsed()
        if made.query is None:
            text = head.base[head.query_at:head.query_at + head.query_len].decode("utf-8", "replace")
            made.query = Values(parse_qsl(text, keep_blank_values=True, errors="replace"))
        return made.query

    @property
    def headers(self):
        """The fields, as Headers: a mapping of names, in any case, to values.

        Without Transfer-Encoding, which speaks of one connection, and which `body` has undone (RFC 9110 7.6.1); with a
        Content-Length instead where chunked content is gathered first (`gather_chunked`).
        """
        cdef Headers headers
        if self.made_headers is None:
            headers = Headers.__new__(Headers)
            headers.head = self.known()
            headers.decoded = headers.head.framing == Framing.CHUNKED
            headers.length = self.body.gathered
            self.made_headers = headers
        return self.made_headers

    @property
    def trailers(self):
        """The fields behind chunked content, as Headers (RFC 9110 6.5). Never merged into `headers`.

        Empty until the content was read to its end: by `body.read()`, say, or until a read gives b"".
        """
        return trailers_of(self.body)

    @property
    def host(self):
        """The host that was asked for, with its port if one was given; "" if none was (HTTP/1.0).

        The host that the client asked the proxy for, if the proxy is trusted and `forwarded_host` or `forwarded_field`
        allows it.
        """
        return self.known().host if self.origin is None or self.origin.host is None else self.origin.host

    @property
    def version(self):
        """`HTTP/1.1` or `HTTP/1.0`."""
        return self.known().version

    @property
    def scheme(self):
        """`https` if the client speaks TLS with this server, else `http`; where a trusted proxy (`forwarded_allow_ips`)
        says what the client speaks with it, that counts."""
        if self.origin is not None:
            return self.origin.scheme
        return "https" if self.base.secure else "http"

    @property
    def tls(self):
        """What was agreed on in TLS, a TLSInfo: version, cipher, server_name, the certificate of the client ...; None:
        the connection is plain. Can be kept after the request.

        It tells of the connection to this server: behind a proxy that speaks TLS with it, certificate and all are the
        proxy's. Where TLS ends at a proxy that tells of it before the first byte (`proxy_protocol`), it is the
        client's, as that proxy has told, and `tls.proxied`.
        """
        return self.base.tls

    @property
    def peer(self):
        """The client: (host, port), or "" over a UNIX socket.

        It is the other end of the connection, unless that is a trusted proxy (`forwarded_allow_ips`) that says who the
        client is. Then the port is 0 if the proxy does not say it, and the host may be the word `unknown`, a name that
        begins with `_` (RFC 7239 6), or `unix`: somebody who came to the proxy over a UNIX socket.
        """
        return self.exchange.stream.peer if self.origin is None or self.origin.peer is None else self.origin.peer

    @property
    def proxies(self):
        """The addresses of the trusted proxies between `peer` and here, a tuple of str, the one nearest to the client
        first.

        The last one is the other end of the connection, `unix` over a UNIX socket. Empty if no proxy has said who the
        client is.
        """
        return () if self.origin is None else self.origin.proxies

    @property
    def proxied(self):
        """What a proxy has said of the connection before its first byte (`proxy_protocol`), a wire.proxy.Proxied; or
        None."""
        return self.exchange.stream.proxied

    @property
    def id(self):
        """The ID of this request, the same each time: what a trusted proxy (`forwarded_allow_ips`) has given it in
        X-Request-Id (`request_id_header`), else a new one of 32 hex digits, created on first use.

        A given one has 1 to 128 characters of `A-Z a-z 0-9 - _ . = + / @ :`. An ID names a request in logs. It is not a
        secret; do not use it for access control.
        """
        return self.identify()

    @property
    def trace(self):
        """The Trace that a trusted proxy (`forwarded_allow_ips`) says this request belongs to, else None (W3C Trace
        Context). `request.trace.fields()` gives the fields for a request that is sent onward."""
        cdef Head head = self.known()
        if head.find(TRACEPARENT) < 0 or not self.trusted:
            return None
        return read_trace(self.values_of(TRACEPARENT), self.values_of(TRACESTATE))

    @property
    def gone(self):
        """Whether the client has gone, so that the answer to this request would reach nobody. Looks anew each time.

        True once the connection was reset, output of it was lost (a file that shrank), or the client has finished
        sending and all that it sent was read: content that is still to be read, or a request sent ahead, hides its end.
        A client that closes only its sending side and waits for the answer looks exactly the same here; `disconnected`
        tells them apart, and can be waited for. True as well once the request is over. Two system calls that take
        nothing and never wait, so ask now and then, not in an inner loop; over TLS what has come is decrypted, 16 KiB
        at most.
        """
        return self.over or self.exchange.gone()

    @property
    def disconnected(self):
        """Whether the client has gone before the request was over, a Disconnected: true or false, with `wait(timeout)`.

        `while not request.disconnected: ...` costs no system call; it is kept up to date while the green thread waits
        for anything. From the first use on the connection is watched. A client that has closed one side, or both, is
        sent `100 Continue`, which clients of HTTP/1.1 skip (RFC 9110 15.2.1): one that has gone answers it with a
        reset. Clients of HTTP/1.0, and those that have the head of an answer, are sent nothing before the next piece.
        """
        return self.attend(True)

    def on_disconnect(self, function):
        """Have `function()` called once if the client goes before the request is over, in a green thread of its own.

        If it has gone already, soon; if the request is over before, never. Several are called side by side. What they
        raise is logged. Returns `function`, so this can stand above its definition as `@request.on_disconnect`.
        """
        if not callable(function):
            raise TypeError(f"a function is needed, not {type(function).__name__}")
        self.attend(True).call(function, f"{self.describe()}: ")
        return function

    @property
    def cancel_on_disconnect(self):
        """Whether ClientDisconnected is raised in the green thread of this request, where it waits for something, when
        its client goes. The setting of that name, until it is set; set, it counts for this request alone.

        Raised once, and not where the answer is whole and only its end is being tidied up.
        """
        return self.presence.cancels if self.presence is not None else self.exchange.service.cancels

    @cancel_on_disconnect.setter
    def cancel_on_disconnect(self, bint cancels):
        if cancels or self.presence is not None:
            self.attend(True).cancel_on_disconnect = cancels

    def json(self, *, Py_ssize_t limit=1048576):
        """The content as JSON (RFC 8259), whatever its type says; the same object each time.

        Arguments:
            limit: bytes of content at most.

        Raises HTTPError (400, or 413 beyond the limit) and what reading the body raises. A handler that lets them pass
        answers with their status.
        """
        cdef Parsed made = self.parsed()
        if made.json is None:
            try:
                made.json = (read_json(self.body, self.body.left(), limit),)
            except HTTPError as error:
                made.json = error.with_traceback(None)
        if isinstance(made.json, HTTPError):
            raise HTTPError(made.json.status, made.json.text)
        return made.json[0]

    def form(self, *, Py_ssize_t limit=1048576):
        """The content as a form, urlencoded or multipart (RFC 7578); the same object each time.

        Arguments:
            limit: bytes of text fields together. Files go to temporary files and count against `limit_request_body`.

        Returns a Form: a mapping of names to first values, with get_all; `form.files` holds the uploads. Multipart
        needs the extra `greenhttp[form]`.

        Raises HTTPError (415 if it is no form, 413 beyond a limit, 400) and what reading the body raises.
        """
        cdef Parsed made = self.parsed()
        if made.form is None:
            from greenhttp.http.form import read_form

            kind = self.known().get("content-type", "")
            try:
                made.form = read_form(kind, self.body, limit)
            except HTTPError as error:      # asked again, what is left of the content must not pass for the form
                made.form = error.with_traceback(None)
            except BaseException:
                if kind[:10].lower() == "multipart/":   # else it is all there again, to be read once more
                    made.form = HTTPError(400, "reading the form was interrupted; the rest cannot be parsed")
                raise
        if isinstance(made.form, HTTPError):
            raise HTTPError(made.form.status, made.form.text)
        return made.form

    def early_hints(self, links):
        """Send `103 Early Hints` now (RFC 8297): the client can begin to load what the answer will need.

        Arguments:
            links: what a Link field says (RFC 8288), such as `</style.css>; rel=preload; as=style`: a str, or several.

        May be called several times before the handler returns. Waits until they have left. Clients of HTTP/1.0 get none
        (RFC 9110 15.2). Raises ResponseError and TypeError for what no field may say, AssertionError once the head of
        the answer is out, and what writing raises.
        """
        cdef ResponseHead head = ResponseHead()
        cdef Py_ssize_t empty
        head.begin("103 Early Hints")
        empty = head.size
        for link in (links,) if isinstance(links, str) else links:
            head.add("Link", link)
        if head.size > empty:
            self.inform(head)

    def upgrade(self, str protocol not None):
        """Change the protocol of the connection, and have the Stream: 101 is the answer (RFC 9110 7.8).

        Arguments:
            protocol: one of `allow_upgrades`.

        When the handler returns, what it has written is sent, and the connection ends; when it raises, the connection
        is reset. `request_timeout` does not count any more, nor does the request need a place of `concurrency`.

        Raises HTTPError if the client does not offer to change to it: 426, which says what it should have offered.
        ResponseError if it is not one of `allow_upgrades`, if the content of the request was not read to its end, and
        once an answer has begun.
        """
        cdef Head head = self.known()
        self.keep()
        if protocol.lower() not in [allowed.lower() for allowed in self.exchange.service.settings.allow_upgrades]:
            raise ResponseError(f"{protocol!a:.80} is not one of allow_upgrades; start the server with"
                                f" --allow-upgrades {protocol}")
        if not offers(head, protocol):
            raise HTTPError(426, headers=[("Upgrade", protocol)])
        self.change(protocol, ())
        self.exchange.stream.written(None)
        return self.exchange.stream

    @property
    def is_websocket(self):
        """Whether the client asks for a WebSocket (RFC 6455 4.1): `websocket` may still have to refuse it."""
        return offers(self.known(), "websocket")

    def websocket(self, *, protocols=(), origins=None, on_message=None, on_close=None):
        """Open a WebSocket, and have it: 101 is the answer (RFC 6455 4.2).

        Arguments:
            protocols: sub-protocols that the application speaks, the one it likes best first. The first that the client
                speaks as well is agreed on, if there is one.
            origins: of whose pages browsers may open it, like `https://example.com`, beside those of this host: instead
                of `websocket_origins`. `*`: of any.
            on_message: called with the WebSocket and each message, one after the other, in a green thread of the pool.
                The handler returns at once then, and an idle WebSocket needs no green thread.
            on_close: called with the WebSocket when it is over.

        Without these two, it is closed when the handler returns. It needs no place of `concurrency`, and
        `request_timeout` does not count any more.

        Raises HTTPError, which a handler lets pass: 426 if this is no request for a WebSocket, or for another version,
        400 for a malformed one, 403 for a page of another origin, 503 beyond `websocket_connections`; ResponseError
        once an answer has begun.
        """
        cdef WebSocket socket
        self.known()
        self.keep()
        if self.over or self.head_out:
            raise ResponseError("the request was answered, or its connection has changed its protocol already")
        protocol, compression, fields = agreed(
            self.exchange, self.head, self.body, f"{self.scheme}://{self.host}", protocols, origins
        )
        socket = open_socket(
            self.exchange.service.websockets, self.exchange.stream, self.exchange, self, protocol, compression,
            on_message, on_close,
        )
        self.change("websocket", fields)
        socket.begin()
        return socket

    def __repr__(self):
        return f"<Request {self.method} {self.target}>"

    cdef Parsed parsed(self):
        cdef Parsed made
        if self.made is None:
            made = Parsed.__new__(Parsed)
            if self.made is None:               # else foreign code was first while this was made
                self.made = made
        return self.made

    cdef Head known(self):
        """Its head. A request that no application has kept gives it back; tools that look at all objects find it."""
        if self.head is None:
            raise RuntimeError("the request is over, and was not kept")
        return self.head

    cdef int keep(self) except -1:
        """From now on the head is the request's own: what is asked for can be made at any time."""
        self.head.own()
        return self.take_input()

    cdef bint kept(self, Py_ssize_t known) noexcept:
        """Whether somebody beyond `known` references will still look at it, after the answer."""
        return self.head.owned is not None and Py_REFCNT(<PyObject*>self) > known

    cdef int take_input(self) except -1:
        """The head has been made use of, the body is next. By whoever answers, once."""
        if not self.input_taken:
            self.input_taken = True
            self.exchange.head_used(self.head)
        return 0

    cdef int inform(self, ResponseHead head) except -1:
        """Send an informational answer before the final one (RFC 9110 15.2), and wait until it has left."""
        if self.over or self.head_out:
            raise AssertionError("an informational answer must be sent before the final one")
        self.exchange.inform(head, self.head)
        self.exchange.flush()           # it is of use only while the final answer is being made
        return 0

    cdef int change(self, str protocol, object fields) except -1:
        """Change the protocol of its connection (RFC 9110 15.2.2), see `upgrade.change`; its head must be its own. From
        then on there is no other answer, and what is said on the stream is for whoever has asked for this."""
        unanswered(self)
        to_protocol(self.exchange, self.head, self.body, protocol, fields)
        self.head_out = True
        self.switched = True
        return 0

    cdef str identify(self):
        """Its ID, which is made if it has none."""
        if self.known_id is None:
            self.known_id = new_id()
        return self.known_id

    cdef list values_of(self, int known):
        """The values of all fields with that index in KNOWN_NAMES, in their order."""
        cdef Head head = self.head
        cdef list values = []
        cdef int at = head.find(known)
        while at >= 0:
            values.append(head.text(head.field[at].value, head.field[at].value_len))
            at = head.find(known, at + 1)
        return values

    cdef str below(self):
        """What the application's paths are below."""
        cdef str own = self.exchange.service.origins.root_path
        cdef str path = own if self.origin is None else self.origin.root_path
        return path.removesuffix(own) if self.outside else path

    cdef Disconnected attend(self, bint look):
        """What is known of its client from now on. `look`: also now, else from when something is to be seen."""
        cdef Disconnected made
        if self.presence is None:
            made = Disconnected.__new__(Disconnected)
            if self.presence is None:           # else foreign code was first while this was made
                self.presence = made
                if not self.over:
                    made.begin(self.exchange, look)
        return self.presence

    cdef str who(self):
        """The client, for people."""
        cdef str said = None if self.origin is None else self.origin.who()
        return self.exchange.stream.who() if said is None else said

    cdef str describe(self):
        """Client, ID if it has one, method, path, for the log.

        Without `keep`, the head's bytes are gone once `take_input` was called.
        """
        cdef Head head = self.head
        if self.sent_target is None:
            if self.input_taken and head.owned is None:
                self.sent_target = ""
            else:
                self.sent_target = head.text(head.target_at, head.target_len)
        return f"{naming(self.who(), self.known_id)}{self.method} {self.sent_target.partition('?')[0]}"


cdef Request new_request(Exchange exchange, Head head, Body body, Entrance base):
    cdef Request request = Request.__new__(Request)
    request.exchange = exchange
    request.head = head
    request.body = body
    request.method = head.method
    request.base = base
    return request


cdef int unanswered(Request request) except -1:
    """Raise if there is an answer, or another protocol, already."""
    if request.over or request.head_out or request.switched:
        raise ResponseError("the request was answered, or its connection has changed its protocol already")
    return 0


def hand_over(Request request not None, Py_ssize_t taken=0):
    """The connection of a request, without an answer to it: for whoever speaks a protocol of its own from here on, and
    begins with the 101 itself. The server knows nothing of it any more, no time-out, no limit, no stop.

    Arguments:
        taken: how many were handed over before and are still open: with the WebSockets, websocket_connections at most.

    Returns a SocketStream, which has what came behind the request. Raises ResponseError where it cannot be, and
    HTTPError (503) where it is one too many, or the server stops; then nothing has happened. What earlier answers have
    to wait for may raise too.
    """
    cdef Exchange exchange = request.exchange
    cdef SocketStream stream
    if type(exchange.stream) is not SocketStream:
        raise ResponseError("this connection has no socket that could be handed over")
    request.known()
    unanswered(request)
    request.keep()
    exchange.flush()                        # answers to earlier requests, which may wait
    unanswered(request)
    if not request.body.done or request.body.expecting:
        raise ResponseError("the content of the request must be read to its end before the protocol changes")
    check_room(exchange, taken)
    exchange.switch(None, request.head, request.body)
    if request.presence is None:
        request.presence = Disconnected.__new__(Disconnected)
    request.presence.end()                  # whether the client is there is not known from here on
    request.head_out = True
    request.switched = True
    stream = exchange.surrender()
    return stream
