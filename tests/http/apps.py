"""Small WSGI applications, and requests for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

App = Callable[..., Iterable[bytes]]

HOST = b"Host: example.com\r\n"


def request(line: bytes = b"GET / HTTP/1.1", *fields: bytes, content: bytes = b"") -> bytes:
    """A request with Host; the content is appended as it is."""
    return line + b"\r\n" + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + content


def post(content: bytes, *fields: bytes, path: bytes = b"/", version: bytes = b"1.1") -> bytes:
    """A request with content of known length."""
    length = b"Content-Length: %d" % len(content)
    return request(b"POST " + path + b" HTTP/" + version, length, *fields, content=content)


def chunks(*pieces: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + last


def post_chunked(*pieces: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    return request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", content=chunks(*pieces, last=last))


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Says the path; reads nothing."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode("latin-1")]


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Method, path and content."""
    content = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} ".encode("latin-1") + content]


def answering(content: Iterable[bytes], status: str = "200 OK", *fields: tuple[str, str]) -> App:
    """Answers always the same. An iterator can be had once only: give a list, or use `streaming`."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, list(fields))
        return content

    return app


def streaming(*pieces: bytes, status: str = "200 OK", fields: Iterable[tuple[str, str]] = ()) -> App:
    """Answers piece by piece, size unknown."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, list(fields))
        yield from pieces

    return app
