"""WSGI (PEP 3333): a request to an environ, what the application returns to a response.

The environ begins as a copy of a dict made once per listening address, which costs less than filling one: it holds what
most requests have - GET, an empty body, the address of the peer before -, so that only what differs is set. A known
field name is an index; its environ key is looked up, not made, and so is its value if it is one of those that clients
repeat and it is the one that came last.
"""

from cpython.dict cimport PyDict_Copy, PyDict_GetItem, PyDict_SetItem, PyDict_Size
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from greenhttp.green.pool cimport Worker
from greenhttp.green.transport cimport SocketStream
from greenhttp.http.application cimport App, take_spare
from greenhttp.http.body cimport NOTHING
from greenhttp.http.exchange cimport Entrance, Exchange
from greenhttp.http.request cimport Request, trailers_of
from greenhttp.http.origin cimport Origin
from greenhttp.http.response cimport Delivery, bytes_of, file_range
from greenhttp.wire.head cimport Field, Form, Framing, Head
from greenhttp.wire.proxy cimport Proxied

import sys

from greenhttp import __version__
from greenhttp.hosting.errors import Errors
from greenhttp.hosting.mod_ssl import variables
from greenhttp.wire.names import KNOWN_NAMES


cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 largest)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    PyObject* PyList_GET_ITEM(list items, Py_ssize_t at)
    object PyUnicode_DecodeLatin1(const char* data, Py_ssize_t size, const char* errors)

assert KNOWN_NAMES[ACCEPT] == "accept"

cdef str cgi_name(str name):
    if name in ("content-type", "content-length"):
        return name.upper().replace("-", "_")
    return "HTTP_" + name.upper().replace("-", "_")

cdef tuple KEYS = tuple([sys.intern(cgi_name(name)) for name in KNOWN_NAMES])

cdef str K_METHOD = sys.intern("REQUEST_METHOD")
cdef str K_SCRIPT = sys.intern("SCRIPT_NAME")
cdef str K_PATH = sys.intern("PATH_INFO")
cdef str K_QUERY = sys.intern("QUERY_STRING")
cdef str K_URI = sys.intern("RAW_URI")
cdef str K_PROTOCOL = sys.intern("SERVER_PROTOCOL")
cdef str K_ADDR = sys.intern("REMOTE_ADDR")
cdef str K_PORT = sys.intern("REMOTE_PORT")
cdef str K_INPUT = sys.intern("wsgi.input")
cdef str K_HOST = sys.intern("HTTP_HOST")
cdef str K_SCHEME = sys.intern("wsgi.url_scheme")
cdef str K_HTTPS = sys.intern("HTTPS")      # where applications look that do not know the scheme
cdef str K_TRAILERS = sys.intern("greenhttp.trailers")
cdef str K_ID = sys.intern("greenhttp.request_id")
cdef str K_TRACE = sys.intern("greenhttp.trace")
cdef str K_CODING = sys.intern("HTTP_TRANSFER_ENCODING")
cdef str K_LENGTH = sys.intern("CONTENT_LENGTH")
cdef str K_ACCEPT = sys.intern("HTTP_ACCEPT")
cdef str HTTP_1_0 = "HTTP/1.0"
cdef str HTTP_1_1 = "HTTP/1.1"
cdef str GET = "GET"

cdef enum:
    FEW = 21                    # keys that a table of 32 places takes, and of 64
    FEW_SECURE = 42
    REPEATED = 160              # bytes of a value worth remembering
    ACCEPT = 18                # its place among the known names; checked below

# What clients send again and again, and what is nobody's secret: the value that came last of each of these.
cdef list last_values = [""] * len(KNOWN_NAMES)
cdef unsigned char REPEATS[256]
memset(REPEATS, 0, 256)
for _name in (
    "host", "connection", "keep-alive", "te", "user-agent", "accept", "accept-encoding", "accept-language",
    "accept-charset", "content-type", "cache-control", "pragma", "origin", "upgrade-insecure-requests", "dnt",
    "priority", "sec-gpc", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-user", "sec-fetch-dest", "sec-ch-ua",
    "sec-ch-ua-mobile", "sec-ch-ua-platform", "x-requested-with", "via", "x-scheme", "x-forwarded-proto",
    "x-forwarded-protocol", "x-forwarded-host", "x-forwarded-port", "x-forwarded-server", "x-forwarded-ssl",
    "x-forwarded-scheme", "x-forwarded-prefix",
):
    REPEATS[KNOWN_NAMES.index(_name)] = 1

cdef unsigned char HEX[256]
memset(HEX, 255, 256)
for _digit in range(10):
    HEX[c'0' + _digit] = _digit
for _digit in range(6):
    HEX[c'a' + _digit] = HEX[c'A' + _digit] = 10 + _digit


cdef inline str text(const char* data, Py_ssize_t size):
    return <str>PyUnicode_DecodeLatin1(data, size, NULL)


cdef str unquoted(const char* data, Py_ssize_t size):
    """%-decoded, each byte one character (PEP 3333). What is not two hex digits after a % stays as it is."""
    cdef bytearray result = bytearray(size)
    cdef unsigned char* p = <unsigned char*>(<char*>result)
    cdef unsigned char* start = p
    cdef Py_ssize_t i = 0
    cdef unsigned char c
    while i < size:
        c = <unsigned char>data[i]
        if c == c'%' and i + 2 < size and HEX[<unsigned char>data[i + 1]] < 16 and HEX[<unsigned char>data[i + 2]] < 16:
            c = HEX[<unsigned char>data[i + 1]] << 4 | HEX[<unsigned char>data[i + 2]]
            i += 2
        p[0] = c
        p += 1
        i += 1
    return text(<char*>start, p - start)


cdef str key_of(const char* name, Py_ssize_t size):
    """HTTP_ and the name in capitals, `-` as `_`, for a name that is not in the table."""
    cdef object key = PyUnicode_New(size + 5, 127)
    cdef unsigned char* p = <unsigned char*>PyUnicode_DATA(key)
    cdef Py_ssize_t i
    cdef unsigned char c
    memcpy(p, b"HTTP_", 5)
    p += 5
    for i in range(size):
        c = <unsigned char>name[i]
        p[i] = c - 32 if c'a' <= c <= c'z' else (c'_' if c == c'-' else c)
    return <str>key


cdef str port_text(unsigned int port):
    cdef unsigned int size = 1, most = 10
    cdef object result
    cdef unsigned char* p
    while port >= most:
        size += 1
        most *= 10
    result = PyUnicode_New(size, 127)
    p = <unsigned char*>PyUnicode_DATA(result)
    while size:
        size -= 1
        p[size] = c'0' + <unsigned char>(port % 10)
        port //= 10
    return <str>result


cdef object value_of(int known, const char* data, Py_ssize_t size):
    """The value of a known field as str."""
    cdef object value = <object>PyList_GET_ITEM(last_values, known)
    if PyUnicode_GET_LENGTH(value) == size and memcmp(PyUnicode_DATA(value), data, size) == 0:
        return value
    value = text(data, size)
    if REPEATS[known] and size <= REPEATED:
        last_values[known] = value
    return value


cdef class Base(Entrance):
    """What the environs of one listening address begin as: the same dict twice, the second with room for more fields.
    Connections through TLS that have agreed on the same share another one, in which that stands.

    Both dicts hold the address of the peer that came last: behind a proxy, or of a client that keeps its connection, it
    is that of the next as well.
    """

    cdef dict few
    cdef dict many
    cdef int room                   # keys of a request whose fields are that few that the smaller table will do
    cdef unsigned char address[16]
    cdef int family                 # 0: a UNIX socket, or nobody yet

    cdef int fill(self, dict environ) except -1:
        self.few = {}
        self.many = {}
        for key, value in environ.items():  # one by one: update() would take over whatever table `environ` has
            self.few[key] = self.many[key] = value
        # A table keeps its size when keys are taken off its end, and a copy has the size of its original: a request
        # with many fields does not make it grow.
        size = sys.getsizeof(self.few)
        while sys.getsizeof(self.many) == size:
            self.many[f"HTTP_X_{len(self.many)}"] = None
        while len(self.many) > len(self.few):
            self.many.popitem()
        self.room = FEW if len(self.few) < FEW else FEW_SECURE
        assert len(self.few) < self.room, "with one key more `few` would have no room for a field"
        return 0

    cdef int came_from(self, SocketStream stream) except -1:
        cdef size_t size = 4 if stream.family == 2 else 16
        cdef object address
        if stream.family != self.family or memcmp(stream.address, self.address, size) != 0:
            # Made first, and nothing after it: what is made may let the collector run, which may let a finalizer wait,
            # and another request come between the bytes and their text.
            address = stream.peer[0]
            PyDict_SetItem(self.few, K_ADDR, address)
            PyDict_SetItem(self.many, K_ADDR, address)
            memcpy(self.address, stream.address, size)
            self.family = stream.family
        return 0


cdef dict make_environ(Request request):
    """The environ."""
    cdef Head head = request.head
    cdef Base base = <Base>request.base
    cdef const char* p = head.base
    cdef SocketStream stream = None
    cdef dict environ
    cdef uint64_t seen[4]
    cdef Field* field
    cdef object key, value, raw
    cdef int i
    cdef dict repeated = None
    cdef bint collide = bool(head.allow_names)      # a name with `_` let through may have taken a known name's key
    if type(request.exchange.stream) is SocketStream:
        stream = <SocketStream>request.exchange.stream
        if stream.family:
            base.came_from(stream)
    environ = <dict>PyDict_Copy(
        base.few if not request.noted and head.count <= base.room - PyDict_Size(base.few) else base.many
    )
    if head.method is not GET:
        PyDict_SetItem(environ, K_METHOD, head.method)
    raw = text(p + head.target_at, head.target_len)
    PyDict_SetItem(environ, K_URI, raw)
    request.sent_target = raw
    if head.form == Form.ASTERISK:
        pass                    # `*` is no path: PATH_INFO stays empty (RFC 3875 4.1.5), RAW_URI tells
    elif not head.path_plain:
        PyDict_SetItem(
            environ, K_PATH, unquoted(p + head.path_at + request.prefix, head.path_len - request.prefix)
        )
    elif head.path_len - request.prefix == head.target_len:
        PyDict_SetItem(environ, K_PATH, raw)
    else:
        PyDict_SetItem(environ, K_PATH, text(p + head.path_at + request.prefix, head.path_len - request.prefix))
    if head.query_len:
        PyDict_SetItem(environ, K_QUERY, text(p + head.query_at, head.query_len))
    if head.minor == 0:
        PyDict_SetItem(environ, K_PROTOCOL, HTTP_1_0)
    if stream is not None and stream.family:
        PyDict_SetItem(environ, K_PORT, port_text(stream.port))
    elif base.family:
        PyDict_SetItem(environ, K_ADDR, "")     # macOS: a peer that was gone before it was accepted has no address
    if request.body is not NOTHING:
        PyDict_SetItem(environ, K_INPUT, request.body)
        if head.framing == Framing.CHUNKED:
            PyDict_SetItem(environ, K_TRAILERS, trailers_of(request.body))
    memset(seen, 0, sizeof(seen))
    for i in range(head.count):
        field = &head.field[i]
        if field.known >= 0:
            value = value_of(field.known, p + field.value, field.value_len)
            key = <object>PyTuple_GET_ITEM(KEYS, field.known)
            if field.known == ACCEPT:
                request.accept = <str>value     # for an error: the head's bytes go
            if not seen[field.known >> 6] >> (field.known & 63) & 1:
                seen[field.known >> 6] |= <uint64_t>1 << (field.known & 63)
                if not collide or PyDict_GetItem(environ, key) == NULL:
                    PyDict_SetItem(environ, key, value)
                    continue
        else:
            value = text(p + field.value, field.value_len)
            key = key_of(p + field.name, field.name_len)
            if PyDict_GetItem(environ, key) == NULL:
                PyDict_SetItem(environ, key, value)
                continue
        # Repeated: gathered first and joined once, which is linear however often (contract rule 14).
        if repeated is None:
            repeated = {}
        if key not in repeated:
            repeated[key] = [environ[key]]
        (<list>repeated[key]).append(value)
    if repeated is not None:
        for key, values in repeated.items():
            environ[key] = ("; " if key == "HTTP_COOKIE" else ", ").join(values)
        if K_ACCEPT in repeated:
            request.accept = environ[K_ACCEPT]
    if head.framing == Framing.CHUNKED:
        # It speaks of one connection, and is undone: applications that find it decode the content a second time.
        environ.pop(K_CODING, None)
        if request.body.gathered is not None:
            environ[K_LENGTH] = request.body.gathered
    if head.form == Form.ABSOLUTE:
        environ[K_HOST] = text(p + head.host_at, head.host_len)
    if request.noted:
        if request.known_id is not None:
            PyDict_SetItem(environ, K_ID, request.known_id)
        value = request.trace
        if value is not None:
            PyDict_SetItem(environ, K_TRACE, value)
    if request.origin is not None:
        correct(environ, request.origin, base.tls is not None)
        environ[K_SCRIPT] = request.below()
        if request.exchange.stream.proxied is not None:     # with the PROXY protocol there is always an origin
            tell_proxied(environ, request.exchange.stream.proxied)
    elif request.outside:
        environ[K_SCRIPT] = ""
    return environ


cdef int tell_proxied(dict environ, Proxied proxied) except -1:
    """What a PROXY header has said, by gunicorn's names."""
    cdef object destination = proxied.destination
    environ["PROXY_PROTOCOL"] = proxied.protocol
    if destination is not None:
        environ["PROXY_ADDR"] = destination[0]
        environ["PROXY_PORT"] = str(destination[1])
    environ["greenhttp.proxied"] = proxied
    return 0


cdef int correct(dict environ, Origin origin, bint encrypted) except -1:
    """What differs from what connection and head say."""
    environ[K_SCHEME] = origin.scheme
    if encrypted and origin.scheme != "https":
        environ.pop(K_HTTPS, None)          # the client speaks http with a proxy that speaks TLS with this server
    if origin.peer is not None:
        host, port = origin.peer
        environ[K_ADDR] = host
        environ[K_PORT] = str(port)
    if origin.host is not None:
        environ[K_HOST] = origin.host
        environ["SERVER_NAME"] = origin.name
        environ["SERVER_PORT"] = str(origin.port)
    return 0


class FileWrapper:
    """`wsgi.file_wrapper`: an iterable over a file; over a regular file the server sends it without reading it.

    It has `close`, `seek`, `tell` and `seekable` where the file has. It is sent from where it stands when the answer
    begins, so Werkzeug can move it to the beginning of a range.
    """

    def __init__(self, filelike, blksize=65536):
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __getattr__(self, name):
        if name in ("seek", "tell", "seekable"):
            return getattr(self.filelike, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __iter__(self):
        return self

    def __next__(self):
        data = self.filelike.read(self.blksize)
        if data:
            return data
        raise StopIteration


cdef class WSGIDelivery(Delivery):
    """A response that is also its own `start_response`, and the `write` that this returns.

    One object for three roles, because each request would pay for every further one: called with a status and headers
    it is start_response, with one bytes object it is write.
    """

    def __call__(self, status, headers=None, exc_info=None):
        """start_response(status, headers, exc_info=None) -> write, or write(data) (PEP 3333)."""
        cdef object field
        self.writable()
        if headers is None and (self.called or not isinstance(status, str)):
            return self.write(status)
        if exc_info is not None:
            try:
                if self.request.head_out:
                    raise exc_info[1]
            finally:
                exc_info = None         # no cycle through the traceback
            self.trailers = None        # they were of the answer that this one replaces
        elif self.called:
            raise AssertionError("start_response was called twice without exc_info")
        self.called = False
        self.begin(status)
        if type(headers) is not list:
            raise TypeError(f"response headers must be a list of pairs, not {type(headers).__name__}")
        for field in <list>headers:
            if type(field) is not tuple or len(<tuple>field) != 2:
                raise TypeError("a response header must be a tuple of name and value")
            self.add(<object>PyTuple_GET_ITEM(field, 0), <object>PyTuple_GET_ITEM(field, 1))
        self.called = True
        return self

    cdef int writable(self) except -1:
        """Raise if the answer is over: what came behind its end would be read as the next one."""
        if self.request is None or self.request.over or self.ended:
            raise AssertionError("the request is over; nothing can be added to its answer")
        return 0

    cdef object write(self, object data):
        """Send `data` at once; for applications older than iterables (PEP 3333)."""
        if type(data) is not bytes:
            data = bytes_of(data)               # before the head is out, if it is none
        if not self.request.head_out:
            self.start(-1)
        self.piece(data)
        self.exchange.flush()

    cdef int start(self, int64_t known) except -1:
        if not self.called:
            raise AssertionError("the application sent content without calling start_response")
        return Delivery.start(self, known)


cdef class Ending:
    """What is closed in place of what the application returned: that, and then the hook after the answer."""

    def close(self):
        cdef WSGIDelivery response = self.response
        self.response = None
        try:
            if self.closer is not None:
                self.closer.close()
        finally:
            if response.request.head_out:
                self.after(response.status, response.sent, response.data[:response.size])
            else:
                self.after(0, 0, b"")


def source_of(green):
    """Whose request this green thread serves: the client, for people, and the ID of the request, "" if it has none.
    None: it serves no request."""
    cdef Request request
    if not isinstance(green, Worker) or not isinstance((<Worker>green).job, Exchange):
        return None
    if (<Worker>green).errand == NULL:
        return (<Exchange>(<Worker>green).job).stream.who(), ""
    request = <Request>(<Worker>green).errand
    return request.who(), request.known_id or ""


cdef class WSGI(App):
    """A WSGI application as something requests are handed to.

    Arguments:
        app: the application callable.
        settings: concurrency and workers decide what `wsgi.multithread` and `wsgi.multiprocess` say.
        hooks: called with each environ before the application is; what it returns is called after the answer, with
            its status, the bytes of its content, and its head as it went out (0, 0, b"" if none did). None: nobody.
        keeps_environ: leave the environ with the request, for the observer.
    """

    def __init__(self, app, settings, hooks=None, bint keeps_environ=False):
        self.app = app
        self.settings = settings
        self.hooks = hooks
        self.keeps_environ = keeps_environ
        self.errors = Errors(source_of)

    cdef Entrance prepare(self, object name, object port, bint secure=False):
        cdef Base base = Base.__new__(Base)
        base.fill({
            K_METHOD: GET, K_PATH: "", K_URI: "", K_INPUT: NOTHING, K_QUERY: "", K_PROTOCOL: HTTP_1_1,
            K_ADDR: "", K_PORT: "",
            K_SCRIPT: self.settings.root_path or "",
            "SERVER_NAME": str(name),
            "SERVER_PORT": str(port),
            "SERVER_SOFTWARE": f"greenhttp/{__version__}",
            "wsgi.version": (1, 0),
            K_SCHEME: "https" if secure else "http",
            "wsgi.errors": self.errors,
            "wsgi.multithread": self.settings.concurrency > 1,      # green threads share the application object
            "wsgi.multiprocess": self.settings.workers > 1,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
        })
        return base

    cdef Entrance prepare_for(self, Entrance entrance, object info, object told):
        cdef Base base = Base.__new__(Base)
        base.fill({**(<Base>entrance).few, K_ADDR: "", **variables(info, told)})    # whoever came last is another peer
        return base

    cdef Delivery respond(self, Request request):
        cdef WSGIDelivery response = <WSGIDelivery>take_spare(self)
        cdef dict environ
        if response is None:
            response = WSGIDelivery.__new__(WSGIDelivery)
        response.called = False
        response.bind(request)
        environ = make_environ(request)
        request.take_input()
        if self.keeps_environ:
            request.environ = environ
        if self.hooks is None:
            self.call(environ, response)
        else:
            self.call_between(environ, response)
        return response

    cdef inline int call(self, dict environ, WSGIDelivery response) except -1:
        cdef object result = self.app(environ, response)
        if type(result) is not list and type(result) is not tuple:
            if result is None:
                raise TypeError("the application returned None; a WSGI application returns an iterable of bytes")
            if isinstance(result, (bytes, str, bytearray, memoryview)):
                raise TypeError(f"the application returned {type(result).__name__}; return a list of bytes")
            if hasattr(result, "close"):
                response.closer = result
            if type(result) is FileWrapper and not response.request.head_out:
                result = file_range(result.filelike) or result  # after write() it goes on piece by piece
        response.content = result
        return 0

    cdef int call_between(self, dict environ, WSGIDelivery response) except -1:
        """Call the application between what `hooks` has to do before, and after the answer."""
        cdef Ending ending = Ending.__new__(Ending)
        ending.after = self.hooks(environ)
        ending.response = response
        try:
            self.call(environ, response)
        except BaseException:
            ending.closer = response.closer
            response.closer = None
            ending.close()
            raise
        ending.closer = response.closer
        response.closer = ending
        return 0
