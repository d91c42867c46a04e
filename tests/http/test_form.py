"""http/form.py: urlencoded and multipart content (RFC 7578), whole and broken."""

from __future__ import annotations

import gc
import io
from typing import Any

import pytest

from greenhttp.errors import BodyError, HTTPError
from greenhttp.http.form import IN_MEMORY, MOST_FIELDS, Form, read_form
from greenhttp.testing import every_split, exchange
from tests.answers import only
from tests.http.apps import chunks, request

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=XyZ"
LIMIT = 1 << 20


def part(name: str, content: bytes, *, filename: str | None = None, kind: str = "", more: bytes = b"") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        head += f'; filename="{filename}"'
    if kind:
        head += f"\r\nContent-Type: {kind}"
    return head.encode() + b"\r\n" + more + b"\r\n" + content


def multipart(*parts: bytes, boundary: bytes = b"XyZ") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + each + b"\r\n" for each in parts) + b"--" + boundary + b"--\r\n"


def read(content: bytes, content_type: str = MULTIPART, limit: int = LIMIT) -> Form:
    return read_form(content_type, io.BytesIO(content), limit)


def status_of(content: bytes, content_type: str = MULTIPART, limit: int = LIMIT) -> int:
    with pytest.raises(HTTPError) as caught:
        read(content, content_type, limit)
    return caught.value.status


# ---- urlencoded


@pytest.mark.parametrize(
    ("content", "pairs"),
    [
        (b"", []),
        (b"a=1&b=2&a=3", [("a", "1"), ("b", "2"), ("a", "3")]),
        (b"a=&b&=c", [("a", ""), ("b", ""), ("", "c")]),
        (b"a+b=c%20d%26", [("a b", "c d&")]),
        ("k=é".encode(), [("k", "é")]),
        (b"k=%C3%A9&x=%FF&y=\xff&z=%zz", [("k", "é"), ("x", "\ufffd"), ("y", "\ufffd"), ("z", "%zz")]),
        (b"a=1;b=2", [("a", "1;b=2")]),
    ],
)
def test_urlencoded(content: bytes, pairs: list[tuple[str, str]]) -> None:
    form = read(content, URLENCODED)
    assert list(form.pairs) == pairs
    assert dict(form.files) == {}


@pytest.mark.parametrize(
    "kind", ["Application/X-WWW-Form-Urlencoded", URLENCODED + "; charset=utf-8", URLENCODED + " ;"]
)
def test_a_content_type_is_read_in_any_case_and_with_parameters(kind: str) -> None:
    assert read(b"a=1", kind)["a"] == "1"


def test_urlencoded_is_limited_in_bytes_and_in_fields() -> None:
    assert read(b"a=" + b"x" * 98, URLENCODED, 100)["a"] == "x" * 98
    assert status_of(b"a=" + b"x" * 99, URLENCODED, 100) == 413
    assert len(read(b"&".join([b"a=1"] * MOST_FIELDS), URLENCODED).pairs) == MOST_FIELDS
    assert status_of(b"&".join([b"a=1"] * (MOST_FIELDS + 1)), URLENCODED) == 413


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json", "multipart/mixed; boundary=XyZ", "multipart"])
def test_what_is_no_form_is_415(kind: str) -> None:
    assert status_of(multipart(part("a", b"1")), kind) == 415


# ---- multipart


def test_fields_and_files_in_order() -> None:
    form = read(
        multipart(
            part("a", b"1"),
            part("photo", b"\x00\xff\r\n--Xy", filename="me.png", kind="image/png"),
            part("a", "é".encode()),
            part("photo", b"second", filename="C:\\you.png"),
            part("", b"\xff"),
        )
    )
    assert form.pairs == (("a", "1"), ("a", "é"), ("", "\ufffd"))
    first, second = form.files.get_all("photo")
    assert (first.filename, first.content_type, first.size) == ("me.png", "image/png", 8)
    assert first.file.read() == b"\x00\xff\r\n--Xy"
    assert second.content_type == "application/octet-stream"
    assert (second.file.read(), second.size) == (b"second", 6)
    assert repr(first) == "Upload('me.png', 'image/png', 8 bytes)"


@pytest.mark.parametrize("kind", ['multipart/form-data; boundary="XyZ"', "MULTIPART/Form-Data; x=y; BOUNDARY=XyZ"])
def test_a_boundary_may_be_quoted(kind: str) -> None:
    assert read(multipart(part("a", b"1")), kind)["a"] == "1"


def test_a_file_field_left_empty_is_not_there() -> None:
    form = read(multipart(part("photo", b"", filename="", kind="application/octet-stream"), part("a", b"1")))
    assert (dict(form.files), dict(form)) == ({}, {"a": "1"})
    assert read(multipart(part("photo", b"", filename="empty.txt"))).files["photo"].size == 0
    assert read(multipart(part("photo", b"x", filename=""))).files["photo"].filename == ""


def test_a_form_of_nothing() -> None:
    assert read(b"--XyZ--\r\n").pairs == ()


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY, IN_MEMORY + 1, 10 * IN_MEMORY + 7])
def test_files_of_any_size(size: int) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    form = read(multipart(part("f", content[:size], filename="f"), part("after", b"yes")), limit=3)
    upload = form.files["f"]
    assert (upload.size, form["after"]) == (size, "yes")
    assert upload.file.read() == content[:size]
    upload.file.seek(0)
    assert upload.file.read(1) == content[: min(size, 1)]
    assert isinstance(upload.file, io.BytesIO) is (size <= IN_MEMORY)


def test_a_large_file_is_a_temporary_one_that_goes_with_its_last_reference() -> None:
    form = read(multipart(part("f", b"x" * (IN_MEMORY + 1), filename="f")))
    file = form.files["f"].file
    del form
    assert file.read() == b"x" * (IN_MEMORY + 1)
    raw = file.raw  # type: ignore[attr-defined]
    assert not raw.closed
    del file
    gc.collect()  # an unclosed file would be a ResourceWarning, and so a failure
    assert raw.closed


def test_text_is_limited_and_files_are_not() -> None:
    file = part("f", b"x" * 5000, filename="f")
    form = read(multipart(part("a", b"x" * 60), file, part("b", b"x" * 40)), limit=100)
    assert (len(form["a"]), len(form["b"]), form.files["f"].size) == (60, 40, 5000)
    assert status_of(multipart(part("a", b"x" * 60), file, part("b", b"x" * 41)), limit=100) == 413


def test_parts_are_limited() -> None:
    parts = [part("a", b"1")] * MOST_FIELDS
    assert len(read(multipart(*parts)).pairs) == MOST_FIELDS
    assert status_of(multipart(*parts, part("a", b"1"))) == 413
    assert status_of(multipart(part("a", b"1", more=b"X-Long: " + b"x" * 10_000 + b"\r\n"))) == 413
    assert status_of(multipart(part("a", b"1", more=b"X-Field: 1\r\n" * 10))) == 413


WHOLE = multipart(part("a", b"1"), part("f", b"data", filename="f"))
END = WHOLE.rindex(b"--") + 2


@pytest.mark.parametrize("size", range(END))
def test_broken_off_anywhere_is_400(size: int) -> None:
    assert status_of(WHOLE[:size]) == 400


@pytest.mark.parametrize("at", range(END))
@pytest.mark.parametrize("byte", [b"\x00", b"\xff", b"\n", b"-", b'"', b":"])
def test_a_byte_changed_anywhere_is_a_form_or_400(at: int, byte: bytes) -> None:
    try:
        form = read(WHOLE[:at] + byte + WHOLE[at + 1 :])
    except HTTPError as error:
        assert error.status == 400
    else:
        assert len(form.pairs) + len(form.files.pairs) <= 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a=1",
        WHOLE.replace(b"\r\n", b"\n"),
        WHOLE.replace(b"XyZ", b"Other"),
        multipart(b"\r\nno head"),
        multipart(b"Content-Type: text/plain\r\n\r\nno name"),
        multipart(b'Content-Disposition: attachment; name="a"\r\n\r\n1'),
        multipart(part("a", b"1", more=b"Bad\r\n")),
        multipart(part("a", b"1", more=b"\xff: 1\r\n")),
        multipart(part("a", b"1", more=b"Content-Length: 2\r\n")),
    ],
)
def test_malformed_multipart_is_400(content: bytes) -> None:
    assert status_of(content) == 400


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data;",
    ],
)
def test_multipart_without_a_boundary_is_400(kind: str) -> None:
    assert status_of(WHOLE, kind) == 400


def test_what_the_client_sent_is_not_in_the_answer() -> None:
    for content, kind in [(multipart(part("a", b"", more=b"Secret\xff: 1\r\n")), MULTIPART), (b"", "text/secret")]:
        with pytest.raises(HTTPError) as caught:
            read(content, kind)
        assert "ecret" not in str(caught.value)


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "multipart", None)
    with pytest.raises(RuntimeError, match=r"pip install greenhttp\[form\]"):
        read(WHOLE)
    assert read(b"a=1", URLENCODED)["a"] == "1"


# ---- through a connection


def answer(request: Any) -> str:
    form = request.form()
    assert request.form() is form
    files = [(name, upload.filename, upload.file.read()) for name, upload in form.files.pairs]
    return repr((list(form.pairs), files))


EXPECTED = repr(([("a", "1")], [("f", "f", b"data")])).encode()


@pytest.mark.parametrize("coded", [False, True])
def test_a_form_arrives_however_it_is_split(coded: bool) -> None:
    framing = b"Transfer-Encoding: chunked" if coded else b"Content-Length: %d" % len(WHOLE)
    content = chunks(WHOLE[:50], WHOLE[50:]) if coded else WHOLE
    data = request(b"POST / HTTP/1.1", framing, b"Content-Type: " + MULTIPART.encode(), content=content)
    for pieces in every_split(data):
        outcome = exchange(answer, pieces)
        assert (only(outcome.sent).content, outcome.log) == (EXPECTED, [])


def sent(content: bytes, kind: str, length: int | None = None, **settings: Any) -> tuple[int, list[str]]:
    head = [b"Content-Length: %d" % (len(content) if length is None else length), b"Content-Type: " + kind.encode()]
    outcome = exchange(answer, [request(b"POST / HTTP/1.1", *head, content=content)], **settings)
    return only(outcome.sent).status, [record.level for record in outcome.log]


def test_errors_are_answered_with_their_status_and_not_logged_as_errors() -> None:
    assert sent(WHOLE[:40], MULTIPART) == (400, [])
    assert sent(WHOLE, "text/plain") == (415, [])
    assert sent(b"a=1", URLENCODED) == (200, [])
    assert sent(WHOLE[:40], MULTIPART, len(WHOLE)) == (400, ["info"])
    assert sent(WHOLE, MULTIPART, limit_request_body=10) == (413, ["info"])


def test_the_rest_of_a_refused_form_does_not_become_the_next_request() -> None:
    head = request(b"POST / HTTP/1.1", b"Content-Length: 70", b"Content-Type: " + MULTIPART.encode())
    follower = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
    outcome = exchange(answer, [head + (b"--XyZ bad\r\n" + follower * 3)[:70] + follower])
    assert outcome.sent.count(b"HTTP/1.1 400 ") == 1
    assert outcome.sent.count(b"HTTP/1.1 415 ") == 1


def test_a_body_that_breaks_off_is_a_body_error() -> None:
    class Broken:
        def read(self, size: int = -1) -> bytes:
            raise BodyError(408, "too slow")

    for kind in (URLENCODED, MULTIPART):
        with pytest.raises(BodyError, match="too slow"):
            read_form(kind, Broken(), LIMIT)
