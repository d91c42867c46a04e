"""Files of forms: how many descriptors they take, and what stays of them."""

from __future__ import annotations

import gc
import os
from typing import Any

import pytest

from greenhttp.http.form import IN_MEMORY
from greenhttp.testing import exchange

LARGE = IN_MEMORY + 1


def form(files: int, end: bytes = b"--B--\r\n") -> bytes:
    part = b'--B\r\nContent-Disposition: form-data; name="f"; filename="%d"\r\n\r\n'
    content = b"".join(part % at + b"%d" % (at % 10) * LARGE + b"\r\n" for at in range(files)) + end
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: %d\r\n\r\n"
    return head % len(content) + content


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def test_all_large_files_of_a_form_take_one_descriptor() -> None:
    def handler(request: Any) -> str:
        before = descriptors()
        files = request.form().files.get_all("f")
        assert descriptors() == before + 1
        assert [file.size for file in files] == [LARGE] * 100
        for at, file in reversed(list(enumerate(files))):
            assert file.file.read() == b"%d" % (at % 10) * LARGE
            assert file.file.seek(-1, os.SEEK_END) == LARGE - 1
            assert (file.file.read(), file.file.read()) == (b"%d" % (at % 10), b"")
            with pytest.raises(ValueError):
                file.file.seek(-1)
        return "read"

    gc.collect()
    before = descriptors()
    assert exchange(handler, [form(100)]).sent.endswith(b"read")
    assert descriptors() == before


def test_a_file_outlives_its_form() -> None:
    kept = []

    def handler(request: Any) -> str:
        kept.append(request.form().files["f"].file)
        return "kept"

    assert exchange(handler, [form(2)]).sent.endswith(b"kept")
    assert kept.pop().read() == b"0" * LARGE


@pytest.mark.parametrize("end", [b"--Bxx\r\n", b"--B\r\nno name\r\n\r\n", b""])
def test_nothing_stays_of_a_broken_form_until_the_collector_comes(end: bytes) -> None:
    gc.collect()
    before = descriptors()
    gc.disable()
    try:
        outcome = exchange(lambda request: str(len(request.form())), [form(3, end)])
        assert outcome.sent.startswith(b"HTTP/1.1 400 ")
        assert descriptors() == before
    finally:
        gc.enable()


def test_a_form_that_was_refused_is_refused_again() -> None:
    def handler(request: Any) -> str:
        answers = []
        for _ in range(2):
            try:
                request.form(limit=3)
            except Exception as error:
                answers.append(str(error))
        return "same" if len(answers) == 2 and answers[0] == answers[1] else repr(answers)

    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\n"
    assert exchange(handler, [head + b"a=1&b=2"]).sent.endswith(b"same")
