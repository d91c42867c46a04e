"""fan_out.py: that it asks side by side is proved by backends that answer only when all have been asked."""

import contextlib
import json
import socket
import threading

import pytest

from tests.examples.example import TIMEOUT, Example


@contextlib.contextmanager
def backend(respond):
    """A thread that takes one connection, reads the request and calls respond(connection). Yields the URL."""

    def serve():
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as file:
            connection.settimeout(TIMEOUT)
            while file.readline() not in (b"\r\n", b""):
                pass
            respond(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        thread = threading.Thread(target=serve)
        thread.start()
        yield "http://127.0.0.1:{}/".format(*listener.getsockname()[1:])
        thread.join()


def say(connection, text):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(text), text))


def nobody():
    """A URL where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return "http://127.0.0.1:{}/".format(*listener.getsockname()[1:])


def fan_out(*urls, within):
    with Example("fan_out.py", "127.0.0.1:0", *urls) as example:
        status, answer = example.fetch(f"/?within={within}")
    assert status == 200
    answers = json.loads(answer)
    assert [each.pop("url") for each in answers] == list(urls)
    return answers


def test_all_backends_are_asked_at_once_and_those_that_fail_do_not_spoil_the_rest():
    asked = threading.Barrier(4, timeout=TIMEOUT)

    def answer(connection):
        asked.wait()
        say(connection, b"here")

    def fail(connection):
        asked.wait()
        connection.sendall(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def babble(connection):
        asked.wait()
        connection.sendall(b"this is not HTTP\r\n\r\n")

    with backend(answer) as one, backend(fail) as two, backend(babble) as three, backend(answer) as four:
        answers = fan_out(one, two, three, nobody(), four, within=TIMEOUT)
    assert [answers[0], answers[4]] == [{"answer": "here"}, {"answer": "here"}]
    assert answers[1] == {"error": "HTTP Error 500: Internal Server Error"}
    assert "not HTTP" in answers[2]["error"]
    assert "refused" in answers[3]["error"]


def test_a_backend_that_says_nothing_is_not_waited_for():
    with backend(lambda connection: connection.recv(1)) as silent:  # until it is given up
        assert fan_out(silent, within=0.1) == [{"error": "no answer within 0.1 s"}]


def test_backends_of_its_own():
    with Example("fan_out.py", "127.0.0.1:0") as example:
        answers = json.loads(example.fetch("/?within=60")[1])
        assert [each["answer"] for each in answers] == ["done", "done", "done"]


@pytest.mark.parametrize("within", ["soon", "0", "-1", "nan", "61", ""])
def test_a_limit_that_cannot_be(within):
    with Example("fan_out.py", "127.0.0.1:0", nobody()) as example:
        assert example.fetch(f"/?within={within}") == (400, b"within: give seconds, up to 60\n\n")
