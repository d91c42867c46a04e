"""What clients say to the applications here, one exchange after the other as one browser would, cookies included."""

from dataclasses import dataclass, field

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
UPLOAD = (
    b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\n\xc3\xa4\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + bytes(range(256)) * 500 + b"\r\n--b--\r\n"
)
LARGE = bytes(range(256)) * 8000  # 2 MB


@dataclass(frozen=True)
class Exchange:
    method: str
    target: str
    content: bytes | None = None
    fields: dict[str, str] = field(default_factory=dict)

    def __str__(self):
        return " ".join([self.method, self.target, *self.fields.values()])


def exchanges(file="/file", more=(), heads=True):
    """All of them; `file` is where the application has its static file, `more` are targets of its own.

    Without `heads` nobody asks for the head of the file alone.
    """
    return [
        Exchange("GET", "/"),
        Exchange("HEAD", "/"),
        Exchange("GET", "/nowhere"),
        Exchange("DELETE", "/json"),  # 405
        Exchange("GET", "/moved"),
        Exchange("GET", "/me"),
        Exchange("POST", "/login", b"user=anna", FORM),
        Exchange("GET", "/me"),
        Exchange("POST", "/upload", UPLOAD, MULTIPART),
        Exchange("POST", "/json", b'{"a": [1, null, "\xc3\xa4"]}', JSON),
        Exchange("POST", "/echo", LARGE, {"Content-Type": "application/octet-stream"}),
        Exchange("POST", "/echo", b"", {"Content-Type": "application/octet-stream"}),
        Exchange("GET", "/stream"),
        Exchange("GET", "/text/%C3%A4/b%20c?q=%E2%82%AC"),
        Exchange("GET", file),
        *[Exchange("HEAD", file)] * heads,
        Exchange("GET", file, None, {"If-Modified-Since": "Fri, 31 Dec 2100 00:00:00 GMT"}),
        Exchange("GET", file, None, {"Range": "bytes=10-19"}),
        Exchange("GET", file, None, {"Range": "bytes=99999999-"}),  # 416
        Exchange("GET", "/fails"),
        *[Exchange("GET", target) for target in more],
    ]
