"""flask_app.py under the command."""

import pytest

from tests.examples.example import Example
from tests.system.process import needs

pytestmark = needs("curl")


@pytest.fixture(scope="module")
def example():
    with Example("-m", "greenhttp", "-b", "127.0.0.1:0", "flask_app:app") as example:
        yield example


def test_hello(example):
    assert example.curl(target="/") == b"hello world\n"
    assert example.curl("-G", "-d", "name=you", target="/") == b"hello you\n"


def test_a_handler_that_sleeps_answers_in_the_end(example):
    assert example.curl(target="/slow") == b"slept a second\n"


def test_echo(example):
    answer = example.curl("-i", "-d", "abc", "-H", "Content-Type: text/x", target="/echo")
    assert answer.endswith(b"\r\n\r\nabc")
    assert b"\r\nContent-Type: text/x" in answer
