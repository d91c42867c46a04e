"""A Flask application behaves behind greenhttp as behind werkzeug's development server: both serve it, clients compare.

What may differ, and why, stands in OURS and in the tests under "deliberate differences"; everything else must be equal:
status, reason, body and every field.
"""

import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import socket
import subprocess
from pathlib import Path

import pytest
import requests

from tests.system.process import Command, Process, needs

HERE = Path(__file__).parent

# Fields that belong to the server.
OURS = {
    "date",  # the moment of the answer
    "server",  # the name of the server
    "connection",  # the development server closes after every answer and says so; greenhttp keeps the connection
}

SAME = {"PYTHONHASHSEED": "0"}  # werkzeug makes Allow from a set


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("flask") / "data.bin"
    path.write_bytes(bytes(range(256)) * 2048)
    return path


@pytest.fixture(scope="module")
def ours(data):
    with Command(HERE, "-b", "127.0.0.1:0", "flask_app:app", FILE=str(data), **SAME) as process:
        yield process.url()


@pytest.fixture(scope="module")
def theirs(data):
    with Process(HERE, "flask_app.py", FILE=str(data), **SAME) as process:
        yield process.url()


class Answer:
    def __init__(self, response):
        self.status, self.reason, self.body = response.status, response.reason, response.read()
        self.fields = sorted((name.lower(), value) for name, value in response.getheaders())

    def __getitem__(self, name):
        return dict(self.fields).get(name)

    def equal_part(self):
        return self.status, self.reason, self.body, [field for field in self.fields if field[0] not in OURS]


def connect(url):
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)


def ask(connection, method, target, body=None, fields=()):
    connection.request(method, target, body, {"Host": "example.test", **dict(fields)})
    return Answer(connection.getresponse())


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
UPLOAD = (
    b'--b\r\nContent-Disposition: form-data; name="field"\r\n\r\nvalue \xc3\xa4\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nhello\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="\xc3\xa4.bin"\r\n\r\n' + bytes(range(256)) * 500
    + b"\r\n--b--\r\n"
)  # fmt: skip

CASES = [
    ("GET", "/"),
    ("HEAD", "/"),
    ("OPTIONS", "/"),
    ("GET", "/item/7/a/b%20c/d"),
    ("PUT", "/item/7/%C3%A4", b"x"),
    ("DELETE", "/item/7/x"),  # 405
    ("GET", "/item/seven/x"),  # 404: the converter
    ("GET", "/text/%E2%82%AC"),
    ("GET", "/text/%FF"),
    ("GET", "/text/a%2Fb"),  # 404: decoded before routing
    ("GET", "/text/%zz%"),
    ("GET", "/query?a=1&b=2&a=3&c=%C3%A4&d=&e&f=a+b&%20=x"),
    ("GET", "/query?"),
    ("GET", "/query?a=%FF%zz"),
    ("POST", "/json", b'{"a": [1, null, "\xc3\xa4"]}', JSON),
    ("POST", "/json", b"{", JSON),  # 400
    ("POST", "/json", b"{}", {"Content-Type": "text/plain"}),  # 415
    ("POST", "/form", b"a=1&b=%C3%A4&a=2+3", FORM),
    ("POST", "/form", b"", FORM),
    ("POST", "/upload", UPLOAD, MULTIPART),
    ("POST", "/echo", b"x" * 300_000, {"Content-Type": "text/x"}),
    ("POST", "/echo"),
    ("PATCH", "/echo", b"\0\xff"),
    ("DELETE", "/echo", b"with content"),
    ("POST", "/echo", [b"a" * 10_000, b"b", b"c" * 70_000]),  # chunked
    ("POST", "/ignore", b"x" * 100_000),
    ("POST", "/echo", b"x" * ((1 << 20) + 1)),  # 413 of the application
    ("GET", "/stream?word=up"),
    ("HEAD", "/stream"),
    ("GET", "/sized-stream"),
    ("HEAD", "/sized-stream"),
    ("GET", "/cookies", None, {"Cookie": 'a=1; b="quoted; x"; c=%20'}),
    ("GET", "/fails"),
    ("HEAD", "/fails"),
    ("GET", "/teapot"),
    ("GET", "/nowhere"),
    ("POST", "/", b"abc"),  # 405
    ("GET", "/etag"),
    ("HEAD", "/etag"),
    ("GET", "/etag", None, {"If-None-Match": '"v1"'}),
    ("GET", "/etag", None, {"If-None-Match": '"v2"'}),
    ("GET", "/etag", None, {"If-Modified-Since": "Wed, 01 Jan 2020 00:00:00 GMT"}),
    ("GET", "/file"),
    ("HEAD", "/file"),
    ("GET", "/file", None, {"Range": "bytes=0-99"}),
    ("GET", "/file", None, {"Range": "bytes=1000-200000"}),
    ("GET", "/file", None, {"Range": "bytes=-7"}),
    ("GET", "/file", None, {"Range": "bytes=9999999-"}),  # 416
    ("GET", "/file", None, {"Range": "bytes=0-1,5-6"}),
    ("GET", "/memory"),
    ("HEAD", "/memory"),
    ("GET", "/moved"),
    ("GET", "/no-content"),
    ("HEAD", "/no-content"),
    ("GET", "/about?x=%C3%A4&y", None, {"User-Agent": "a (b) \xe4", "X-Some-Field": "1", "Accept": "*/*"}),
    ("GET", "/?word=counted"),
    ("GET", "//text//a"),
    ("GET", "/../text/a"),
    ("GET", "/text/a;b=c?d"),
    ("GET", "http://example.test/text/absolute"),
]


def sendable(method, target, body=None, fields=()):
    """The case, its body as an iterator where it is a list: http.client sends that in chunks."""
    return method, target, iter(body) if isinstance(body, list) else body, dict(fields)


@pytest.fixture(scope="module")
def kept(ours):
    """One connection for all cases: each is also a test of what the one before has left behind."""
    with contextlib.closing(connect(ours)) as connection:
        yield connection


def name_of(case):
    return " ".join([*case[:2], *map(": ".join, dict(*case[3:]).items())])


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_the_answer_is_that_of_the_development_server(case, kept, ours, theirs):
    with contextlib.closing(connect(theirs)) as connection:
        reference = ask(connection, *sendable(*case))
    many = ask(kept, *sendable(*case))
    assert many.equal_part() == reference.equal_part()
    method, target, body, fields = sendable(*case)
    with contextlib.closing(connect(ours)) as connection:
        once = ask(connection, method, target, body, {**fields, "Connection": "close"})
    assert once["connection"] == "close"
    if not target.startswith("/about"):  # which shows the field that was just added
        assert once.equal_part() == reference.equal_part()


# ---- clients that do more by themselves


@pytest.fixture(params=["ours", "theirs"])
def url(request):
    return request.getfixturevalue(request.param)


def test_sessions_and_cookies_of_a_browser(url):
    with requests.Session() as session:
        assert [session.get(f"{url}/session").text for _ in range(3)] == ["1", "2", "3"]
        session.get(f"{url}/cookies")
        assert session.get(f"{url}/cookies").json()["a"] == "1"
    with requests.Session() as session:
        assert session.get(f"{url}/session").text == "1"


def test_requests_uploads_follows_redirects_and_streams(url, data):
    content = data.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    with requests.Session() as session:
        answer = session.post(f"{url}/upload", data={"a": "ä"}, files={"file": ("x.bin", content, "text/x")})
        assert answer.json() == [[["x.bin", "text/x", digest]], {"a": "ä"}]
        answer = session.get(f"{url}/moved")
        assert (answer.text, answer.history[0].status_code) == ("new", 303)
        with session.get(f"{url}/stream?word=x", stream=True) as answer:
            assert list(answer.iter_lines()) == [f"{n} x".encode() for n in range(5)]
        assert session.post(f"{url}/echo", data=iter([b"a", b"b" * 9000])).content == b"a" + b"b" * 9000
        assert hashlib.sha256(session.get(f"{url}/file").content).hexdigest() == digest


@needs("curl")
def test_curl(url, tmp_path, data):
    def curl(*arguments):
        command = ["curl", "--silent", "--show-error", "--max-time", "60", *arguments]
        return subprocess.run(command, capture_output=True, check=True).stdout

    assert curl(f"{url}/text/a") == b"a"
    assert curl("-L", f"{url}/moved") == b"new"
    assert curl("-d", "a=1", "-d", "b=2", f"{url}/form") == b'[["a","1"],["b","2"]]\n'
    assert json.loads(curl("-F", f"file=@{data}", f"{url}/upload"))[0][0][0] == "data.bin"
    assert curl("-r", "10-19", f"{url}/file") == bytes(range(10, 20))
    assert curl("--http1.0", f"{url}/stream?word=x").count(b"\n") == 5
    curl("-o", str(tmp_path / "part"), "-r", "0-99999", f"{url}/file")
    curl("-o", str(tmp_path / "part"), "-C", "-", f"{url}/file")  # go on with an unfinished download
    assert (tmp_path / "part").read_bytes() == data.read_bytes()


@pytest.mark.parametrize("count", [50])
def test_context_locals_are_each_requests_own_while_many_sleep(ours, count):
    def one(n):
        with contextlib.closing(connect(ours)) as connection:
            return ask(connection, "GET", f"/together/{count}?word=w{n}")

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(one, range(count)))
    for n, answer in enumerate(answers):
        got = json.loads(answer.body)
        assert (got["word"], got["argument"], answer["x-after"]) == (f"w{n}",) * 3
        assert got["most"] == count


# ---- deliberate differences


def status(url, request):
    """The status that raw bytes are answered with; None: the connection closed without an answer."""
    with contextlib.closing(connect(url)) as connection:
        connection.connect()
        connection.sock.sendall(request)
        connection.sock.shutdown(socket.SHUT_WR)
        with connection.sock.makefile("rb") as file:
            line = file.readline()
            return int(line.split()[1]) if line else None


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
DIFFERENT = {
    "no Host (RFC 9112 3.2)": (b"GET / HTTP/1.1\r\n\r\n", 400, 200),
    "two Hosts (RFC 9112 3.2)": (GET + b"Host: b\r\n\r\n", 400, 200),
    "bare LF (wire contract 2)": (GET.replace(b"\r\n", b"\n") + b"\n", 400, 200),
    "folded line (RFC 9112 5.2)": (GET + b"X-A: b\r\n c\r\n\r\n", 400, 200),
    "space before the colon (RFC 9112 5.1)": (GET + b"X-A : b\r\n\r\n", 400, 200),
    "signed length (RFC 9110 8.6)": (GET + b"Content-Length: +1\r\n\r\na", 400, 200),
    "length and chunked (RFC 9112 6.1)": (
        GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, 200,
    ),
    "two spaces (RFC 9112 3)": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, 200),
    "CONNECT (wire contract 13)": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501, 404),
    "TRACE (wire contract 13)": (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501, 405),
    "an unknown expectation (RFC 9110 10.1.1)": (GET + b"Expect: wonders\r\n\r\n", 417, 200),
    "half a head": (GET, None, 200),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "here", "there"), DIFFERENT.values(), ids=DIFFERENT)
def test_greenhttp_refuses_what_the_development_server_lets_through(sent, here, there, ours, theirs):
    assert (status(ours, sent), status(theirs, sent)) == (here, there)
