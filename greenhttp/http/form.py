"""Form content: `application/x-www-form-urlencoded` and `multipart/form-data` (RFC 7578), read from a request's body.

The first is the standard library's business, the second that of the package `multipart` (the extra `greenhttp[form]`).
"""

import io
import tempfile
from typing import IO, Any
from urllib.parse import parse_qsl

from greenhttp.errors import HTTPError
from greenhttp.http.values import Values

MOST_FIELDS = 1000  # of a form; far beyond what a person fills in, far below what could keep a processor busy
IN_MEMORY = 16384  # bytes of a file; with MOST_FIELDS of them no more than what text may use
BLOCK = 65536  # bytes of content parsed at a time


class Upload:
    """A file of a form.

    Attributes:
        filename: as the client calls it. Never a path to write to: it is a stranger's word.
        content_type: as the client says, "application/octet-stream" if it does not.
        file: the content as a binary file, at its beginning; in memory if small, else a temporary file that goes with
            the last reference to it.
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
    raise HTTPError(415, "the content is not a form: neither urlencoded nor multipart by its type")


def _urlencoded(body: Any, limit: int) -> list[tuple[str, str]]:
    data = body.read(limit + 1)
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
    try:
        parser = multipart.PushMultipartParser(boundary, max_segment_count=MOST_FIELDS)
        for event in parser.parse_blocking(body.read, BLOCK):
            if isinstance(event, multipart.MultipartSegment):
                part = event
                content = io.BytesIO()
            elif event is not None:
                if part.filename is None:
                    room -= len(event)
                    if room < 0:
                        raise HTTPError(413, f"form fields of more than {limit} bytes")
                    content.write(event)
                else:
                    content = _appended(content, event)
            elif part.filename is None:
                fields.append((part.name, content.getvalue().decode("utf-8", "replace")))
            elif part.filename or part.size:  # browsers send an empty file without a name where none was chosen
                content.seek(0)
                kind = part.content_type or "application/octet-stream"
                files.append((part.name, Upload(part.filename, kind, content, part.size)))
    except multipart.ParserLimitReached as error:
        raise HTTPError(413, f"the form is beyond a limit: {error}") from None
    except multipart.MultipartError as error:
        raise HTTPError(400, f"malformed multipart content: {error.args[0]}") from None
    return Form(fields, files)


class _Temporary(io.BufferedRandom):
    """A temporary file that its last reference closes, and says nothing: nobody is asked to close a form."""

    def __del__(self) -> None:
        self.close()


def _appended(file: IO[bytes], data: bytes) -> IO[bytes]:
    """`file` with `data` at its end; what is too large for memory goes on as a temporary file."""
    if isinstance(file, io.BytesIO) and file.tell() + len(data) > IN_MEMORY:
        larger = _Temporary(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115  closed by its last reference
        larger.write(file.getbuffer())
        file = larger
    file.write(data)
    return file
