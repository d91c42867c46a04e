"""embedded.py: the program goes on beside its server."""

import json
import signal

import pytest

from tests.examples.example import Example


@pytest.fixture
def example():
    with Example("embedded.py", "127.0.0.1:0") as example:
        yield example


def test_the_program_works_beside_its_server(example):
    first = int(example.fetch("/")[1])
    for _ in range(100_000):
        if int(example.fetch("/")[1]) > first:
            return
    pytest.fail("no further reading")


def test_statistics(example):
    example.fetch("/")
    for _ in range(1000):  # that the first connection has ended may be seen after the next has come
        statistics = json.loads(example.fetch("/statistics")[1])
        if statistics["connections"] == 1:
            break
    assert (statistics["running"], statistics["connections"]) == (1, 1)


def test_a_request_ends_the_program_and_is_answered(example):
    assert example.fetch("/stop", "POST") == (200, b"stopping\n")
    assert example.ended() == "1 requests, all finished\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_the_programs_own(example, number):
    with example.connect():  # idle connections do not keep it
        assert example.fetch("/")[0] == 200
        assert example.stop(number) == "1 requests, all finished\n"
