"""What the servers of a soak serve: one application, once as a native handler and once by WSGI.

An answer is derived from the number its request carries, so that an answer to somebody else's request is recognised.
The application notes which numbers it has seen: one that was refused must not be among them, and none may come twice.
"""

import contextlib
import gc
import hashlib
import io
import json
import os
import random
from urllib.parse import parse_qsl

import gevent
import greenlet

from greenhttp import BodyError, RequestTimeout, Response, Server
from greenhttp.http.form import read_form

MOST = 1 << 24  # requests of one process; a bit each, allocated before anything is measured
FILE_SIZE = 256 << 10
WHOLE_FILE = random.Random("file").randbytes(FILE_SIZE)
LARGE = WHOLE_FILE * 32

servers = []  # those of this process: the statistics are asked of them


def content(number, size):
    """The content of answer `number`: `size` bytes that no other answer has."""
    return random.Random(number).randbytes(size)


class Ordered(Exception):
    """Raised because a client asked for it."""


class Seen:
    """Which numbers have come, in memory that never grows."""

    def __init__(self):
        self._bits = bytearray(MOST // 8)
        self.twice = 0  # numbers that came again
        self.smuggled = 0  # requests that were only part of another one

    def __contains__(self, number):
        return bool(self._bits[number >> 3] & 1 << (number & 7))

    def add(self, number):
        self.twice += number in self
        self._bits[number >> 3] |= 1 << (number & 7)


seen = Seen()


class Asked:
    """A request as both interfaces see it."""

    def __init__(self, path, query, kind, body):
        self.path = path
        self.query = dict(parse_qsl(query))
        self.kind = kind  # its Content-Type
        self.body = body  # a binary file
        self.number = int(self.query.get("id", 0))
        self.size = int(self.query.get("size", 0))

    def pieces(self):
        rest = memoryview(content(self.number, self.size))
        while rest:
            yield bytes(rest[:3000])
            rest = rest[3000:]


# ---- honest work: each returns a status and the content


def get(asked):
    return "200 OK", content(asked.number, asked.size)


def none(asked):
    return "204 No Content", b""


def post(asked):
    return "200 OK", asked.body.read()


def slow(asked):
    digest = hashlib.sha256()
    while data := asked.body.read(16 << 10):
        digest.update(data)
        gevent.sleep(0.01)
    return "200 OK", digest.hexdigest().encode()


def stream(asked):
    return "200 OK", asked.pieces()


def file(asked):
    part = open(os.environ["SOAK_FILE"], "rb")  # noqa: SIM115  the server closes it
    part.seek(asked.number % FILE_SIZE)
    return "200 OK", part


def wait(asked):
    gevent.sleep(int(asked.query["ms"]) / 1000)
    return "200 OK", content(asked.number, asked.size)


def form(asked):
    found = read_form(asked.kind, asked.body, 1 << 20)
    upload = found.files["file"]
    told = [found["text"], upload.filename, upload.size, hashlib.sha256(upload.file.read()).hexdigest()]
    return "200 OK", json.dumps(told).encode()


# ---- what applications should not do


def fail(asked):
    raise Ordered


def late(asked):
    yield content(asked.number, 5000)
    raise Ordered


def kill(asked):
    gevent.getcurrent().kill()
    gevent.sleep(60)


def forever(asked):
    gevent.sleep(3600)


def stubborn(asked):
    """Goes on for a while although its time is up."""
    try:
        gevent.sleep(3600)
    except RequestTimeout:
        gevent.sleep(0.3)
    return "200 OK", b"late"


def large(asked):
    """More than the kernel takes at once, and always one object: what the process uses shall not depend on malloc."""
    return "200 OK", LARGE


def endless(asked):
    while True:
        yield bytes(10_000)


def deaf(asked):
    """Keeps the body and a green thread that reads it after the answer."""
    gevent.spawn(_read_on, asked.body)
    gevent.sleep(0)
    return "200 OK", b"gone"


def _read_on(body):
    with contextlib.suppress(BodyError):
        body.read()


def short(asked):
    return "200 OK", iter([b"x"])  # with a Content-Length of 100, see LENGTHS


def nonsense(asked):
    return "two hundred", b"x"


def number(asked):
    return "200 OK", 42


def split(asked):
    return "200 OK\r\nX-Split: 1", b"x"


WORK = {call.__name__: call for call in (get, none, post, slow, stream, file, wait, form, large)}
MISCHIEF = {
    call.__name__: call
    for call in (fail, late, kill, forever, stubborn, endless, deaf, short, nonsense, number, split)
}
LENGTHS = {"late": 9000, "short": 100}


# ---- about the process


def statistics(asked):
    """Counts of the server and of the process, after a collection; and which of the posted numbers it has seen."""
    numbers = json.loads(asked.body.read() or b"[]")
    if "collect" in asked.query:
        gc.collect()
    told = {
        **servers[0].statistics(),
        "greenlets": sum(isinstance(each, greenlet.greenlet) for each in gc.get_objects()),
        "twice": seen.twice,
        "smuggled": seen.smuggled,
        "seen": [number for number in numbers if number in seen],
    }
    return "200 OK", json.dumps(told).encode()


def answer(asked):
    """(status, fields, content) for a request."""
    name = asked.path.strip("/")
    if name == "smuggled":
        seen.smuggled += 1
    if asked.number:
        seen.add(asked.number)
    call = statistics if name == "statistics" else WORK.get(name) or MISCHIEF.get(name)
    if call is None:
        return "404 Not Found", [], name.encode()
    made = call(asked)
    status, made = made if isinstance(made, tuple) else ("200 OK", made)
    fields = [("Content-Type", "application/octet-stream"), ("X-Id", str(asked.number))]
    if name in LENGTHS:
        fields.append(("Content-Length", str(LENGTHS[name])))
    return status, fields, made


def native(request):
    asked = Asked(request.path, request.query_string, request.headers.get("Content-Type", ""), request.body)
    status, fields, made = answer(asked)
    return Response(made, status, fields)


def wsgi(environ, start_response):
    path, query, kind = environ["PATH_INFO"], environ["QUERY_STRING"], environ.get("CONTENT_TYPE", "")
    status, fields, made = answer(Asked(path, query, kind, environ["wsgi.input"]))
    start_response(status, fields)
    if isinstance(made, bytes):
        return [made]
    return environ["wsgi.file_wrapper"](made) if isinstance(made, io.IOBase) else made


def _remember_servers():
    """The command makes the server itself: it is met where it starts."""
    start = Server.start

    def started(server, *arguments, **more):
        servers.append(server)
        start(server, *arguments, **more)

    Server.start = started


if "SOAK_FILE" in os.environ:  # in a server process
    _remember_servers()
