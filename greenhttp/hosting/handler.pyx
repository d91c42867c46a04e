"""Native handlers: `handler(request)` returns a Response, or just its content.

What a handler returns becomes a Delivery: a str or bytes at once, a dict or list as JSON, a file as a range that the
kernel sends, an iterator piece by piece. A Response is a plain value: it can be made once and returned a thousand
times, unless its content is an iterator or a file, which can be read only once.
"""

from greenhttp.http.application cimport App, take_spare
from greenhttp.http.request cimport Request
from greenhttp.http.response cimport REASONS, Delivery, FileBody, file_range, wants_json

import os
from collections.abc import Coroutine
from mimetypes import guess_type
from operator import index

from greenhttp.errors import HTTPError
from greenhttp.http.json_text import error_as_json, json_bytes

cdef enum:
    BLOCK = 65536               # of a file that the kernel cannot send itself

cdef str TEXT = "text/plain; charset=utf-8"
cdef str BYTES = "application/octet-stream"
cdef str JSON = "application/json"                              # which is UTF-8 and has no charset (RFC 8259 8.1, 11)
cdef str RETURNED = "the JSON that the handler returned"
cdef str BODY = "the JSON body of the Response"
cdef str WANTED = "str, bytes, a dict or list (sent as JSON), an iterator of bytes or a file"
# Errors that caches may keep without being told to (RFC 9110 15.1): they must know what the answer depends on.
cdef frozenset KEPT_BY_CACHES = frozenset((404, 405, 410, 414, 501))


cdef list pairs_of(object headers):
    """A list of (name, value), from a mapping - a value may be a list of values there - or from pairs."""
    cdef list pairs = []
    if type(headers) is list and all([type(pair) is tuple and len(<tuple>pair) == 2 for pair in <list>headers]):
        return list(headers)
    if not hasattr(headers, "keys"):
        for pair in headers:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise TypeError(f"a header must be a pair of name and value, not {pair!r:.80}")
            pairs.append(tuple(pair))
        return pairs
    for name in headers.keys():
        value = headers[name]
        if isinstance(value, (list, tuple)):
            pairs.extend([(name, each) for each in value])
        else:
            pairs.append((name, value))
    return pairs


cdef bint has_type(object fields) except -1:
    """Whether a Content-Type is among the fields."""
    for name, _ in fields:
        if isinstance(name, str) and name.lower() == "content-type":
            return True
    return False


cdef class Response:
    """Response(body=b"", status=200, headers=())\n--\n
    An answer: content, status and fields.

    Arguments:
        body: str (sent as UTF-8), bytes, a dict or list (sent as JSON), an iterator of bytes (sent piece by piece), or
            a file opened in binary mode (from its position to its end; closed afterwards).
        status: 200 to 599, or a text with a reason like "404 No Such Page" (RFC 9110 15).
        headers: a mapping, whose values may be lists, or pairs of name and value, all str.

    Without a Content-Type of yours it is text/plain for str, application/json for a dict or list, what the name says
    for a file, else application/octet-stream. Content-Length, Transfer-Encoding, Connection, Date and Server are the
    server's; a Content-Length is needed only for an iterator whose size is known.

    `body`, `status` and `headers`, a list of pairs, can be read and changed until the response is returned.
    """

    def __init__(self, body=b"", status=200, headers=()):
        self.body = body
        self.status = status
        if headers:
            self.fields = pairs_of(headers)

    @classmethod
    def json(cls, value, status=200, headers=()):
        """A Response whose content is `value` as JSON (RFC 8259): compact, in UTF-8, `application/json`.

        Arguments:
            value: whatever json.dumps understands: dict, list, tuple, str, int, float, bool, None.
            status, headers: as for Response. A Content-Type among the headers is kept.

        The content is made at once: what `value` becomes later does not change it.

        Raises TypeError for what JSON has no form for, bytes and dates say, and ValueError for NaN, infinities, values
        that contain themselves and text that is not Unicode. The message says where: `at ['items'][3]`.
        """
        cdef Response response = cls(json_bytes(value, "the value for Response.json"), status, headers)
        if response.fields is None or not has_type(response.fields):
            response.headers.append(("Content-Type", JSON))
        return response

    @property
    def headers(self):
        if self.fields is None:
            self.fields = []
        return self.fields

    @headers.setter
    def headers(self, headers):
        self.fields = pairs_of(headers)

    def __repr__(self):
        return f"Response({type(self.body).__name__}, {self.status!r})"


cdef str kind_of(object file):
    """What the name of a file says of its content."""
    cdef object name = getattr(file, "name", None)
    if not isinstance(name, (str, bytes)):
        return BYTES
    kind, coding = guess_type(os.fsdecode(name))
    if coding is not None:
        return "application/gzip" if coding == "gzip" else BYTES    # the name is that of what is packed in it
    return kind or BYTES


cdef class HandlerDelivery(Delivery):
    """What a handler returned, on its way out."""

    cdef int take(self, object result) except -1:
        cdef Response response = None
        cdef object fields = None, status = 200
        if isinstance(result, Response):
            response = <Response>result
            fields = response.fields
            status = response.status
            result = response.body
        if type(result) is str:
            self.head(status, fields, TEXT)
            self.content = [(<str>result).encode("utf-8")]
        elif type(result) is bytes:
            self.head(status, fields, BYTES)
            self.content = [result]
        elif isinstance(result, (str, bytes, bytearray, memoryview)):
            self.head(status, fields, TEXT if isinstance(result, str) else BYTES)
            self.content = [result.encode("utf-8") if isinstance(result, str) else bytes(result)]
        elif isinstance(result, (dict, list)):
            self.head(status, fields, JSON)
            self.content = [json_bytes(result, RETURNED if response is None else BODY)]
        elif hasattr(result, "read"):
            self.closer = result if hasattr(result, "close") else None
            self.head(status, fields, kind_of(result))
            self.take_file(result)
        elif hasattr(result, "__iter__") and not isinstance(result, (tuple, set, frozenset)):
            self.closer = result if hasattr(result, "close") else None
            self.head(status, fields, BYTES)
            self.content = result
        elif response is not None:
            raise TypeError(f"the body of the Response is {what_is(result)}; give {WANTED}{hint_for(result, False)}")
        else:
            hint = hint_for(result, True)
            raise TypeError(f"the handler returned {what_is(result)}; return a Response, {WANTED}{hint}")
        return 0

    cdef int head(self, object status, object fields, str kind) except -1:
        cdef bint typed = False
        if type(status) is int and status == 200:
            self.begin("200 OK")
        elif isinstance(status, str):
            self.begin(status)
        elif not hasattr(status, "__index__"):
            raise TypeError(
                f"the status of a Response is a number or a text, not {type(status).__name__}; headers come third"
            )
        else:
            self.begin(f"{index(status)} {REASONS.get(index(status), '')}")
        if self.status < 200:
            raise ValueError(f"the status of a response is 200 to 599, not {self.status}")
        if fields is not None:
            for name, value in fields:
                self.add(name, value)
                typed = typed or len(name) == 12 and name.lower() == "content-type"
        if not typed and self.status != 204 and self.status != 304:    # without content, nothing has a type
            self.add("Content-Type", kind)
        return 0

    cdef int send_content(self) except -1:
        try:
            return Delivery.send_content(self)
        except HTTPError as error:
            if self.request.head_out:
                raise                           # too late: a truncated answer must not look whole
            self.take(answer_of(error, self.request))   # a generator that refuses before its first piece
        return Delivery.send_content(self)

    cdef int take_file(self, object file) except -1:
        cdef FileBody part = file_range(file)
        self.content = part if part is not None else blocks_of(file)
        return 0


def blocks_of(file):
    """What is left of a file, in blocks."""
    while True:
        data = file.read(BLOCK)
        if not data:
            return
        if isinstance(data, str):
            raise TypeError("the file was opened as text; open it in binary mode")
        yield data


cdef str what_is(object result):
    return "None" if result is None else "a tuple" if isinstance(result, tuple) else type(result).__name__


cdef str hint_for(object result, bint whole):
    """What to write instead: other frameworks take a tuple for content and status, and run coroutines."""
    if not isinstance(result, tuple):
        if whole and callable(result):
            return ". If it is a factory, call it in APP: module:create(...)"
        if isinstance(result, Coroutine):
            return ". To run a coroutine: asyncio.run(...)"
        return ""
    if result and all([isinstance(each, bytes) for each in <tuple>result]):
        return ". For bytes one after the other: Response(iter(...))"
    if whole and 2 <= len(<tuple>result) <= 3:
        status, headers = (<tuple>result)[1], (<tuple>result)[2] if len(<tuple>result) == 3 else ()
        if isinstance(status, int):
            more = ", headers" if headers else ""
            return f". For content with a status: return Response(body, {int(status)}{more})"
        return ". For content with a status or headers: return Response(body, status, headers)"
    return ". For JSON: a list"


cdef Response answer_of(error, Request request):
    """The answer that an HTTPError is: text, or JSON for who prefers it (RFC 9110 12.5.1).

    Raises ValueError or TypeError, which the log shows, if it is none.
    """
    cdef Response response
    if not hasattr(error.status, "__index__"):
        raise TypeError(f"the status of an HTTPError is a number, not {type(error.status).__name__}") from error
    if not 400 <= error.status <= 599:
        raise ValueError(
            f"the status of an HTTPError is 400 to 599, not {index(error.status)}; return a Response with another"
        ) from error
    text = error.text or REASONS.get(error.status, "Error")
    response = Response(f"{text}\n", error.status, error.headers)
    if response.fields is not None and has_type(response.fields):
        return response             # of a kind that the application has chosen
    if error.status in KEPT_BY_CACHES:
        response.headers.append(("Vary", "Accept"))
    if wants_json(request):
        response.body = error_as_json(error.status, f"{text}")
        response.headers.append(("Content-Type", JSON))
    return response


cdef class Handler(App):
    """A native handler as something requests are handed to.

    Arguments:
        handler: called with a Request; returns a Response, str, bytes, a dict or list, an iterator of bytes or a file.
    """

    def __init__(self, handler):
        self.handler = handler

    cdef Delivery respond(self, Request request):
        cdef HandlerDelivery delivery = <HandlerDelivery>take_spare(self)
        if delivery is None:
            delivery = HandlerDelivery.__new__(HandlerDelivery)
        delivery.bind(request)
        request.keep()
        try:
            result = self.handler(request)
        except HTTPError as error:
            result = answer_of(error, request)
        except (AttributeError, TypeError) as error:
            self.suspect(request, error)
            raise
        try:
            delivery.take(result)
        except BaseException:
            delivery.finish_content()       # nobody will read it
            raise
        return delivery

    cdef int suspect(self, Request request, object error) except -1:
        """Say before the first such error that the handler may be meant for streams."""
        if not self.hinted and is_for_streams(error, type(request.exchange.stream)):
            self.hinted = True
            request.exchange.service.report("error", f"{request.describe()}: the handler uses its argument as a stream,"
                                            " but was given a request; if it is a stream handler, give --interface"
                                            " stream, or call serve_stream")
        return 0


cdef bint is_for_streams(object error, type stream) except -1:
    """Whether the error is that of a Request where a Stream, whose type this is, was expected."""
    if type(error) is AttributeError:
        if isinstance(error.obj, Request):
            return isinstance(error.name, str) and hasattr(stream, error.name)
        kind, _, rest = f"{error}".partition("' object has no attribute '")
        if kind == f"'{Request.__module__}.Request":    # of an assignment CPython says only the text
            return hasattr(stream, rest.partition("'")[0])
        return error.args == ("__enter__",)     # CPython 3.10 does not say of what
    return type(error) is TypeError and f"{error}".startswith(f"'{Request.__module__}.Request' object ") and (
        f"{error}".endswith(("is not iterable", "is not an iterator", "does not support the context manager protocol"))
    )
