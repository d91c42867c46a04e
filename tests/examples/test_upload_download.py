"""upload_download.py with curl: sizes that would not go unnoticed in memory."""

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.examples.example import EXAMPLES, TIMEOUT, Example, run
from tests.system.process import needs

pytestmark = needs("curl")

MIB = 1 << 20
BLOCK = os.urandom(MIB)
BLOCKS = 64


@pytest.fixture(scope="module")
def example():
    with Example("upload_download.py", "127.0.0.1:0") as example:
        yield example


def told_of(data):
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def most_memory(process):
    """Bytes of memory the process has had at most."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        pytest.skip("the system does not tell how much memory another process has used")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024


def test_a_file_is_uploaded(example, tmp_path):
    for data in (b"", b"x", BLOCK):
        (tmp_path / "content").write_bytes(data)
        assert json.loads(example.curl("-T", tmp_path / "content")) == told_of(data)
    assert json.loads(example.curl("-d", "a=1")) == told_of(b"a=1")


def test_an_upload_of_unknown_size_takes_no_memory(example):
    example.curl("-d", "the code is loaded")
    before = most_memory(example)
    digest = hashlib.sha256()
    command = ["curl", "-sS", "--noproxy", "*", "--max-time", str(TIMEOUT), "-T", "-", example.url + "/"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as curl:
        for _ in range(BLOCKS):
            digest.update(BLOCK)
            curl.stdin.write(BLOCK)
        curl.stdin.close()
        answer = json.load(curl.stdout)
    assert answer == {"size": BLOCKS * MIB, "sha256": digest.hexdigest()}
    assert most_memory(example) - before < 8 * MIB


def test_a_download_is_made_while_it_is_sent(example):
    assert example.curl(target="/numbers/0") == b""
    assert example.curl(target="/numbers/3") == b"0\n1\n2\n"
    before = most_memory(example)
    lines = example.curl(target="/numbers/3000000").split()
    assert lines == [b"%d" % number for number in range(3_000_000)]
    assert most_memory(example) - before < 8 * MIB


def test_a_client_may_leave_in_the_middle_of_an_endless_download(example):
    with example.connect() as peer:
        peer.send(b"GET /numbers/999999999999999999 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert peer.line() == "HTTP/1.1 200 OK"
    assert example.curl(target="/numbers/1") == b"0\n"


def test_a_file_is_downloaded(example):
    head, _, content = example.curl("-i", target="/source").partition(b"\r\n\r\n")
    assert content == (EXAMPLES / "upload_download.py").read_bytes()
    assert {b"Content-Type: text/x-python", b"Content-Length: %d" % len(content)} <= set(head.split(b"\r\n"))


def test_an_upload_that_ends_early_is_no_upload(example):
    with example.connect() as peer:
        peer.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        peer.end_sending()
        assert peer.line() == "HTTP/1.1 400 Bad Request"


def test_anything_else_is_not_there(example):
    for target in ("/", "/numbers/", "/numbers/-1", "/numbers/x", "/other"):
        assert example.fetch(target)[0] == 404


def test_the_pipe_of_the_docstring(example):
    script = f"head -c 10M /dev/zero | curl -sS --noproxy '*' -T - {example.url}/"
    assert json.loads(run("sh", "-c", script)) == told_of(bytes(10 * MIB))
