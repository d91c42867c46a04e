"""events.py: plain sockets, where it matters when something arrives, and curl."""

import json
import signal
import subprocess

import pytest

from tests.examples.example import Example
from tests.system.process import needs


@pytest.fixture
def example():
    with Example("events.py", "127.0.0.1:0") as example:
        yield example
        if example.returncode is None:
            example.stop(signal.SIGINT)  # TERM would wait for readers of whom nobody knows yet that they have gone


def publish(example, text):
    """(number of the message, readers of the event stream)."""
    status, told = example.fetch("/", "POST", body=text)
    assert status == 200
    return tuple(map(int, told.split()))


def ask(example, target, *fields):
    """An HTTP/1.0 request: what comes back is not in chunks."""
    peer = example.connect()
    peer.send("\r\n".join([f"GET {target} HTTP/1.0", *fields, "", ""]).encode())
    return peer


def listen(example, *fields):
    """A reader of the event stream, from its first line on."""
    peer = ask(example, "/events", *fields)
    head = peer.until("")
    assert head[0].startswith("HTTP/1.1 200 ") and "Content-Type: text/event-stream" in head
    assert peer.until("") == ["retry: 1000"]
    return peer


def event(number, text):
    return [f"id: {number}", f"data: {json.dumps(text)}"]


def test_everybody_who_listens_gets_every_message_when_it_comes(example):
    publish(example, "before")
    with listen(example) as one, listen(example) as two:
        assert publish(example, "a\nb") == (2, 2)
        for peer in (one, two):
            assert peer.until("") == event(2, "a\nb")
        publish(example, "c")
        for peer in (one, two):
            assert peer.until("") == event(3, "c")


def test_a_browser_that_comes_back_misses_nothing(example):
    for text in "abc":
        publish(example, text)
    with listen(example, "Last-Event-ID: 1") as peer:
        assert [peer.until(""), peer.until("")] == [event(2, "b"), event(3, "c")]


def test_a_reader_who_leaves_is_forgotten(example):
    listen(example).reset()
    # The first message finds out; from then on, or from the one after that, nobody is there.
    for _ in range(100):
        if publish(example, "x")[1] == 0:
            break
    else:
        pytest.fail("the generator was not closed")


def test_the_long_poll_answers_when_something_comes(example):
    with ask(example, "/next?after=0") as peer, listen(example) as later:
        # Whoever asked later has an answer already; the poll waits until there is a message.
        publish(example, "a")
        peer.until("")
        assert json.loads(peer.line()) == [[1, "a"]]
        assert later.until("") == event(1, "a")
    publish(example, "b")
    assert json.loads(example.fetch("/next?after=0")[1]) == [[1, "a"], [2, "b"]]
    assert json.loads(example.fetch("/next?after=1")[1]) == [[2, "b"]]


IMPATIENT = """
import greenhttp.patch, events
events.PATIENCE = 0.02
greenhttp.serve(events.app, bind="127.0.0.1:0")
"""


def test_when_nothing_comes_readers_get_a_comment_and_polls_an_empty_answer():
    with Example("-c", IMPATIENT) as example:
        with listen(example) as reader:
            assert [reader.until(""), reader.until("")] == [[":"], [":"]]
            reader.reset()
        # A poll that begins now ends after the reader's comment was due, by which its departure was noticed.
        assert [example.fetch("/next?after=0") for _ in range(2)] == [(200, b"[]\n")] * 2
        assert publish(example, "x") == (1, 0)


@needs("curl")
def test_curl_prints_events_as_they_come(example):
    command = ["curl", "-sSN", "--noproxy", "*", f"{example.url}/events"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout.readline() == "retry: 1000\n"
        publish(example, "hello")
        assert [curl.stdout.readline() for _ in range(4)] == ["\n", "id: 1\n", 'data: "hello"\n', "\n"]
        curl.terminate()


def test_the_page_shows_what_comes(example):
    status, page = example.fetch("/")
    assert status == 200 and b'new EventSource("/events")' in page


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_although_somebody_listens(example, number):
    with listen(example):
        example.stop(number)


LOOKING = """
import greenhttp.patch, events
events.PATIENCE, events.LOOK = 3600, 0.01
greenhttp.serve(events.app, bind="127.0.0.1:0", concurrency=1, queue_timeout=3600)
"""


def test_a_poll_whose_client_has_gone_ends_although_nothing_comes():
    with Example("-c", LOOKING) as example:
        with ask(example, "/next?after=0"):
            pass
        assert example.fetch("/")[0] == 200  # there is one place, and it was taken
