"""poll_chat.py: listeners wait, and hear what is said in their room alone."""

import json
from http.client import HTTPConnection

import pytest

from tests.examples.example import TIMEOUT, Example


@pytest.fixture(scope="module")
def chat():
    with Example("poll_chat.py", "127.0.0.1:0") as example:
        yield example


def say(chat, room, name, text):
    status, content = chat.fetch(f"/room/{room}", "POST", body=json.dumps({"name": name, "text": text}))
    assert status == 200
    return json.loads(content)


def heard(chat, room, after):
    status, content = chat.fetch(f"/room/{room}?after={after}")
    assert status == 200
    return [(line["number"], line["name"], line["text"]) for line in json.loads(content)]


def test_what_was_said_is_told_from_a_number_on(chat):
    assert [say(chat, "one", "anna", text) for text in ("a", "ä", "<b>")] == [1, 2, 3]
    assert say(chat, "another", "anna", "elsewhere") == 1
    assert heard(chat, "one", 0) == [(1, "anna", "a"), (2, "anna", "ä"), (3, "anna", "<b>")]
    assert heard(chat, "one", 2) == [(3, "anna", "<b>")]


def test_all_who_wait_are_told_at_once_and_nobody_else(chat):
    listeners = [HTTPConnection(*chat.address, timeout=TIMEOUT) for _ in range(50)]
    for listener in listeners:
        listener.request("GET", "/room/full?after=0")
    assert say(chat, "empty", "anna", "to nobody") == 1
    assert say(chat, "full", "anna", "to all") == 1
    answers = [json.load(listener.getresponse()) for listener in listeners]
    assert answers == [[{"number": 1, "name": "anna", "text": "to all"}]] * 50
    for listener in listeners:
        listener.close()


def test_only_the_last_hundred_lines_are_kept(chat):
    for number in range(1, 121):
        assert say(chat, "long", "anna", "x") == number
    assert [number for number, *_ in heard(chat, "long", 0)] == list(range(21, 121))


@pytest.mark.parametrize("line", ['{"name": "anna"}', '{"name": "", "text": "x"}', "[]", '"x"', "x"])
def test_what_is_no_line_is_refused(chat, line):
    assert chat.fetch("/room/one", "POST", body=line)[0] == 400


def test_other_targets(chat):
    status, page = chat.fetch("/")
    assert (status, b"/room/tea" in page) == (200, True)
    for target in ("/room/", "/room/a/b", "/x"):
        assert chat.fetch(target)[0] == 404
    for target in ("/room/one", "/room/a?after=x"):
        assert chat.fetch(target)[0] == 400
