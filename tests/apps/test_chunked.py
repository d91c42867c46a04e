"""Chunked content reaches applications of five frameworks: with its length, by --gather-chunked, or without."""

import contextlib
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.apps.exchanges import JSON, LARGE, MULTIPART, UPLOAD
from tests.apps.served import TIMEOUT, Served

OCTETS = {"Content-Type": "application/octet-stream"}
SENT = [("/json", b'{"a": [1, null]}', JSON), ("/upload", UPLOAD, MULTIPART), ("/echo", LARGE, OCTETS)]
WITHOUT_LENGTH = {  # whether /echo finds its content; docs/wsgi.md says so
    "flask": True, "pyramid": True,
    "django": False, "falcon": False, "bottle": False,
}  # fmt: skip


def pieces(content):
    yield from (content[at : at + 100_000] for at in range(0, len(content), 100_000))


def served(tmp_path, framework, *options):
    (tmp_path / "data.bin").write_bytes(b"")
    return Served(
        *options, f"{framework}_app:app", FILE=str(tmp_path / "data.bin"), DATABASE=str(tmp_path / "sqlite")
    )  # fmt: skip


def talk(url, chunked):
    """The answers to all of SENT, over one connection."""
    answers = []
    with contextlib.closing(HTTPConnection(urlsplit(url).hostname, urlsplit(url).port, timeout=TIMEOUT)) as connection:
        for target, content, fields in SENT:
            connection.request("POST", target, pieces(content) if chunked else content, fields)
            answer = connection.getresponse()
            answers.append((answer.status, answer.read()))
    return answers


@pytest.mark.parametrize("framework", [name for name, reads in WITHOUT_LENGTH.items() if not reads])
def test_gathered_content_is_answered_like_content_of_known_length(framework, tmp_path):
    with served(tmp_path, framework, "--gather-chunked", "3m") as url:
        answers = talk(url, chunked=True)
        assert answers == talk(url, chunked=False)
    assert [status for status, _ in answers] == [200] * 3
    assert answers[-1][1] == LARGE


@pytest.mark.parametrize("framework", WITHOUT_LENGTH)
def test_who_reads_content_without_a_length(framework, tmp_path):
    with served(tmp_path, framework) as url:
        place = urlsplit(url)
        with contextlib.closing(HTTPConnection(place.hostname, place.port, timeout=TIMEOUT)) as connection:
            connection.request("POST", "/echo", pieces(LARGE), OCTETS)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, LARGE if WITHOUT_LENGTH[framework] else b"")
