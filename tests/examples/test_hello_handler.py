"""hello_handler.py, both ways."""

import json
import signal

import pytest

from tests.examples.example import Example
from tests.system.process import needs

pytestmark = needs("curl")

WAYS = [("hello_handler.py", "127.0.0.1:0"), ("-m", "greenhttp", "-b", "127.0.0.1:0", "hello_handler:hello")]


@pytest.fixture(scope="module", params=WAYS, ids=["script", "command"])
def example(request):
    with Example(*request.param) as example:
        yield example


def test_hello(example):
    assert example.curl(target="/") == b"hello world\n"
    assert example.curl(target="/you?greeting=welcome") == b"welcome you\n"
    assert example.curl(target="/%C3%A9") == "hello é\n".encode()


def test_json(example):
    answer = example.curl("-i", "-A", "me", "-d", '{"name": "you"}', target="/json")
    assert b"\r\nContent-Type: application/json\r\n" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"hello": {"name": "you"}, "from": "me"}


def test_what_is_wrong_is_said(example):
    assert example.fetch("/json", "POST", body=b"{") [0] == 400
    answer = example.curl("-i", "-X", "DELETE", target="/")
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET, HEAD\r\n" in answer


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_by_a_signal(number):
    with Example(*WAYS[0]) as example:
        example.stop(number)
