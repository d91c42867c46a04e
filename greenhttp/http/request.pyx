"""A request, as a native handler sees it, and as the rest of the house asks it for its head and its content."""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from greenhttp.http.body cimport UNLIMITED, Body
from greenhttp.http.exchange cimport Entrance, Exchange
from greenhttp.http.service cimport naming
from greenhttp.process.ids cimport new_id
from greenhttp.wire.head cimport Framing, Head

from json import JSONDecodeError, loads
from urllib.parse import parse_qsl, unquote

from greenhttp.errors import HTTPError
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
        if self.made_query is None:
            text = head.base[head.query_at:head.query_at + head.query_len].decode("utf-8", "replace")
            self.made_query = Values(parse_qsl(text, keep_blank_values=True, errors="replace"))
        return self.made_query

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
        A client that closes only its sending side and waits for the answer looks exactly the same (TCP has no sign to
        tell them by); such clients are rare. True as well once the request is over. Two system calls that take nothing
        and never wait, so ask now and then, not in an inner loop; over TLS what has come is decrypted, 16 KiB at most.
        """
        return self.over or self.exchange.gone()

    def json(self, *, Py_ssize_t limit=1048576):
        """The content as JSON (RFC 8259), whatever its type says; the same object each time.

        Arguments:
            limit: bytes of content at most.

        Raises HTTPError (400, or 413 beyond the limit) and what reading the body raises. A handler that lets them pass
        answers with their status.
        """
        if self.made_json is None:
            try:
                self.made_json = (read_json(self.body, self.body.left(), limit),)
            except HTTPError as error:
                self.made_json = error.with_traceback(None)
        if isinstance(self.made_json, HTTPError):
            raise HTTPError(self.made_json.status, self.made_json.text)
        return self.made_json[0]

    def form(self, *, Py_ssize_t limit=1048576):
        """The content as a form, urlencoded or multipart (RFC 7578); the same object each time.

        Arguments:
            limit: bytes of text fields together. Files go to temporary files and count against `limit_request_body`.

        Returns a Form: a mapping of names to first values, with get_all; `form.files` holds the uploads. Multipart
        needs the extra `greenhttp[form]`.

        Raises HTTPError (415 if it is no form, 413 beyond a limit, 400) and what reading the body raises.
        """
        if self.made_form is None:
            from greenhttp.http.form import read_form

            kind = self.known().get("content-type", "")
            try:
                self.made_form = read_form(kind, self.body, limit)
            except HTTPError as error:      # asked again, what is left of the content must not pass for the form
                self.made_form = error.with_traceback(None)
            except BaseException:
                if kind[:10].lower() == "multipart/":   # else it is all there again, to be read once more
                    self.made_form = HTTPError(400, "reading the form was interrupted; the rest cannot be parsed")
                raise
        if isinstance(self.made_form, HTTPError):
            raise HTTPError(self.made_form.status, self.made_form.text)
        return self.made_form

    def __repr__(self):
        return f"<Request {self.method} {self.target}>"

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
