"""An answer that comes before the end of a large upload reaches the client, whoever the client is.

EARLY_MB and EARLY_TIMES in the environment set the size and the number of the uploads: `make early-answers` sends
300 MB 100 times in each test.
"""

import contextlib
import os
import shutil
import socket
import subprocess
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection as PoolConnection
from urllib3.connectionpool import HTTPConnectionPool

from tests.apps.served import TIMEOUT, Served
from tests.system.process import needs

EARLY = Path(__file__).parent / "early"
SIZE = int(os.environ.get("EARLY_MB", "20")) * 1_000_000
TIMES = int(os.environ.get("EARLY_TIMES", "20"))
HANGS = TIMEOUT + 10 * TIMES  # seconds

# (what refuses, the target, how the length is told): the answer. With `limit` and `length` the head alone is refused;
# with `limit` and `chunked` the application reads until the limit is passed.
REFUSED, TOLD = "413 Content Too Large", "told early"
CASES = {
    ("limit", "/all", "length"): REFUSED,
    ("limit", "/all", "chunked"): REFUSED,
    ("application", "/login", "length"): f"401 {TOLD}",
    ("application", "/login", "chunked"): f"401 {TOLD}",
    ("application", "/check", "length"): f"422 {TOLD}",
    ("application", "/check", "chunked"): f"422 {TOLD}",
}
OPTIONS = {"limit": ("--limit-request-body", "1m"), "application": ()}


def over(address):
    """A connection to host:port or to a UNIX socket."""
    if address.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT)
        connection.connect(address)
        return connection
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), TIMEOUT)


def pieces(file):
    while piece := file.read(64 * 1024):
        yield piece


def content(file, framing):
    """As Python's clients take it, and the fields that tell its length."""
    if framing == "length":
        return file, {"Content-Length": str(SIZE)}
    return pieces(file), {"Transfer-Encoding": "chunked"}


def repeated(upload):
    """A client in this process: what each upload gave, or the error."""

    def uploads(address, url, path, framing):
        for _ in range(TIMES):
            with path.open("rb") as file:
                try:
                    yield upload(address, url, *content(file, framing))
                except (OSError, requests.RequestException) as error:
                    yield f"{type(error).__name__}: {error}"

    return uploads


@repeated
def http_client(address, url, data, fields):
    place = urlsplit(url)
    with contextlib.closing(HTTPConnection(place.netloc)) as connection:
        connection.sock = over(address)
        connection.request("POST", place.path, data, fields, encode_chunked="Transfer-Encoding" in fields)
        answer = connection.getresponse()
        return f"{answer.status} {answer.read().decode().strip()}"


class Through(HTTPAdapter):
    """requests over a socket of ours."""

    def __init__(self, address):
        super().__init__()

        class Connection(PoolConnection):
            def _new_conn(self):
                return over(address)

        self.pool = HTTPConnectionPool("localhost", timeout=TIMEOUT)
        self.pool.ConnectionCls = Connection

    def get_connection_with_tls_context(self, *_, **__):
        return self.pool

    def close(self):
        self.pool.close()


@repeated
def by_requests(address, url, data, fields):
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", Through(address))
        answer = session.post(url, data, headers=fields)
        return f"{answer.status_code} {answer.text.strip()}"


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, check=False)
    return done.returncode, done.stdout, done.stderr


def curl(address, url, path, framing):
    where = ["--unix-socket", address] if address.startswith("/") else []
    # Without this curl waits for "100 Continue", and sends nothing to a server that refuses.
    fields = ["-H", "Expect:"] + ["-H", "Transfer-Encoding: chunked"] * (framing == "chunked")
    for _ in range(TIMES):
        # With -T it reads the file as it sends it; with --data-binary it would hold 300 MB in memory.
        code, out, err = run(
            "curl", "-sS", "--noproxy", "*", *where, *fields, "-X", "POST", "-T", str(path), "-w", "%{http_code}", url
        )
        said, status = out[:-3], out[-3:]
        yield f"exit {code}: {err.strip()}" if code else f"{status} {said.strip()}"


def lines(*command):
    code, out, err = run(*command)
    assert code == 0, err
    return out.splitlines()


def node(address, url, path, framing):
    return lines("node", EARLY / "upload.js", address, url, path, str(TIMES), framing)


@pytest.fixture(scope="module")
def go(tmp_path_factory):
    if not shutil.which("go"):
        return None
    target = tmp_path_factory.mktemp("go") / "upload"
    environ = {**os.environ, "GO111MODULE": "off", "GOFLAGS": ""}  # one file, whatever is set outside
    subprocess.run(["go", "build", "-o", target, EARLY / "upload.go"], env=environ, check=True, timeout=600)

    def uploads(address, url, path, framing):
        return lines(target, address, url, path, str(TIMES), framing)

    return uploads


CLIENTS = [
    pytest.param(http_client, id="http.client"),
    pytest.param(by_requests, id="requests"),
    pytest.param(curl, id="curl", marks=needs("curl")),
    pytest.param("go", id="go", marks=needs("go")),
    pytest.param(node, id="node", marks=needs("node")),
]


@pytest.fixture(params=CLIENTS)
def client(request):
    return request.getfixturevalue("go") if request.param == "go" else request.param


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file of zeros that takes no room."""
    path = tmp_path_factory.mktemp("large") / "zeros"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


@pytest.fixture(scope="module", params=[("0", "tcp"), ("0", "unix"), ("2", "tcp")], ids=["alone", "socket", "workers"])
def servers(request, tmp_path_factory):
    """{what refuses: (the address of a server with that, its URL)}"""
    workers, kind = request.param
    with contextlib.ExitStack() as stack:
        found = {}
        for name, options in OPTIONS.items():
            path = str(tmp_path_factory.mktemp(name) / "socket")
            served = Served("-b", f"unix:{path}", "-w", workers, *options, "early_app:app")
            url = stack.enter_context(served)
            found[name] = (path if kind == "unix" else urlsplit(url).netloc, url)
        yield found


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_everybody_reads_the_answer_every_time(servers, client, large, case):
    refuses, target, framing = case
    address, url = servers[refuses]
    assert Counter(client(address, url + target, large, framing)) == {CASES[case]: TIMES}
