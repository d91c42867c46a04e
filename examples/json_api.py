"""A JSON API on PostgreSQL: notes, with psycopg and its pool.

    pip install 'psycopg[binary,pool]'
    DATABASE_URL=postgresql://localhost/postgres python json_api.py [ADDRESS]

    curl -d '{"text": "buy milk"}' http://127.0.0.1:8000/notes
    curl http://127.0.0.1:8000/notes
    curl http://127.0.0.1:8000/notes/1
    curl -X DELETE http://127.0.0.1:8000/notes/1

A request holds a connection only while it asks: with ten of them, requests beyond that wait for their turn.
"""

import greenhttp.patch  # first: psycopg waits by what this makes cooperative

import os
import re
import sys

from psycopg import OperationalError
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

TABLE = "create table if not exists notes (id serial primary key, text text not null)"
NOTE = re.compile("/notes(?:/([0-9]{1,9}))?")  # nine digits: what `serial` can hold


class Notes:
    def __init__(self, url):
        # The check costs a round trip, and spares the first requests after a restart of the database an error each.
        self.pool = ConnectionPool(
            url, min_size=1, max_size=10, timeout=5, reconnect_timeout=1, check=ConnectionPool.check_connection,
            kwargs={"row_factory": dict_row}, open=True,
        )  # fmt: skip
        self.ask(TABLE)

    def ask(self, statement, *values):
        """The rows; all of it is one transaction."""
        with self.pool.connection() as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def app(self, request):
        try:
            return self.answer(request)
        except OperationalError as error:  # away, or none of the pool's connections free in five seconds
            raise greenhttp.HTTPError(503, "the database does not answer") from error

    def answer(self, request):
        path = NOTE.fullmatch(request.path)
        if not path:
            raise greenhttp.HTTPError(404, "there are /notes and /notes/NUMBER")
        number = path[1] and int(path[1])
        match request.method, number:
            case "GET", None:
                return self.ask("select * from notes order by id limit 1000")  # a list or dict is sent as JSON
            case "POST", None:
                made = self.ask("insert into notes (text) values (%s) returning *", text_of(request))
                return greenhttp.Response.json(made[0], 201)
            case "GET", _:
                return found(self.ask("select * from notes where id = %s", number))
            case "DELETE", int():
                return found(self.ask("delete from notes where id = %s returning *", number))
        raise greenhttp.HTTPError(405, headers={"Allow": "GET, POST" if number is None else "GET, DELETE"})


def text_of(request):
    note = request.json()  # 400 if it is none
    if not isinstance(note, dict) or not isinstance(note.get("text"), str) or "\0" in note["text"]:
        raise greenhttp.HTTPError(400, 'give {"text": "..."}')
    return note["text"]


def found(rows):
    if not rows:
        raise greenhttp.HTTPError(404, "no such note")
    return rows[0]


if __name__ == "__main__":
    notes = Notes(os.environ["DATABASE_URL"])
    with notes.pool:  # closed when the server has stopped: its green threads must not outlive the interpreter
        greenhttp.serve(notes.app, bind=sys.argv[1:] or "127.0.0.1:8000")
