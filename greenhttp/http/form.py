"""Form content: `application/x-www-form-urlencoded` and `multipart/form-data` (RFC 7578), read from a request's body.

The first is the standard library's business, the second that of the package `multipart` (the extra `greenhttp[form]`).
"""

from typing import IO, Any
from urllib.parse import parse_qsl

from greenhttp.errors import HTTPError
from greenhttp.http.values import Values

MOST_FIELDS = 1000  # of a form; far beyond what a person fills in, far below what could keep a processor busy


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
        files: Values of Upload, by the name of the field.
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
    raise HTTPError(415, f"the content is {kind or 'of no type'}, not a form")


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
    try:
        parser = multipart.MultipartParser(
            body, boundary, part_limit=MOST_FIELDS, memory_limit=limit, spool_limit=min(limit, 65536)
        )
        text = 0
        for part in parser:
            if part.filename is not None:
                kind = part.content_type or "application/octet-stream"
                files.append((part.name, Upload(part.filename, kind, part.file, part.size)))
                continue
            text += part.size
            if text > limit:
                raise HTTPError(413, f"form fields of more than {limit} bytes")
            fields.append((part.name, part.raw.decode("utf-8", "replace")))
    except multipart.ParserLimitReached as error:
        raise HTTPError(413, f"the form is beyond a limit: {error}") from None
    except multipart.MultipartError as error:
        raise HTTPError(400, f"malformed multipart content: {error}") from None
    return Form(fields, files)
