"""One entry for each answer, written while its request is still in memory.

Entries are lines in a buffer, made in C: that takes less time than keeping what a line is made of as Python objects
would. What is gathered is taken as a whole by whoever writes it to a file (`access`). It is bounded: beyond `limit`
bytes, entries are counted instead of kept.

Whatever came from outside is escaped as Apache does it, a quote and a backslash by a backslash, other bytes outside of
printable ASCII as \\n, \\t ... or \\xHH: nobody can end a line or a quotation that the format has begun. In json,
values are encoded by the json module.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset, strlen

from greenhttp.green.stream cimport Stream
from greenhttp.green.transport cimport SocketStream
from greenhttp.http.application cimport NO_ANSWER, Observer
from greenhttp.http.origin cimport Origin
from greenhttp.http.request cimport CUT_SHORT, Request
from greenhttp.http.response cimport Delivery
from greenhttp.process.clock cimport nanoseconds
from greenhttp.wire.head cimport Field, Head
from greenhttp.wire.names cimport KNOWN_AUTHORIZATION, find_known, same_name

import binascii
from json.encoder import encode_basestring_ascii


cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    object PyUnicode_DecodeLatin1(const char* data, Py_ssize_t size, const char* errors)

cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <time.h>
    #include <unistd.h>

    static inline int64_t greenhttp_wall_nanoseconds(void) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }

    /* Apache's %t. Not strftime: its names of months are those of the locale. */
    static int greenhttp_stamp(int64_t second, char* into, size_t size) {
        static const char* const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct",
                                             "Nov", "Dec"};
        time_t when = (time_t)second;
        struct tm t;
        long zone;
        localtime_r(&when, &t);
        zone = t.tm_gmtoff / 60;
        return snprintf(into, size, "[%02d/%s/%d:%02d:%02d:%02d %c%02ld%02ld]", t.tm_mday, months[t.tm_mon % 12],
                        t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec, zone < 0 ? '-' : '+',
                        labs(zone) / 60, labs(zone) % 60);
    }

    /* ISO 8601, UTC, up to the second. */
    static int greenhttp_iso(int64_t second, char* into, size_t size) {
        time_t when = (time_t)second;
        struct tm t;
        gmtime_r(&when, &t);
        return snprintf(into, size, "%04d-%02d-%02dT%02d:%02d:%02d", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday,
                        t.tm_hour, t.tm_min, t.tm_sec);
    }
    """
    int64_t greenhttp_wall_nanoseconds() noexcept
    int greenhttp_stamp(int64_t second, char* into, size_t size) noexcept
    int greenhttp_iso(int64_t second, char* into, size_t size) noexcept
    int getpid() noexcept
    const char* inet_ntop(int family, const void* address, char* into, unsigned int size) noexcept

cdef enum:
    KEPT = 262144               # bytes of buffer that stay when a batch is taken

cdef enum Atom:
    TEXT, PEER, PORT, NOTHING, USER, TIME, ISO_TIME, LINE, STATUS, SIZE, BYTES, METHOD, TARGET, PATH, QUERY, VERSION
    SECONDS, MILLISECONDS, MICROSECONDS, DECIMAL, COMPLETE, CUT, ID, TLS, PROCESS, REQUEST_FIELD, RESPONSE_FIELD
    ENVIRON

cdef dict ATOMS = {
    "text": TEXT, "h": PEER, "port": PORT, "l": NOTHING, "u": USER, "t": TIME, "iso": ISO_TIME, "r": LINE, "s": STATUS,
    "b": SIZE, "B": BYTES, "m": METHOD, "target": TARGET, "U": PATH, "q": QUERY, "H": VERSION, "T": SECONDS,
    "M": MILLISECONDS, "D": MICROSECONDS, "L": DECIMAL, "complete": COMPLETE, "c": CUT, "id": ID, "tls": TLS,
    "p": PROCESS, "i": REQUEST_FIELD, "o": RESPONSE_FIELD, "e": ENVIRON,
}

cdef const char* HEX = b"0123456789abcdef"
cdef unsigned char ESCAPE[256]      # 0: as it is; 1: \xHH; else the letter behind a backslash
memset(ESCAPE, 1, 256)
memset(&ESCAPE[0x20], 0, 0x5F)
for _byte, _letter in ((8, c"b"), (9, c"t"), (10, c"n"), (11, c"v"), (13, c"r"), (34, c'"'), (92, c"\\")):
    ESCAPE[_byte] = _letter

# The address seen last: behind a proxy, and with a keep-alive client, the next one is the same.
cdef unsigned char last_address[16]
cdef int last_family = 0
cdef char last_text[64]
cdef Py_ssize_t last_size = 0


cdef Py_ssize_t peer_text(Stream stream) noexcept:
    """The size of the peer's address in `last_text`; 0: it has none."""
    global last_family, last_size
    cdef SocketStream socket
    cdef size_t size
    if not isinstance(stream, SocketStream) or (<SocketStream>stream).family == 0:
        return 0
    socket = <SocketStream>stream
    size = 4 if socket.family == 2 else 16
    if socket.family != last_family or memcmp(socket.address, last_address, size) != 0:
        if inet_ntop(socket.family, socket.address, last_text, sizeof(last_text)) == NULL:
            return 0
        last_family = socket.family
        last_size = <Py_ssize_t>strlen(last_text)
        memcpy(last_address, socket.address, size)
    return last_size


cdef object layer_of(Stream stream):
    return (<SocketStream>stream).layer if type(stream) is SocketStream else None


cdef str version_of(object tls):
    """The version of TLS that a TLSInfo or a layer tells; None: it is None, or tells none."""
    try:
        return None if tls is None else tls.version
    except BaseException:
        return None                         # no memory


cdef class Entries(Observer):
    """What has been gathered and not yet written.

    Arguments:
        steps: atoms.Steps, what an entry is made of.
        in_json: values are encoded for json, an absent one is null.
        limit: bytes held at most.

    Attributes:
        held: bytes of memory that it takes, the batch that is being written included.
        count: entries gathered since the last `take`.
        dropped: entries that were not kept since then: too many, or no memory.
        wants_environ: whether an entry needs `Request.environ`.
        wants_id: whether an entry tells the ID of its request, so that each needs one.
        wake: called without arguments when there is something to take, and then not again before `rest`.
    """

    def __init__(self, steps, bint in_json, limit):
        cdef Part* part
        self.limit = limit
        self.quote = encode_basestring_ascii if in_json else None
        self.second = -1
        texts = [step.text.encode() for step in steps]
        self.texts = b"".join(texts)
        self.parts = <Part*>malloc(max(1, len(texts)) * sizeof(Part))
        if self.parts == NULL:
            raise MemoryError
        at = 0
        for step, text in zip(steps, texts):
            part = &self.parts[self.part_count]
            part.atom = ATOMS[step.atom]
            self.wants_environ = self.wants_environ or part.atom == ENVIRON
            self.wants_id = self.wants_id or part.atom == ID
            self.wants_tls = self.wants_tls or part.atom == TLS
            self.makes_ahead = self.makes_ahead or part.atom == ENVIRON or part.atom == USER
            part.at = at
            part.size = len(text)
            part.known = find_known(<const unsigned char*>PyBytes_AS_STRING(text), len(text))
            at += len(text)
            self.part_count += 1

    def __dealloc__(self):
        free(self.parts)
        free(self.data)

    cdef void answered(self, Request request, int64_t began) noexcept:
        cdef int64_t took = nanoseconds() - began
        cdef Delivery answer = <Delivery>request.answer
        cdef dict environ = request.environ
        cdef list texts = self.made_ahead(request.head, environ)
        request.environ = None              # it may refer to the request
        cdef Stream stream = request.exchange.stream
        cdef Head head = request.head
        cdef str id = request.known_id
        cdef bint cut = request.cut != 0
        cdef Origin origin = request.origin
        cdef str tls = version_of(request.base.tls) if self.wants_tls else None
        if request.cut > CUT_SHORT:         # whatever the application did afterwards has reached nobody
            self.gather(stream, origin, head, None, None, texts, request.cut, request.cut_sent, took, True, id, tls)
        elif answer is None:
            self.gather(stream, origin, head, None, None, texts, NO_ANSWER, 0, took, cut, id, tls)
        else:
            self.gather(stream, origin, head, None, answer, texts, answer.status, answer.sent, took, cut, id, tls)

    cdef void refused(
        self, Stream stream, Head head, bytes line, int status, int64_t sent, bint cut, str id
    ) noexcept:
        cdef str tls = version_of(layer_of(stream)) if self.wants_tls else None
        self.gather(stream, None, head, line, None, self.made_ahead(head, None), status, sent, -1, cut, id, tls)

    cdef void gather(
        self, Stream stream, Origin origin, Head head, bytes line, Delivery answer, list texts, int status,
        int64_t sent, int64_t took, bint cut, str id, str tls,
    ) noexcept:
        """One entry. `took`: ns, negative if no application was asked. `texts`: see `made_ahead`."""
        cdef Py_ssize_t before = self.size
        if self.held < self.limit:
            try:
                self.write(stream, origin, head, line, answer, texts, status, sent, took, cut, id, tls)
                self.held += self.size - before
                self.count += 1
            except BaseException:       # no memory. Nothing that happens here may reach the request
                self.size = before
                self.dropped += 1
        else:
            self.dropped += 1
        if not self.awake:
            self.awake = True
            try:
                self.wake()
            except BaseException:       # the next entry tries again
                self.awake = False

    def take(self):
        """(lines, held, count, dropped): all that there is, to be written, and given back to `done` by its size."""
        cdef bytes lines = PyBytes_FromStringAndSize(self.data, self.size)
        cdef Py_ssize_t size = self.size, count = self.count, dropped = self.dropped
        self.size = self.count = self.dropped = 0
        if self.capacity > KEPT:
            free(self.data)
            self.data = NULL
            self.capacity = 0
        return lines, size, count, dropped      # last: to make this may let an entry be written

    def done(self, Py_ssize_t held):
        """A batch that held so many bytes is out of memory."""
        self.held -= held

    def rest(self):
        """Whether more has come meanwhile. If not, the next entry calls `wake`."""
        self.awake = self.count > 0 or self.dropped > 0
        return self.awake

    cdef int write(
        self, Stream stream, Origin origin, Head head, bytes line, Delivery answer, list texts, int status,
        int64_t sent, int64_t took, bint cut, str id, str tls,
    ) except -1:
        """Nothing in here runs foreign code, nor allocates what the collector counts: an entry is never torn."""
        cdef Py_ssize_t size, ahead = 0
        cdef bytes data
        cdef Part* part
        cdef int i
        for i in range(self.part_count):
            part = &self.parts[i]
            if part.atom == TEXT:
                self.raw(PyBytes_AS_STRING(self.texts) + part.at, part.size)
            elif (part.atom == PEER or part.atom == PORT) and origin is not None and origin.peer is not None:
                self.client(<tuple>origin.peer, part.atom)
            elif part.atom == PEER:
                size = peer_text(stream)
                self.text(last_text, size) if size else self.absent()
            elif part.atom == PORT:
                self.number((<SocketStream>stream).port) if peer_text(stream) else self.absent()
            elif part.atom == TIME or part.atom == ISO_TIME:
                self.time(part.atom, took)
            elif part.atom == STATUS:
                self.number(status)
            elif part.atom == BYTES or (part.atom == SIZE and sent):
                self.number(sent)
            elif part.atom == SIZE or part.atom == NOTHING:
                self.absent()               # no bytes are "-" in the common log format
            elif part.atom == PROCESS:
                self.raw(b"<", 1)
                self.number(getpid())
                self.raw(b">", 1)
            elif part.atom == COMPLETE:
                if (status != NO_ANSWER) if answer is None else (answer.complete and answer.left == 0 and not cut):
                    self.raw(b"true", 4)
                else:
                    self.raw(b"false", 5)
            elif part.atom == CUT:
                if self.quote is not None:
                    self.raw(b"true" if cut else b"false", 4 if cut else 5)
                elif cut:
                    self.raw(b"cut", 3)
                else:
                    self.absent()
            elif part.atom == ID:
                self.word_of_ours(id)
            elif part.atom == TLS:
                self.word_of_ours(tls)
            elif part.atom == RESPONSE_FIELD:
                self.response_field(answer, part)
            elif part.atom == ENVIRON or part.atom == USER:
                data = <bytes>texts[ahead] if texts is not None else None
                ahead += 1
                if data is None:
                    self.absent()
                elif part.atom == USER and self.quote is None:
                    self.word(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
                else:
                    self.text(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            elif SECONDS <= part.atom <= DECIMAL:
                self.duration(part.atom, took)
            elif head is not None:
                self.of_request(head, part)
            elif line is not None:
                self.of_line(line, part.atom)
            else:
                self.absent()
        return self.raw(b"\n", 1)

    cdef int client(self, tuple peer, int atom) except -1:
        """Address or port of a client that a proxy has told."""
        cdef Py_ssize_t size
        cdef const char* host
        if atom == PORT:
            return self.number(<int>peer[1])
        host = PyUnicode_AsUTF8AndSize(peer[0], &size)
        return self.text(host, size)

    cdef int word_of_ours(self, str word) except -1:
        cdef Py_ssize_t size
        cdef const char* text
        if word is None:
            return self.absent()
        text = PyUnicode_AsUTF8AndSize(word, &size)     # of ASCII: it is there already
        return self.text(text, size)

    cdef int of_request(self, Head head, Part* part) except -1:
        """What only a request has of which at least the first line is known."""
        cdef Py_ssize_t method = len(head.method)
        if part.atom == LINE:
            # method SP target SP HTTP/1.x, as it was sent
            self.text(head.base + head.target_at - method - 1, method + head.target_len + 10)
        elif part.atom == METHOD:
            self.text(head.base + head.target_at - method - 1, method)
        elif part.atom == TARGET:
            self.text(head.base + head.target_at, head.target_len)
        elif part.atom == PATH:
            self.text(head.base + head.path_at, head.path_len)
        elif part.atom == QUERY:
            self.text(head.base + head.query_at, head.query_len)
        elif part.atom == VERSION:
            self.text(head.base + head.target_at + head.target_len + 1, 8)
        else:
            self.request_field(head, part)
        return 0

    cdef int of_line(self, bytes line, int atom) except -1:
        """What a request line says that was refused: its first word is the method, its last one the version if it looks
        like one, and what is between them the target."""
        cdef const char* p = PyBytes_AS_STRING(line)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(line), method = 0, last = size, end = size
        while method < size and p[method] != c" ":
            method += 1
        while last > method + 1 and p[last - 1] != c" ":
            last -= 1
        if size - last > 5 and last > method and memcmp(p + last, b"HTTP/", 5) == 0:
            end = last - 1
        else:
            last = size
        if atom == LINE:
            return self.text(p, size)
        if atom == METHOD:
            return self.text(p, method)
        if atom == TARGET and end > method + 1:
            return self.text(p + method + 1, end - method - 1)
        if atom == VERSION and last < size:
            return self.text(p + last, size - last)
        return self.absent()

    cdef int request_field(self, Head head, Part* part) except -1:
        cdef const char* name = PyBytes_AS_STRING(self.texts) + part.at
        cdef Field* field
        cdef int i
        for i in range(head.count):
            field = &head.field[i]
            if field.known == part.known and (part.known >= 0 or (
                field.name_len == <size_t>part.size
                and same_name(<const unsigned char*>head.base + field.name, name, part.size)
            )):
                if field.value_len == 0:
                    break
                return self.text(head.base + field.value, field.value_len)
        return self.absent()

    cdef int response_field(self, Delivery answer, Part* part) except -1:
        """A field of the answer as it went out: lines of `name: value`, behind the status line."""
        cdef const char* name = PyBytes_AS_STRING(self.texts) + part.at
        cdef const char* p
        cdef const char* end
        cdef const char* line
        if answer is None:
            return self.absent()
        p = answer.data
        end = p + answer.size
        while p < end:
            line = p
            while p < end and p[0] != c"\r":
                p += 1
            if (
                line > answer.data and p - line > part.size + 2 and line[part.size] == c":"
                and same_name(<const unsigned char*>line, name, part.size)
            ):
                return self.text(line + part.size + 2, p - line - part.size - 2)
            p += 2
        return self.absent()

    cdef list made_ahead(self, Head head, dict environ):
        """A bytes, or None, for each part whose text takes Python to make: before the entry is begun, since foreign
        code may run meanwhile, and wait. None: there is no such part, or no memory, and their texts are absent.
        """
        cdef list texts
        cdef Part* part
        cdef str name
        cdef int i
        if not self.makes_ahead:
            return None
        try:
            texts = []
            for i in range(self.part_count):
                part = &self.parts[i]
                if part.atom == USER:
                    texts.append(user(head))
                elif part.atom == ENVIRON:
                    name = self.texts[part.at:part.at + part.size].decode()
                    texts.append(None if environ is None else of_environ(environ, name))
            return texts
        except BaseException:
            return None

    cdef int word(self, const char* data, Py_ssize_t size) except -1:
        """As `text`, where no quotes are around it: a space would end it."""
        cdef Py_ssize_t i, start = 0
        for i in range(size + 1):
            if i == size or data[i] == c" ":
                self.text(data + start, i - start)
                if i < size:
                    self.raw(b"\\x20", 4)
                start = i + 1
        return 0

    cdef int duration(self, int atom, int64_t took) except -1:
        if took < 0:
            return self.absent()
        if atom == MILLISECONDS:
            return self.number(took // 1000000)
        if atom == MICROSECONDS:
            return self.number(took // 1000)
        self.number(took // 1000000000)
        if atom == DECIMAL:
            self.raw(b".", 1)
            self.number(took // 1000 % 1000000, 6)
        return 0

    cdef int time(self, int atom, int64_t took) except -1:
        """When the request was handed to the application, or refused."""
        cdef int64_t when = greenhttp_wall_nanoseconds() - max(0, took)
        cdef int64_t second = when // 1000000000
        if second != self.second:
            if atom == TIME:
                self.stamp_size = greenhttp_stamp(second, self.stamp, sizeof(self.stamp))
            else:
                self.stamp_size = greenhttp_iso(second, self.stamp, sizeof(self.stamp))
            self.second = second
        if atom == TIME:
            return self.raw(self.stamp, self.stamp_size)
        self.raw(b'"', 1)
        self.raw(self.stamp, self.stamp_size)
        self.raw(b".", 1)
        self.number(when // 1000000 % 1000, 3)
        return self.raw(b'Z"', 2)

    cdef int room(self, Py_ssize_t size) except -1:
        cdef Py_ssize_t capacity = max(self.capacity, 4096)
        cdef char* data
        if self.size + size <= self.capacity:
            return 0
        while capacity < self.size + size:
            capacity *= 2
        data = <char*>realloc(self.data, capacity)
        if data == NULL:
            raise MemoryError
        self.data = data
        self.capacity = capacity
        return 0

    cdef int raw(self, const char* data, Py_ssize_t size) except -1:
        self.room(size)
        memcpy(self.data + self.size, data, size)
        self.size += size
        return 0

    cdef int absent(self) except -1:
        return self.raw(b"-", 1) if self.quote is None else self.raw(b"null", 4)

    cdef int text(self, const char* data, Py_ssize_t size) except -1:
        """Bytes from outside."""
        cdef const unsigned char* p = <const unsigned char*>data
        cdef const unsigned char* end = p + size
        cdef unsigned char letter
        cdef char* to
        cdef object quoted
        if self.quote is not None:
            quoted = self.quote(PyUnicode_DecodeLatin1(data, size, NULL))
            data = PyUnicode_AsUTF8AndSize(quoted, &size)
            return self.raw(data, size)
        self.room(4 * size)
        to = self.data + self.size
        while p < end:
            letter = ESCAPE[p[0]]
            if letter == 0:
                to[0] = <char>p[0]
                to += 1
            else:
                to[0] = c"\\"
                if letter == 1:
                    to[1] = c"x"
                    to[2] = HEX[p[0] >> 4]
                    to[3] = HEX[p[0] & 15]
                    to += 4
                else:
                    to[1] = <char>letter
                    to += 2
            p += 1
        self.size = to - self.data
        return 0

    cdef int number(self, int64_t value, int digits=1) except -1:
        """A number that is not negative, with at least so many digits."""
        cdef char reversed[20]
        cdef int count = 0
        while value or count < digits:
            reversed[count] = c"0" + <char>(value % 10)
            value //= 10
            count += 1
        self.room(count)
        while count:
            count -= 1
            self.data[self.size] = reversed[count]
            self.size += 1
        return 0


cdef bytes of_environ(dict environ, str name):
    """What stands in the environ by that name, in any case, once the application is done with it. None: nothing.

    Texts and numbers alone: to make a text of anything else could run code that waits.
    """
    cdef object value = environ.get(name)
    if value is None:
        value = environ.get(name.upper())
    if value is None:
        name = name.lower()
        for key in list(environ):
            if type(key) is str and (<str>key).lower() == name:
                value = environ.get(key)
    if type(value) is int or type(value) is float or type(value) is bool:
        value = str(value)
    return (<str>value).encode("utf-8", "backslashreplace") if type(value) is str and value else None


cdef bytes user(Head head):
    """The name in Basic credentials (RFC 7617), or None. Whether the application takes it, the server does not know."""
    cdef int i = -1 if head is None else head.find(KNOWN_AUTHORIZATION)
    cdef Field* field
    cdef bytes name
    if i < 0:
        return None
    field = &head.field[i]
    if field.value_len <= 6 or not same_name(<const unsigned char*>head.base + field.value, b"basic ", 6):
        return None
    try:
        name = binascii.a2b_base64(head.base[field.value + 6:field.value + field.value_len])
    except binascii.Error:
        return None
    return name.partition(b":")[0] or None
