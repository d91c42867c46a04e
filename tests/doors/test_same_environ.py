"""Moved from gunicorn: the same environ for the same input, about peers, proxies and prefixes.

Real gunicorn with its gevent worker, greenhttp with gunicorn's file of settings, and gunicorn with our worker get the
same bytes. What differs stands in DIFFERENT, and in docs/moving-from-gunicorn.md.
"""

import contextlib
import json
import re
import socket
from pathlib import Path

import pytest

from tests.system.process import Process

pytest.importorskip("gunicorn")
GUIDE = (Path(__file__).parents[2] / "docs" / "moving-from-gunicorn.md").read_text()

APP = """
import json

def app(environ, start_response):
    told = {key: value for key, value in environ.items() if isinstance(value, str) and key != "SERVER_SOFTWARE"}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
"""
CONFIGURED = {
    "usual": "",
    "named": "forwarded_allow_ips = '10.0.0.1'\nroot_path = '/below'",  # the latter is for ASGI alone
    "everybody": "forwarded_allow_ips = '*'",
    "prefix": "raw_env = ['SCRIPT_NAME=/below']",
    "proxied": "proxy_protocol = 'v1'",
    "not proxied": "proxy_protocol = 'v1'\nproxy_allow_ips = '10.0.0.1'",
}
WORKER = ("usual", "prefix", "proxied")  # for our worker; the others are in test_translated.py
SERVERS = {
    "gunicorn": ("-m", "gunicorn", "-k", "gevent", "-c", "gunicorn.conf.py", "web:app"),
    "greenhttp": ("-m", "greenhttp", "-w", "0", "-c", "gunicorn.conf.py", "web:app"),
    "worker": ("-m", "gunicorn", "-k", "greenhttp.gunicorn.Worker", "-c", "gunicorn.conf.py", "web:app"),
}


class Served:
    """One of these servers, at a port and at a UNIX socket."""

    def __init__(self, directory: Path, name: str, settings: str) -> None:
        directory.mkdir()
        (directory / "web.py").write_text(APP)
        (directory / "gunicorn.conf.py").write_text(f"bind = ['127.0.0.1:0', 'unix:{directory}/s']\n{settings}\n")
        self.path = str(directory / "s")
        self.process = Process(directory, *SERVERS[name])
        self.ready = "Ctrl-C stops" if name == "greenhttp" else "Booting worker"

    def wait(self) -> None:
        self.port = int(re.search(r"http://127\.0\.0\.1:(\d+)", self.process.until(self.ready))[1])

    def ask(self, way: str, data: bytes) -> dict[str, str] | int | None:
        """The environ, or another status than 200; None: it has closed the connection without an answer.

        What differs from one connection to the next is replaced by a word.
        """
        with socket.socket(socket.AF_UNIX if way == "unix" else socket.AF_INET) as client:
            client.settimeout(30)
            client.connect(self.path if way == "unix" else ("127.0.0.1", self.port))
            own = "" if way == "unix" else str(client.getsockname()[1])
            answer = b""
            with contextlib.suppress(ConnectionError):
                client.sendall(data)
                answer = client.makefile("rb").read()
        if not answer:
            return None
        head, _, content = answer.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        if status != 200:
            return status
        content = b"".join(content.split(b"\r\n")[1::2]) if b"chunked" in head.lower() else content
        words = {own: "its port", str(self.port): "our port"} if own else {}
        return {key: words.get(value, value) for key, value in json.loads(content).items()}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """{(settings, server): Served}, all at once."""
    directory = tmp_path_factory.mktemp("served")
    running: dict[tuple[str, str], Served] = {}
    try:
        for number, (name, settings) in enumerate(CONFIGURED.items()):
            for server in SERVERS:
                if server != "worker" or name in WORKER:
                    running[name, server] = Served(directory / f"{server}{number}", server, settings)
        for each in running.values():
            each.wait()
        yield running
    finally:
        for each in running.values():
            each.process.terminate()
        for each in running.values():
            each.process.communicate(timeout=30)
            each.process.__exit__(None, None, None)


def get(*fields: str, target: str = "/below/a%20b?q=1", host: str = "shop.example", before: bytes = b"") -> bytes:
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close", *fields, "", ""]
    return before + "\r\n".join(lines).encode("latin-1")


V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n"
INPUTS: dict[str, bytes] = {
    "nothing": get(),
    "https": get("X-Forwarded-Proto: https"),
    "https in capitals": get("X-Forwarded-Proto: HTTPS"),
    "http": get("X-Forwarded-Proto: http"),
    "protocol": get("X-Forwarded-Protocol: ssl"),
    "ssl": get("X-Forwarded-Ssl: on"),
    "not ssl": get("X-Forwarded-Ssl: off"),
    "contradiction": get("X-Forwarded-Proto: https", "X-Forwarded-Ssl: off"),
    "wss": get("X-Forwarded-Proto: wss"),
    "two schemes": get("X-Forwarded-Proto: https, https"),
    "different schemes": get("X-Forwarded-Proto: https, http"),
    "a scheme for each": get("X-Forwarded-For: 203.0.113.9, 192.0.2.1", "X-Forwarded-Proto: http, https"),
    "client": get("X-Forwarded-For: 192.0.2.1"),
    "client and stranger": get("X-Forwarded-For: 203.0.113.9, 192.0.2.1", "X-Forwarded-Proto: https"),
    "rubbish": get("X-Forwarded-For: rubbish"),
    "of nginx over a UNIX socket": get("X-Forwarded-For: 192.0.2.1, unix:"),
    "host": get("X-Forwarded-Host: other.example", "X-Forwarded-Port: 8443"),
    "forwarded": get('Forwarded: for=192.0.2.1;proto=https;host="other.example"'),
    "prefix": get("X-Forwarded-Prefix: /other"),
    "script name": get("SCRIPT_NAME: /below"),
    "script-name": get("Script-Name: /below"),
    "path info": get("PATH_INFO: /other"),
    "real ip": get("X-Real-IP: 192.0.2.1"),
    "host with port": get(host="shop.example:8443"),
    "https to a host": get("X-Forwarded-Proto: https", host="shop.example"),
    "twice": get("X-A: 1", "X-A: 2"),
    "below": get(target="/below"),
    "below with a slash": get(target="/below/"),
    "belowX": get(target="/belowX/a"),
    "outside": get(target="/a"),
    "escaped prefix": get(target="/%62elow/a"),
    "v1": get(before=V1),
    "v1 and fields": get("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", before=V1),
    "v1 for IPv6": get(before=b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n"),
    "v1 unknown": get(before=b"PROXY UNKNOWN\r\n"),
    "v1 rubbish": get(before=b"PROXY TCP4 192.0.2.999 198.51.100.2 4711 443\r\n"),
}


# ---- what differs: rows of the guide

CLIENT = "| `X-Forwarded-For` from a trusted peer |"
NO_ADDRESS = "| an `X-Forwarded-For` that names no address |"
SCHEMES = "| `X-Forwarded-Proto: wss`, or a list of equal values |"
DIFFERENT = "| `X-Forwarded-Proto` with different values in a list |"
UNDERSCORES = "| `SCRIPT_NAME` and `PATH_INFO` as header fields"
SEGMENTS = "| the variable SCRIPT_NAME is `/below`, the path `/belowX` |"
OUTSIDE = "| the same, a path outside |"
ESCAPED = "| the same, an escaped letter in the prefix"
NOT_PROXIED = "| `proxy_protocol`, a connection without it |"
REFUSED = "| `proxy_protocol`, a malformed header, or a peer that is not in `proxy_allow_ips` |"
UNKNOWN = "| `PROXY UNKNOWN`"
PROXIED = "| `proxy_protocol`, and fields |"
UNIX = "| a UNIX socket |"
TWICE = "| a field twice |"
ROWS = {text for name, text in list(globals().items()) if name.isupper() and isinstance(text, str) and text[:1] == "|"}


class Wanted:
    """What must come of an input, made of what gunicorn makes of it.

    Attributes:
        answer: as Served.ask gives it.
        rows: those of the guide by which it is another one than gunicorn's.
    """

    def __init__(self, name, way, case, theirs):
        self.rows = set()
        self.answer = dict(theirs[case]) if isinstance(theirs[case], dict) else theirs[case]
        if name.endswith("proxied"):
            self.proxied(name, way, case, theirs)
        elif not case.startswith("v1"):
            self.fields(way, case, trusted=way == "unix" or name != "named")
            if name == "prefix":
                self.prefix(case, theirs)
        if way == "unix" and isinstance(self.answer, dict):
            usual = {"SERVER_NAME": "localhost", "SERVER_PORT": "80"}
            self.differs(UNIX, {**usual, "REMOTE_PORT": self.answer.get("REMOTE_PORT", "")})

    def differs(self, row, answer):
        """Another answer; or with these keys in it, without those that are None."""
        self.rows.add(row)
        if isinstance(answer, dict) and isinstance(self.answer, dict):
            self.answer.update(answer)
            answer = {key: value for key, value in self.answer.items() if value is not None}
        self.answer = answer

    def fields(self, way, case, trusted):
        if case == "twice":
            self.differs(TWICE, {"HTTP_X_A": "1, 2"})
        if not trusted:
            return
        if case in ("client", "client and stranger", "of nginx over a UNIX socket"):
            self.differs(CLIENT, {"REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "0"})
        if case == "a scheme for each":
            self.differs(CLIENT, {"REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "0"})
            self.differs(DIFFERENT, {"wsgi.url_scheme": "https"})
        if case == "different schemes":
            self.differs(DIFFERENT, 400)
        if case == "rubbish":
            self.differs(NO_ADDRESS, 400)
        if case in ("wss", "two schemes"):
            self.differs(SCHEMES, {"wsgi.url_scheme": "https"})
        if case == "script name":
            self.differs(UNDERSCORES, {"HTTP_SCRIPT_NAME": None, "SCRIPT_NAME": "", "PATH_INFO": "/below/a b"})
        if case == "path info":
            self.differs(UNDERSCORES, {"HTTP_PATH_INFO": None})

    def prefix(self, case, theirs):
        if case == "script name":
            self.differs(UNDERSCORES, {"SCRIPT_NAME": "/below", "PATH_INFO": "/a b"})
        if case == "belowX":
            self.differs(SEGMENTS, 404)
        if case == "outside":
            self.differs(OUTSIDE, 404)
        if case == "escaped prefix":
            self.answer = dict(theirs["below with a slash"])
            self.differs(ESCAPED, {"PATH_INFO": "/a", "RAW_URI": "/%62elow/a"})

    def proxied(self, name, way, case, theirs):
        if not case.startswith("v1"):
            self.differs(NOT_PROXIED, None)
        elif name == "not proxied" and way == "tcp" or case == "v1 rubbish":
            self.differs(REFUSED, None)
        elif case == "v1 unknown":
            self.answer = dict(theirs["nothing"])
            self.differs(UNKNOWN, {"PROXY_PROTOCOL": "UNKNOWN"})
        elif case == "v1 and fields":
            self.differs(PROXIED, {"wsgi.url_scheme": "http"})


@pytest.mark.parametrize("way", ["tcp", "unix"])
@pytest.mark.parametrize("name", CONFIGURED)
def test_the_environ_is_gunicorns_but_for_what_the_guide_says(served, name, way):
    theirs = {case: served[name, "gunicorn"].ask(way, data) for case, data in INPUTS.items()}
    for case, data in INPUTS.items():
        wanted = Wanted(name, way, case, theirs)
        for server in ("greenhttp", "worker") if name in WORKER else ("greenhttp",):
            assert (case, server, served[name, server].ask(way, data)) == (case, server, wanted.answer)
        assert bool(wanted.rows) == (wanted.answer != theirs[case])


def test_each_difference_is_a_row_of_the_guide():
    table = GUIDE[GUIDE.index("| input | gunicorn | greenhttp |") :].partition("\n\n")[0].splitlines()[2:]
    for row in ROWS:
        assert [line.startswith(row) for line in table].count(True) == 1, row
    assert len(table) == len(ROWS)
