"""greenhttp/pywsgi.py: gevent's WSGIServer by its own name. What gevent's tests say of it: test_pywsgi_gevent.py."""

from __future__ import annotations

import io
import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import gevent
import gevent.socket
import gevent.ssl
import pytest
from gevent import pywsgi as gevents
from gevent.event import Event
from gevent.pool import Pool

from greenhttp import __version__
from greenhttp.errors import ConfigError
from greenhttp.pywsgi import WSGIServer
from tests.http.apps import hello, post, request
from tests.http.client import Client
from tests.http.conftest import defects, not_for_ever  # noqa: F401
from tests.http.test_limits import Gate, get
from tests.log_lines import without_peer
from tests.system.process import Process
from tests.tls import certificates

LOOPBACK = ("127.0.0.1", 0)


class Running:
    """A started WSGIServer and its clients."""

    def __init__(self, server: WSGIServer) -> None:
        self.server = server
        self.clients: list[Client] = []

    def connect(self) -> Client:
        client = Client(("127.0.0.1", self.server.server_port))
        self.clients.append(client)
        return client

    def ask(self, data: bytes = get("/")) -> Any:
        return self.connect().ask(data)

    def until(self, condition: Callable[[], Any]) -> None:
        while not condition():
            gevent.sleep(0.001)

    def running(self) -> int:
        return self.server._serving.statistics()["running"]


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    """run(app, listener=..., **arguments) -> Running"""
    started: list[Running] = []

    def start(app: Any = hello, listener: Any = LOOPBACK, kind: Any = WSGIServer, **arguments: Any) -> Running:
        arguments.setdefault("log", None)
        server = kind(listener, app, **arguments)
        server.start()
        started.append(Running(server))
        return started[-1]

    yield start
    for running in started:
        for client in running.clients:
            client.close()
        running.server.stop(0)
    gevent.idle()


# ---- where it listens


def test_a_host_and_a_port(run):
    running = run()
    server = running.server
    assert (server.server_host, server.address) == ("127.0.0.1", ("127.0.0.1", server.server_port))
    assert server.server_port > 0
    assert running.ask(get("/a")).content == b"/a"


def test_a_text_with_host_and_port(run):
    assert run(listener="127.0.0.1:0").ask(get("/a")).content == b"/a"


def test_a_text_with_a_port_means_every_address(run):
    running = run(listener=":0")
    assert running.server.server_host == "0.0.0.0"
    assert running.ask(get("/a")).content == b"/a"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_a_port_alone_means_both_families_as_with_gevent(run):
    try:
        running = run(lambda e, s: [s("200 OK", []) and e["REMOTE_ADDR"].encode()], listener=0)
    except OSError as error:
        pytest.skip(f"no IPv6: {error}")
    assert running.ask().content == b"127.0.0.1"  # gevent's: ::ffff:127.0.0.1, which no list of addresses knows


@pytest.mark.parametrize("make", [socket.socket, gevent.socket.socket])
def test_a_socket_that_listens_already(run, make):
    sock = make()
    sock.bind(LOOPBACK)
    sock.listen(5)
    running = run(listener=sock)
    assert running.server.server_port == sock.getsockname()[1]
    assert running.ask(get("/a")).content == b"/a"
    running.server.stop()
    sock.close()


def test_a_unix_socket(run, tmp_path):
    path = tmp_path / "web.sock"
    running = run(lambda e, s: [s("200 OK", []) and repr(e["REMOTE_ADDR"]).encode()], listener=f"unix:{path}")
    assert (running.server.address, running.server.server_port) == (str(path), None)
    with gevent.socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(get("/", b"Connection: close"))
        assert b"".join(iter(lambda: sock.recv(4096), b"")).endswith(b"\r\n\r\n''")
    running.server.stop()
    assert not path.exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gevent does not close what it made
def test_a_busy_port_is_an_oserror_that_names_it(run):
    port = run().server.server_port
    with pytest.raises(OSError, match=str(port)):
        run(listener=("127.0.0.1", port))


def test_a_backlog_is_not_for_sockets(run):
    run(backlog=7)
    with socket.create_server(LOOPBACK) as sock, pytest.raises(TypeError, match="backlog"):
        WSGIServer(sock, hello, backlog=7)


def test_newcomers_of_one_turn_are_bounded(run):
    running = run(environ={"wsgi.multiprocess": True})
    assert [door.batch for door in running.server._serving._doors] == [1]  # so that other processes get some
    assert [door.batch for door in run().server._serving._doors] == [WSGIServer.max_accept]


# ---- life


def test_start_and_stop_and_start_again(run):
    server = WSGIServer(LOOPBACK, hello, log=None)
    assert (server.started, server.closed) == (False, True)
    for _ in range(2):
        server.start()
        assert (server.started, server.closed) == (True, False)
        client = Client(server.address)
        assert client.ask(get("/a")).content == b"/a"
        server.stop()
        assert (server.started, server.closed) == (False, True)
        assert client.ended()
        client.close()
        with pytest.raises(ConnectionRefusedError):
            Client(server.address)


def test_serve_forever_ends_with_stop(run):
    server = WSGIServer(LOOPBACK, hello, log=None)
    thread = gevent.spawn(server.serve_forever, stop_timeout=3)
    while not server.started:
        gevent.sleep(0.001)
    client = Client(server.address)
    assert client.ask(get("/a")).content == b"/a"
    server.stop()
    thread.get()
    client.close()


def test_it_is_a_context_manager():
    with WSGIServer(LOOPBACK, hello, log=None) as server:
        server.start()
        assert server.started
    assert not server.started


def test_without_a_pool_stop_neither_waits_nor_cuts(run):
    gate = Gate()
    running = run(gate)
    client, idle = running.connect().send(get("/wait")), running.connect()
    running.until(running.running)
    running.server.stop(0)
    assert running.server.closed
    assert idle.ended()
    gate.opened.set()
    answer = client.answer()
    assert (answer.content, answer.closes) == (b"GET /wait ", True)


def test_with_a_pool_stop_waits_for_what_runs(run):
    gate = Gate()
    running = run(gate, spawn=3)
    client = running.connect().send(get("/wait"))
    running.until(running.running)
    stop = gevent.spawn(running.server.stop, 30)
    gevent.idle()
    assert running.server.closed
    assert not stop.ready()
    gate.opened.set()
    assert client.answer().content == b"GET /wait "
    stop.get()


def test_with_a_pool_stop_cuts_what_still_runs(run):
    running = run(Gate(), spawn=3)
    client = running.connect().send(get("/wait"))
    running.until(running.running)
    running.server.stop(0)
    assert client.answer().status == 503 and client.ended()


def test_close_lets_requests_go_on(run):
    gate = Gate()
    running = run(gate, spawn=3)
    client = running.connect().send(get("/wait"))
    running.until(running.running)
    running.server.close()
    running.server.close()
    assert running.server.closed
    gate.opened.set()
    assert client.answer().content == b"GET /wait "


def test_a_handler_may_stop_the_server(run):
    def app(environ, start_response):
        running.server.stop()
        start_response("200 OK", [])
        return [b"stopped"]

    running = run(app)
    assert running.ask().content == b"stopped"
    assert running.server.closed


def test_accepting_can_be_suspended(run):
    running = run()
    assert running.ask(get("/a")).content == b"/a"
    running.server.stop_accepting()
    client = running.connect().send(get("/b"))
    gevent.idle()
    assert running.server._serving.statistics()["connections"] == 1
    running.server.start_accepting()
    assert client.answer().content == b"/b"


def test_the_application_may_be_set_later(run):
    running = run(None)
    running.server.application = hello
    assert running.ask(get("/a")).content == b"/a"


# ---- how many run


@pytest.mark.parametrize("spawn", [2, Pool(2)])
def test_a_number_or_a_pool_bounds_what_runs(run, spawn):
    gate = Gate()
    running = run(gate, spawn=spawn)
    assert not running.server.full()
    clients = [running.connect().send(get(f"/wait{n}")) for n in range(4)]
    running.until(lambda: running.server._serving.statistics()["queued"] == 2)
    assert running.running() == 2
    assert running.server.full()
    assert running.server.pool.size == 2
    gate.opened.set()
    assert [client.answer().content for client in clients] == [b"GET /wait%d " % n for n in range(4)]


@pytest.mark.parametrize("spawn", ["default", None, gevent.spawn, gevent.spawn_raw, Pool()])
def test_otherwise_nothing_does(run, spawn):
    gate = Gate()
    running = run(gate, spawn=spawn)
    clients = [running.connect().send(get(f"/wait{n}")) for n in range(20)]
    running.until(lambda: running.running() == 20)
    assert not running.server.full()
    gate.opened.set()
    assert [client.answer().status for client in clients] == [200] * 20


# ---- environ


class Seen:
    environ: Any = None

    def __call__(self, environ, start_response):
        self.environ = environ
        start_response("200 OK", [("Content-Type", "text/plain")])
        return []


def test_the_environ_is_pywsgis(run):
    seen = Seen()
    running = run(seen, environ={"mine": 1, "wsgi.url_scheme": "https", "SERVER_NAME": "shop.example"})
    running.ask(post(b"abc", b"X-A: 1", path=b"/p%20q?r=s"))
    port = str(running.server.server_port)
    expected = {
        "mine": 1, "wsgi.url_scheme": "https", "SERVER_NAME": "shop.example", "SERVER_PORT": port,
        "SERVER_SOFTWARE": f"greenhttp/{__version__}", "GATEWAY_INTERFACE": "CGI/1.1", "SCRIPT_NAME": "",
        "wsgi.multithread": False, "wsgi.multiprocess": False, "wsgi.run_once": False, "wsgi.version": (1, 0),
        "wsgi.errors": running.server.error_log, "wsgi.input_terminated": True, "REQUEST_METHOD": "POST",
        "PATH_INFO": "/p q", "QUERY_STRING": "r=s", "CONTENT_LENGTH": "3", "HTTP_X_A": "1", "HTTP_HOST": "example.com",
        "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
    }  # fmt: skip
    assert {key: seen.environ.get(key) for key in expected} == expected
    theirs = {*gevents.WSGIServer.base_env, "wsgi.url_scheme", "wsgi.errors", "SERVER_NAME", "SERVER_PORT"}
    assert theirs <= seen.environ.keys()
    assert type(seen.environ) is dict


PROXYS = [
    b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: on", b"X-Forwarded-For: 192.0.2.1",
    b"X-Forwarded-Host: other.example", b"X-Forwarded-Port: 1",
    b"Forwarded: for=192.0.2.1;proto=https;host=other.example", b"X-Forwarded-Prefix: /below",
    b"SCRIPT_NAME: /below", b"Script-Name: /below",
]  # fmt: skip


def test_fields_of_proxies_change_nothing_as_with_gevent(run):
    seen, theirs = Seen(), Seen()
    run(seen).ask(get("/x", *PROXYS))
    server = gevents.WSGIServer(("127.0.0.1", 0), theirs, log=None)
    server.start()
    try:
        with gevent.socket.create_connection(("127.0.0.1", server.server_port), 30) as peer:
            peer.sendall(get("/x", *PROXYS, b"Connection: close"))
            assert peer.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
    finally:
        server.stop()
    names = ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SCRIPT_NAME", "PATH_INFO")
    told = {name for name in theirs.environ if name.startswith(("HTTP_X_", "HTTP_FORWARDED", "HTTP_SCRIPT"))}
    assert len(told) == len(PROXYS) - 1  # that with _ in its name is dropped there too
    for name in (*names, *told):
        assert seen.environ[name] == theirs.environ[name], name


def test_they_do_where_that_is_asked_for(run):
    seen = Seen()
    run(seen, settings={"forwarded_field": "x-forwarded"}).ask(get("/", b"X-Forwarded-Proto: https"))
    assert seen.environ["wsgi.url_scheme"] == "https"
    settings = {"forwarded_field": "x-forwarded", "forwarded_allow_ips": ""}
    run(seen, settings=settings).ask(get("/", b"X-Forwarded-Proto: https"))
    assert seen.environ["wsgi.url_scheme"] == "http"


def test_a_host_that_a_proxy_says_is_the_server_s_name(run):
    seen = Seen()
    names = ("HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme", "REMOTE_ADDR")
    running = run(seen, settings={"forwarded_field": "x-forwarded", "forwarded_host": True})
    running.ask(get("/", b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: shop.example"))
    assert [seen.environ[name] for name in names] == ["shop.example", "shop.example", "443", "https", "192.0.2.1"]
    running.ask(get("/", b"X-Forwarded-Host: shop.example:81"))
    assert [seen.environ[name] for name in names] == ["shop.example:81", "shop.example", "81", "http", "127.0.0.1"]
    running.ask(get("/"))
    told = running.server.environ
    assert [seen.environ[name] for name in names[1:3]] == [told["SERVER_NAME"], told["SERVER_PORT"]]
    running = run(seen, settings={"forwarded_field": "forwarded"}, environ={"SERVER_NAME": "edge"})
    running.ask(get("/", b"Forwarded: host=shop.example;proto=https"))
    assert [seen.environ[name] for name in names[:4]] == ["shop.example", "shop.example", "443", "https"]
    running.ask(get("/", b"Forwarded: proto=https"))
    assert [seen.environ[name] for name in names[1:3]] == ["edge", str(running.server.server_port)]


def test_a_host_that_a_proxy_says_over_a_unix_socket(run, tmp_path):
    seen = Seen()
    settings = {"forwarded_field": "x-forwarded", "forwarded_host": True}
    running = run(seen, listener=f"unix:{tmp_path}/s", settings=settings)
    for fields, told in (([b"X-Forwarded-Host: shop.example"], ("shop.example", "80")), ([], ("", ""))):
        with gevent.socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(30)
            peer.connect(f"{tmp_path}/s")
            peer.sendall(get("/", *fields))
            assert peer.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert (seen.environ["SERVER_NAME"], seen.environ["SERVER_PORT"]) == told
    assert running.server.environ["SERVER_NAME"] == ""


def test_the_environ_can_be_made_by_a_subclass(run):
    class Counting(WSGIServer):
        environ_class = gevents.SecureEnviron
        calls = 0

        def get_environ(self):
            self.calls += 1
            return {**super().get_environ(), "call": self.calls}

    seen = Seen()
    running = run(seen, kind=Counting)
    assert (running.ask().status, seen.environ["call"]) == (200, 1)
    assert (running.ask().status, seen.environ["call"]) == (200, 2)
    assert isinstance(running.server.environ, gevents.SecureEnviron)


def test_set_environ_replaces_it(run):
    seen = Seen()
    running = run(seen)
    running.server.set_environ({"SERVER_NAME": "a", "SERVER_PORT": "1", "mine": 2})
    running.ask()
    assert (seen.environ["mine"], seen.environ["SERVER_NAME"], seen.environ["wsgi.url_scheme"]) == (2, "a", "http")


def test_a_file_wrapper_of_ones_own_is_left_alone(run):
    seen = Seen()
    run(seen, environ={"wsgi.file_wrapper": None}).ask()
    assert seen.environ["wsgi.file_wrapper"] is None


# ---- logs


def failing(environ: Any, start_response: Any) -> Any:
    raise LookupError("no such shelf")


LINE = r'127\.0\.0\.1 - - \[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\] "GET /a\?b HTTP/1\.1" 200 2 0\.\d{6}\n'


def test_a_request_is_a_line_as_pywsgi_writes_it(run):
    log = io.StringIO()
    before = datetime.now().replace(microsecond=0)
    assert run(log=log).ask(get("/a?b")).status == 200
    match = re.fullmatch(LINE, log.getvalue())
    assert match, log.getvalue()
    assert before <= datetime.fromisoformat(match[1]) <= datetime.now()


def test_the_line_is_gevents_own(run):
    """The same request to both: only figures may differ."""
    lines = []
    for kind in (gevents.WSGIServer, WSGIServer):
        log = io.StringIO()
        run(kind=kind, log=log).ask(get("/a?b"))
        lines.append(re.sub(r"\d+", "N", log.getvalue()))
    assert lines[0] == lines[1]


def test_a_refused_request_has_a_line_too(run):
    log = io.StringIO()
    assert run(log=log).ask(b"GET / HTTP/1.1\r\n\r\n").status == 400
    assert re.search(r'"GET / HTTP/1\.1" 400 \d+ -\n', log.getvalue()), log.getvalue()


def test_a_logger_gets_lines_and_errors_at_their_levels(run, caplog):
    logger = logging.getLogger("tests.pywsgi")
    with caplog.at_level(logging.INFO, "tests.pywsgi"):
        assert run(failing, log=logger, error_log=logger).ask().status == 500
    assert sorted(record.levelname for record in caplog.records) == ["ERROR", "INFO"]
    error = next(record.message for record in caplog.records if record.levelname == "ERROR")
    assert "LookupError: no such shelf" in error


def test_by_default_both_go_to_stderr(run, capsys):
    server = WSGIServer(LOOPBACK, failing)
    server.start()
    client = Client(server.address)
    assert client.ask(get("/a?b")).status == 500
    client.close()
    server.stop()
    gevent.idle()
    err = capsys.readouterr().err
    assert '"GET /a?b HTTP/1.1" 500 ' in err
    assert "GET /a: LookupError in the application\nTraceback (most" in err


def test_none_is_silence(run, capsys):
    running = run(failing, log=None, error_log=None)
    assert running.ask().status == 500
    running.server.stop()
    gevent.idle()
    assert capsys.readouterr() == ("", "")


def test_wsgi_errors_is_the_error_log(run):
    def app(environ, start_response):
        environ["wsgi.errors"].write("odd\n")
        start_response("200 OK", [])
        return []

    errors = io.StringIO()
    run(app, error_log=errors).ask()
    assert errors.getvalue() == "odd\n"


def test_a_log_that_fails_is_an_error_and_harms_no_request(run):
    class Full:
        def write(self, line):
            raise OSError("disk full")

    errors = io.StringIO()
    running = run(log=Full(), error_log=errors)
    assert [running.ask(get("/a")).content for _ in range(2)] == [b"/a"] * 2
    running.until(lambda: errors.getvalue().count("log: lines are lost, OSError: disk full\n") == 2)


def test_a_log_that_waits_holds_no_request_up(run):
    opened = Event()
    lines = []

    class Slow:
        def write(self, line):
            opened.wait()
            lines.append(line)

    running = run(log=Slow())
    assert [running.ask(get(f"/{n}")).content for n in range(3)] == [b"/0", b"/1", b"/2"]
    assert lines == []
    opened.set()
    running.until(lambda: len(lines) == 3)
    assert [re.search(r"/\d", line)[0] for line in lines] == ["/0", "/1", "/2"]


def test_lines_say_local_time(monkeypatch):
    from greenhttp.doors import pywsgi

    monkeypatch.setenv("TZ", "XYZ-05:30")
    time.tzset()
    try:
        pywsgi._local.cache_clear()
        assert pywsgi.line_of('::1 - - "2026-01-31T23:59:58.123Z" "x" 200') == '::1 - - [2026-02-01 05:29:58] "x" 200'
    finally:
        monkeypatch.undo()
        time.tzset()
        pywsgi._local.cache_clear()


# ---- what is not there


class Handler(gevents.WSGIHandler):
    pass


class Handling(WSGIServer):
    def handle(self, sock, address):
        raise NotImplementedError


REFUSED = [
    (dict(keyfile="k", certfile="missing"), "certfile: missing: "),
    (dict(keyfile="k"), "keyfile: TLS needs a certificate; give certfile, or ssl_context"),
    (dict(certfile=None, keyfile=None), "certfile, keyfile: TLS needs a certificate; give certfile, or ssl_context"),
    (dict(ssl_context=object()), "ssl_context: object; an ssl.SSLContext is needed"),
    (dict(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)), "ssl_context: a context for clients; make it with ssl"),
    (dict(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certfile="c"), "certfile: the ssl_context has it all"),
    (dict(certfile="c", server_side=False), "server_side: a server speaks TLS as a server"),
    (dict(certfil="c"), "certfil: a WSGIServer has no such argument; did you mean certfile?"),
    (dict(backlogg=5), "backlogg: a WSGIServer has no such argument; did you mean backlog?"),
    (dict(handler_class=Handler), r"handler_class: tests\.doors\.test_pywsgi\.Handler would never be called"),
    (dict(handle=hello), "handle: a WSGIServer has no such argument; give the application as application="),
    (dict(spawn=print), "spawn: <built-in function print> would never be called; give 'default', a number"),
    (dict(spawn=0), "spawn: a pool of 0 would never run a request; give 1 or more"),
    (dict(settings={"concurrency": 3}), "settings: concurrency is set by the argument 'spawn'; give it there"),
    (dict(settings={"keepalive": 3}), "keepalive: there is no such setting; did you mean keepalive_timeout"),
    (dict(settings={"body_timeout": "soon"}), "body_timeout: 'soon' is not a duration"),
]


# ---- TLS


def tls_answer(running: Running, name: str = "localhost") -> Any:
    context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificates.authority().authorities().decode())
    client = running.connect()
    client.sock = context.wrap_socket(client.sock, server_hostname=name)
    return client.ask(get("/"))


def who(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    said = [environ["wsgi.url_scheme"], environ.get("HTTPS"), environ.get("SSL_PROTOCOL")]
    return [" ".join(map(str, said)).encode()]


@pytest.fixture
def pair(tmp_path: Any) -> dict[str, str]:
    return dict(zip(("certfile", "keyfile"), certificates.leaf("localhost").write(tmp_path), strict=True))


@pytest.mark.parametrize("given", ["files", "ssl", "gevent.ssl"])
def test_tls(run, pair, given):
    if given == "files":
        running = run(who, **pair, do_handshake_on_connect=False)
    else:
        context = {"ssl": ssl, "gevent.ssl": gevent.ssl}[given].SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(**pair)
        running = run(who, ssl_context=context)
    assert running.server.ssl_enabled
    assert tls_answer(running).content == b"https on TLSv1.3"
    plain = running.ask()
    assert plain.status == 400 and b"use https://" in plain.content


def test_without_tls_nothing_of_it_is_said(run):
    running = run(who)
    assert not running.server.ssl_enabled and running.ask().content == b"http None None"


def test_tls_when_accepting_goes_on(run, pair):
    running = run(who, **pair)
    running.server.stop_accepting()
    running.server.start_accepting()
    assert tls_answer(running).content == b"https on TLSv1.3"


def test_certificates_by_settings_are_chosen_by_name(run, tmp_path):
    """gevent's arguments have room for one."""
    pairs = [certificates.leaf(name).write(tmp_path, name) for name in ("localhost", "shop.example")]
    running = run(who, settings={"certfile": [pair[0] for pair in pairs], "keyfile": [pair[1] for pair in pairs]})
    for name in ("localhost", "shop.example"):
        assert tls_answer(running, name).content == b"https on TLSv1.3"


@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_what_cannot_be_is_refused_in_one_line(arguments, said):
    with pytest.raises(ConfigError, match=said) as raised:
        WSGIServer(LOOPBACK, hello, **arguments)
    assert "\n" not in str(raised.value)


def test_a_subclass_that_handles_connections_is_refused():
    with pytest.raises(ConfigError, match=r"Handling\.handle would never be called: greenhttp serves the connections"):
        Handling(LOOPBACK, hello)


def test_gevents_own_handler_class_is_fine(run):
    assert run(handler_class=gevents.WSGIHandler).ask().status == 200


def test_settings_of_tls_that_the_arguments_would_overrule_are_refused(pair):
    """Else whoever asks for certificates there would get clients without."""
    with pytest.raises(ConfigError, match="settings: cert_reqs: no effect on the context that the arguments make"):
        WSGIServer(LOOPBACK, hello, **pair, settings={"cert_reqs": "required"})


def test_other_settings_are_those_of_a_server(run):
    running = run(settings={"limit_request_body": 3, "server_header": "shop"})
    assert dict(running.ask(request()).fields)["Server"] == "shop"
    assert running.ask(post(b"1234")).status == 413
    assert "Server" not in dict(run().ask(request()).fields)  # as with gevent's


def test_a_websocket_is_refused_and_said(run):
    errors = io.StringIO()
    seen = Seen()
    running = run(seen, error_log=errors)
    answer = running.ask(request(b"GET /chat?t=s HTTP/1.1", b"Connection: Upgrade", b"Upgrade: WebSocket"))
    assert (answer.status, seen.environ) == (501, None)
    assert answer.content == b"There is no WebSocket here yet; use long polling.\n"
    running.until(errors.getvalue)
    assert without_peer(errors.getvalue()) == "GET /chat: refused with 501: WebSocket is not supported yet\n"


@pytest.mark.parametrize(("said", "named"), [
    (b"203.0.113.7", "203.0.113.7"), (b"[2001:db8::1]:81", "[2001:db8::1]:81"), (b"2001:db8::1", "[2001:db8::1]"),
    (b"unknown", "an unknown client"), (b"_edge", "client _edge"),
])  # fmt: skip
def test_who_wants_a_websocket_is_named_as_in_other_lines(run, said, named):
    errors = io.StringIO()
    settings = {"forwarded_field": "x-forwarded", "request_id_header": "X-Id"}
    running = run(error_log=errors, settings=settings)
    fields = (b"Connection: Upgrade", b"Upgrade: websocket", b"X-Forwarded-For: " + said, b"X-Id: 7f3a")
    assert running.ask(request(b"GET /chat HTTP/1.1", *fields)).status == 501
    running.until(errors.getvalue)
    assert errors.getvalue() == f"{named} [7f3a]: GET /chat: refused with 501: WebSocket is not supported yet\n"


# ---- install

INSTALL = """
import sys
if "early" in sys.argv:
    import gevent.pywsgi
    from gevent.pywsgi import WSGIServer as taken
    class Derived(gevent.pywsgi.WSGIServer):
        pass
else:
    assert "gevent.pywsgi" not in sys.modules
import greenhttp.pywsgi
assert greenhttp.pywsgi.WSGIServer is not getattr(sys.modules.get("gevent.pywsgi"), "WSGIServer")
greenhttp.pywsgi.install()
greenhttp.pywsgi.install()
from gevent.pywsgi import WSGIServer, WSGIHandler
assert WSGIServer is greenhttp.pywsgi.WSGIServer
assert greenhttp.doors.pywsgi.GEVENTS.__module__ == "gevent.pywsgi"
assert WSGIHandler.__module__ == "gevent.pywsgi"
if "early" in sys.argv:
    assert taken is WSGIServer
    assert not issubclass(Derived, WSGIServer)
server = WSGIServer(("127.0.0.1", 0), lambda e, s: [s("200 OK", [])])
server.start()
server.stop()
"""


@pytest.mark.parametrize("when", ["early", "late"])
def test_install_takes_its_place_wherever_it_has_been_taken_from(tmp_path, when):
    with Process(tmp_path, "-W", "error", "-c", INSTALL, when) as process:
        code, out, err = process.rest()
    said = (
        "__main__.Derived is derived from gevent's WSGIServer and not replaced;"
        " call greenhttp.pywsgi.install() earlier\n"
    )
    assert (code, out, err) == (0, "", said * 2 if when == "early" else "")
