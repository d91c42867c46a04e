"""json_api.py with a real PostgreSQL."""

import json

import pytest

from tests.apps.conftest import started
from tests.apps.services import PostgreSQL
from tests.examples.example import Example


@pytest.fixture(scope="module")
def database():
    yield from started(PostgreSQL)


@pytest.fixture
def api(database):
    with database.connect() as connection:
        connection.execute("drop table if exists notes")
    with Example("json_api.py", "127.0.0.1:0", DATABASE_URL=database.url) as example:
        yield example


def ask(api, method, target, note=None):
    status, content = api.fetch(target, method, body=None if note is None else json.dumps(note))
    return status, json.loads(content) if status < 300 else content.decode()


def test_notes_are_written_read_and_deleted(api):
    one, two = {"id": 1, "text": "ä"}, {"id": 2, "text": "'; drop table notes"}
    assert ask(api, "GET", "/notes") == (200, [])
    assert [ask(api, "POST", "/notes", {"text": note["text"]}) for note in (one, two)] == [(201, one), (201, two)]
    assert ask(api, "GET", "/notes") == (200, [one, two])
    assert ask(api, "GET", "/notes/1") == (200, one)
    assert ask(api, "DELETE", "/notes/1") == (200, one)
    assert ask(api, "DELETE", "/notes/1") == (404, "no such note\n")
    assert ask(api, "GET", "/notes") == (200, [two])


@pytest.mark.parametrize("note", [{}, [], {"text": 1}, {"text": "a\0"}, "text"])
def test_what_is_no_note_is_refused(api, note):
    assert ask(api, "POST", "/notes", note) == (400, 'give {"text": "..."}\n')


def test_what_is_not_there(api):
    for target in ("/", "/notes/", "/notes/x", "/notes/-1", "/notes/1/2", "/notes/9999999999", "/other"):
        assert ask(api, "GET", target)[0] == 404
    assert ask(api, "GET", "/notes/999999999")[0] == 404
    assert ask(api, "PUT", "/notes/1")[0] == ask(api, "POST", "/notes/1", {"text": "x"})[0] == 405


def test_a_database_that_goes_away_is_said_and_comes_back_without_a_restart(api, database):
    database.stop()
    assert ask(api, "GET", "/notes") == (503, "the database does not answer\n")
    database.start()
    assert ask(api, "GET", "/notes") == (200, [])
