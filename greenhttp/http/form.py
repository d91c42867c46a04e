"""Form content: `application/x-www-form-urlencoded` and `multipart/form-data` (RFC 7578), read from a request's body.

The first is the standard library's business, the second that of the package `multipart` (the extra `greenhttp[form]`).
"""

import io
import os
import sys
from typing import IO, Any
from urllib.parse import parse_qsl

from greenhttp.errors import HTTPError
from greenhttp.http.store import Store
from greenhttp.http.values import Values

MOST_FIELDS = 1000  # of a form; far beyond what a person fills in, far below what could keep a processor busy
IN_MEMORY = 16384  # bytes of a file; larger ones share a temporary file
BLOCK = 65536  # bytes of content parsed at a time


class Upload:
    """A file of a form.

    Attributes:
        filename: as the client calls it. Never a path to write to: it is a stranger's word.
        content_type: as the client says, "application/octet-stream" if it does not.
        file: the content as a binary file, at its beginning; in memory if small, else part of a temporary file that
            goes with the last reference to an upload of the same form.
        size: bytes of content.
    """

    __slots__ = ("content_type", "file", "filename", "size")

    def __init__(self, filename: str, content_type: str, file: IO[bytes], size: int) -> None:
        self.filename = filename
        self.content_type = content_type
        self.file = file
        self.size = size

    def __repr__(self) -> str:
        return f"Upload({self.filename!r}, {self.content_type!r}, {self.size} bytes)"


class Form(Values[str]):
    """The text fields of a form, as a mapping, and its files.

    Attributes:
        files: Values of Upload, by the name of the field. A file field that was left empty is not among them.
    """

    __slots__ = ("files",)

    def __init__(self, fields: list[tuple[str, str]], files: list[tuple[str, Upload]]) -> None:
        super().__init__(fields)
        self.files: Values[Upload] = Values(files)


def read_form(content_type: str, body: Any, limit: int) -> Form:
    """Read `body` to its end as the form that `content_type` says it is.

    Arguments:
        limit: bytes of text fields together, and of an urlencoded form.

    Raises:
        HTTPError: 415 for another content type, 413 beyond a limit, 400 for what is malformed.
        BodyError: the body could not be read.
    """
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return Form(_urlencoded(body, limit), [])
    if kind == "multipart/form-data":
        return _multipart(content_type, body, limit)
    raise HTTPError(415, "the content is not a form; its type must be urlencoded or multipart")


def _urlencoded(body: Any, limit: int) -> list[tuple[str, str]]:
    data = body.read(min(limit, sys.maxsize - 1) + 1)
    if len(data) > limit:
        raise HTTPError(413, f"a form of more than {limit} bytes")
    try:
        return parse_qsl(
            data.decode("utf-8", "replace"), keep_blank_values=True, errors="replace", max_num_fields=MOST_FIELDS
        )
    except ValueError:
        raise HTTPError(413, f"a form of more than {MOST_FIELDS} fields") from None


def _multipart(content_type: str, body: Any, limit: int) -> Form:
    try:
        import multipart
    except ImportError:
        raise RuntimeError("multipart forms need another package: pip install greenhttp[form]") from None
    boundary = multipart.parse_options_header(content_type)[1].get("boundary", "")
    if not boundary:
        raise HTTPError(400, "multipart content without a boundary")
    fields: list[tuple[str, str]] = []
    files: list[tuple[str, Upload]] = []
    room = limit
    content: Any = None
    store = Store()  # one for all: descriptors are scarcer than bytes
    try:
        parser = multipart.PushMultipartParser(boundary, max_segment_count=MOST_FIELDS)
        for event in parser.parse_blocking(body.read, BLOCK):
            if isinstance(event, multipart.MultipartSegment):
                part = event
                content = _Content(store)
            elif event is not None:
                if part.filename is None:
                    room -= len(event)
                    if room < 0:
                        raise HTTPError(413, f"form fields of more than {limit} bytes")
                content.write(event, in_memory=part.filename is None)
            elif part.filename is None:
                fields.append((part.name, content.memory.getvalue().decode("utf-8", "replace")))
            elif part.filename or part.size:  # browsers send an empty file without a name where none was chosen
                kind = part.content_type or "application/octet-stream"
                files.append((part.name, Upload(part.filename, kind, content.file(), part.size)))
    except BaseException as error:
        store.close()  # what has failed is kept by tracebacks and by the parser, in cycles
        if not isinstance(error, multipart.MultipartError):
            raise
        raise _refusal(error, multipart.ParserLimitReached) from None
    return Form(fields, files)


def _refusal(error: Exception, beyond: type[Exception]) -> HTTPError:
    if isinstance(error, beyond):
        return HTTPError(413, f"the form is beyond a limit: {error}")
    return HTTPError(400, f"malformed multipart content: {error.args[0]}")


class _Content:
    """The content of one part: in memory, or where it begins in the store. Parts come one after the other."""

    def __init__(self, store: Store) -> None:
        self.memory = io.BytesIO()
        self.store = store
        self.start = -1

    def write(self, data: bytes | bytearray | memoryview, *, in_memory: bool) -> None:
        if self.start < 0 and not in_memory and self.memory.tell() + len(memoryview(data)) > IN_MEMORY:
            self.start = self.store.size
            self.store.write(self.memory.getbuffer())
            self.memory = io.BytesIO()
        if self.start < 0:
            self.memory.write(data)
        else:
            self.store.write(data)

    def file(self) -> IO[bytes]:
        if self.start < 0:
            self.memory.seek(0)
            return self.memory
        return io.BufferedReader(_Window(self.store, self.start, self.store.size - self.start))


class _Window(io.RawIOBase):
    """A range of the store as a file of its own."""

    def __init__(self, store: Store, start: int, size: int) -> None:
        self.store, self.start, self.size, self.at = store, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence]
        if at < 0:
            raise ValueError("a position before the beginning")
        self.at = at
        return at

    def readinto(self, buffer: Any) -> int:
        data = self.store.read(max(0, min(len(buffer), self.size - self.at)), self.start + self.at)
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)
