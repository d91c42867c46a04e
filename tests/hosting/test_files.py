"""Files as answers of native handlers: the odd ones."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import pytest

from greenhttp.testing import exchange

GET = [b"GET / HTTP/1.0\r\n\r\n"]


def answer(name: Any) -> tuple[bytes, bytes]:
    def handler(request: Any) -> Any:
        return open(name, "rb")  # noqa: SIM115  closed by the server

    head, _, content = exchange(handler, GET).sent.partition(b"\r\n\r\n")
    return head, content


@pytest.mark.skipif(sys.platform != "linux", reason="procfs and sysfs are Linux's")
@pytest.mark.parametrize("name", ["/proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled"])
def test_a_file_whose_size_lies_is_read(name: str) -> None:
    if not Path(name).exists():
        pytest.skip(f"no {name} here")
    content = answer(Path(name))[1]
    assert content.split()[:1] == Path(name).read_bytes().split()[:1]


def test_the_name_of_a_packed_file_says_how_it_is_packed(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.html.gz", "wb") as file:
        file.write(b"packed")
    (tmp_path / "a.html").write_text("plain")
    assert b"Content-Type: application/gzip\r\n" in answer(tmp_path / "a.html.gz")[0]
    assert b"Content-Type: text/html\r\n" in answer(bytes(tmp_path / "a.html"))[0]


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    head, content = answer(tmp_path / "empty")
    assert (head.split(b"\r\n")[0], content) == (b"HTTP/1.1 200 OK", b"")
