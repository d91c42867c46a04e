"""gunicorn itself, with greenhttp's workers."""

import http.client
import os
import re
import signal
import socket
import threading

import pytest

from tests.system.process import Process

pytest.importorskip("gunicorn")

APP = '''
import os, time
from gevent import monkey

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/slow":
        time.sleep(0.2)
    if path == "/held":
        open("held", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.01)
    if path == "/do":
        exec(environ["HTTP_X_CODE"], {**globals(), "environ": environ})
    if path == "/fail":
        raise LookupError(environ["QUERY_STRING"])
    if path == "/stuck":
        monkey.get_original("time", "sleep")(60)
    said = {"/pid": os.getpid(), "/patched": monkey.is_module_patched("socket"), "/scheme": environ["wsgi.url_scheme"],
            "/server": environ["SERVER_SOFTWARE"].partition("/")[0], "/field": environ.get("HTTP_X_HOOK")}
    start_response("200 OK", [("X-Pid", str(os.getpid()))])
    return [str(said.get(path, path)).encode()]
'''


class Gunicorn(Process):
    def __init__(self, directory, *arguments, config="", bind="127.0.0.1:0", **environ):
        (directory / "app.py").write_text(APP)
        (directory / "conf.py").write_text(config)
        line = ["-m", "gunicorn", "-k", "greenhttp.gunicorn.Worker", "-c", "conf.py", "-b", bind, *arguments, "app:app"]
        super().__init__(directory, *line, **environ)
        self.lines = []
        self.came = threading.Condition()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.stderr:
            with self.came:
                self.lines.append(line)
                self.came.notify_all()

    def said(self, pattern, times=1):
        """The last of so many lines with the pattern, waited for."""
        def found():
            return [line for line in self.lines if re.search(pattern, line)]
        with self.came:
            assert self.came.wait_for(lambda: len(found()) >= times, 30), "".join(self.lines)
            return found()[times - 1]

    @property
    def port(self):
        return int(re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", self.said("Listening at"))[1])

    def ask(self, path, **fields):
        peer = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            peer.request("GET", path, headers=fields)
            return peer.getresponse().read().decode()
        finally:
            peer.close()

    def ended(self):
        code = self.wait(timeout=30)
        self.reader.join()
        return code

    def __exit__(self, *exc):
        if self.poll() is None:
            self.send_signal(signal.SIGQUIT)  # so that its workers end too
            try:
                self.wait(timeout=10)
            except Exception:
                self.kill()
        self.reader.join()
        self.stdout.close()
        super().__exit__(*exc)


def test_it_serves_patched_with_our_server_and_term_ends_it(tmp_path):
    with Gunicorn(tmp_path) as gunicorn:
        assert [gunicorn.ask(path) for path in ("/patched", "/server", "/scheme")] == ["True", "greenhttp", "http"]
        assert gunicorn.ask("/scheme", **{"X-Forwarded-Proto": "https"}) == "https"
        gunicorn.send_signal(signal.SIGTERM)
        assert gunicorn.ended() == 0
        assert not re.search("Traceback|ERROR|CRITICAL|too early", "".join(gunicorn.lines)), gunicorn.lines


def test_forwarded_allow_ips_is_that_of_gunicorn(tmp_path):
    with Gunicorn(tmp_path, "--forwarded-allow-ips", "10.0.0.1") as gunicorn:
        assert gunicorn.ask("/scheme", **{"X-Forwarded-Proto": "https"}) == "http"


def test_a_list_that_lets_everybody_in_is_named_once(tmp_path):
    more = ("--proxy-protocol", "v1", "--proxy-allow-from", "*", "-w", "2")
    with Gunicorn(tmp_path, *more, FORWARDED_ALLOW_IPS="*") as gunicorn:
        gunicorn.said("Booting worker", 2)
        gunicorn.said(r"forwarded_allow_ips: \* lets any client forge its address and scheme; name the proxies instead")
        gunicorn.said(r"proxy_allow_ips: \* lets any client forge its address by a PROXY header; name the proxies inst")
        gunicorn.send_signal(signal.SIGTERM)
        assert gunicorn.ended() == 0
        assert len([line for line in gunicorn.lines if "forge" in line]) == 2


def test_a_unix_socket(tmp_path):
    with Gunicorn(tmp_path, bind=f"unix:{tmp_path}/s") as gunicorn:
        gunicorn.said("Booting worker")
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(30)
            peer.connect(f"{tmp_path}/s")
            peer.sendall(b"GET /x HTTP/1.0\r\n\r\n")
            assert peer.recv(65536).endswith(b"\r\n\r\n/x")
        gunicorn.send_signal(signal.SIGTERM)
        assert gunicorn.ended() == 0
    assert not os.path.exists(f"{tmp_path}/s")


def test_hooks_of_the_worker_and_of_requests_run(tmp_path):
    config = """
def note(*words):
    with open("notes", "a") as file:
        print(*words, file=file)
def post_fork(server, worker): note("post_fork", worker.age)
def post_worker_init(worker): note("post_worker_init", worker.cfg.workers)
def worker_exit(server, worker): note("worker_exit")
def pre_request(worker, req):
    note("pre_request", req.method, req.path, req.uri, req.query)
    req.headers.append(("X-HOOK", "yes"))
def post_request(worker, req, environ, resp):
    note("post_request", resp.status, resp.sent, dict(resp.headers)["X-Pid"] == str(worker.pid), environ["PATH_INFO"])
"""
    with Gunicorn(tmp_path, config=config) as gunicorn:
        assert gunicorn.ask("/field?a=1") == "yes"
        gunicorn.send_signal(signal.SIGTERM)
        assert gunicorn.ended() == 0
    assert (tmp_path / "notes").read_text().splitlines() == [
        "post_fork 1", "post_worker_init 1", "pre_request GET /field /field?a=1 a=1",
        "post_request 200 OK 3 True /field", "worker_exit",
    ]  # fmt: skip


def test_the_access_log_has_gunicorns_format(tmp_path):
    form = "%(m)s %(U)s %(s)s %({x-pid}o)s %({wsgi.url_scheme}e)s"
    with Gunicorn(tmp_path, "--access-logfile", "access", "--access-logformat", form) as gunicorn:
        pid = gunicorn.ask("/pid")
        gunicorn.send_signal(signal.SIGTERM)
        assert gunicorn.ended() == 0
    assert (tmp_path / "access").read_text() == f"GET /pid 200 {pid} http\n"


def test_a_reload_loses_no_request(tmp_path):
    config = "def post_worker_init(worker): worker.log.info('loaded')"  # what gunicorn sends before may be lost
    with Gunicorn(tmp_path, "-w", "2", config=config) as gunicorn:
        first = gunicorn.ask("/pid")
        wrong, pids, over = [], set(), threading.Event()

        def client():
            while not over.is_set():
                try:
                    pids.add(gunicorn.ask("/pid"))
                    gunicorn.ask("/slow")
                except Exception as error:
                    wrong.append(repr(error))

        clients = [threading.Thread(target=client) for _ in range(4)]
        for one in clients:
            one.start()
        try:
            for times in (1, 2):
                gunicorn.send_signal(signal.SIGHUP)
                gunicorn.said("loaded", 2 + 2 * times)
                gunicorn.said("Worker exiting", 2 * times)
        finally:
            over.set()
            for one in clients:
                one.join()
        assert wrong == []
        assert gunicorn.ask("/pid") != first and len(pids) >= 2


def test_term_lets_a_running_request_finish(tmp_path):
    with Gunicorn(tmp_path) as gunicorn:
        with socket.create_connection(("127.0.0.1", gunicorn.port), 30) as peer:
            peer.sendall(b"GET /held HTTP/1.0\r\n\r\n")
            while not (tmp_path / "held").exists():
                assert gunicorn.poll() is None
            gunicorn.send_signal(signal.SIGTERM)
            gunicorn.said("Handling signal: term")
            (tmp_path / "go").touch()
            assert peer.recv(65536).endswith(b"\r\n\r\n/held")
        assert gunicorn.ended() == 0


def test_a_request_that_does_not_finish_is_cut_and_said_as_by_the_command(tmp_path):
    with Gunicorn(tmp_path, "--graceful-timeout", "1") as gunicorn:
        pid = int(gunicorn.ask("/pid"))
        with socket.create_connection(("127.0.0.1", gunicorn.port), 30) as peer:
            peer.sendall(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
            while not (tmp_path / "held").exists():
                assert gunicorn.poll() is None
            os.kill(pid, signal.SIGTERM)  # not the master, which would kill the worker in the same moment
            assert peer.recv(65536).startswith(b"HTTP/1.1 503 ")
        gunicorn.said(rf"\[{pid}\] \[WARNING\] 1 request cut: not finished within 1 s \(graceful_timeout\):")
        gunicorn.said(r"^    127\.0\.0\.1:\d+: GET /held: running for \d+\.\d s, at .*app\.py:12 in app\(\)$")
        gunicorn.said("Booting worker", 2)


def test_a_worker_that_is_killed_and_one_that_hangs_are_replaced(tmp_path):
    with Gunicorn(tmp_path, "-t", "2") as gunicorn:
        before = gunicorn.ask("/pid")
        os.kill(int(before), signal.SIGKILL)
        gunicorn.said("Booting worker", 2)
        after = gunicorn.ask("/pid")
        assert after != before
        with socket.create_connection(("127.0.0.1", gunicorn.port), 30) as peer:
            peer.sendall(b"GET /stuck HTTP/1.0\r\n\r\n")
            gunicorn.said("WORKER TIMEOUT")
            gunicorn.said("Booting worker", 3)
            gunicorn.said(r'app\.py", line \d+ in app')  # where it was
        assert gunicorn.ask("/pid") not in (before, after)


def test_max_requests_replaces_the_worker(tmp_path):
    with Gunicorn(tmp_path, "--max-requests", "1") as gunicorn:
        before = gunicorn.ask("/pid")
        gunicorn.said("Autorestarting worker")
        gunicorn.said("Booting worker", 2)
        assert gunicorn.ask("/pid") != before


def test_no_keep_alive_closes_after_each_answer(tmp_path):
    with (
        Gunicorn(tmp_path, "--keep-alive", "0") as gunicorn,
        socket.create_connection(("127.0.0.1", gunicorn.port), 30) as peer,
    ):
        peer.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while part := peer.recv(65536):
            answer += part
        assert answer.endswith(b"\r\n\r\n/x")


@pytest.mark.parametrize(("config", "said"), [
    ("raw_env = ['SCRIPT_NAME=below']", "SCRIPT_NAME: 'below' is not a path prefix; give one like /below, without"),
    ("header_map = 'refuse'", "header_map refuse: fields with _ in their names are always dropped; leave it out"),
    ("access_log_format = '%(x)s'\naccesslog = '-'", r"access_log_format: there is no atom %\(x\)s"),
])  # fmt: skip
def test_what_is_not_there_refuses_to_start(tmp_path, config, said):
    with Gunicorn(tmp_path, config=config) as gunicorn:
        assert gunicorn.ended() == 3
        gunicorn.said(said)
        assert "Traceback" not in "".join(gunicorn.lines)


def test_a_certificate_that_is_none_refuses_to_start(tmp_path):
    (tmp_path / "c.pem").touch()
    with Gunicorn(tmp_path, "--certfile", "c.pem", "--keyfile", "c.pem") as gunicorn:
        assert gunicorn.ended() == 3
        gunicorn.said("certfile: c.pem: it is empty")


def test_usr1_opens_the_access_log_again(tmp_path):
    with Gunicorn(tmp_path, "--access-logfile", "access", "--access-logformat", "%(U)s") as gunicorn:
        pid = int(gunicorn.ask("/pid"))
        while not (tmp_path / "access").read_text():
            assert gunicorn.poll() is None
        os.rename(tmp_path / "access", tmp_path / "old")
        os.kill(pid, signal.SIGUSR1)
        while not (tmp_path / "access").exists():
            gunicorn.ask("/x")
        gunicorn.ask("/y")
        gunicorn.send_signal(signal.SIGTERM)
        assert gunicorn.ended() == 0
    assert (tmp_path / "old").read_text().startswith("/pid\n")
    assert (tmp_path / "access").read_text().endswith("/y\n")


TAKES = "import signal as s; [s.signal(number, s.SIG_{}) for number in (s.SIGTERM, s.SIGQUIT, s.SIGUSR1)]"
DEEDS = [
    "import sys; sys.stderr = sys.stdout = None",
    "import sys; sys.__stderr__.close()",
    "[os.close(number) for number in (0, 1, 2)]",
    "import logging.config; logging.config.dictConfig({'version': 1})",
    "import logging; logging.disable(logging.CRITICAL)",
    "import logging; logging.getLogger('gunicorn.error').handlers[:] = []",
    "import logging; logging.setLogRecordFactory(lambda *_, **__: 1 / 0)",
    TAKES.format("IGN"),
    TAKES.format("DFL"),
    "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
]


def test_whatever_the_application_does_to_its_process_the_log_speaks_and_term_stops(tmp_path):
    with Gunicorn(tmp_path, "--graceful-timeout", "3600") as server:
        for number, code in enumerate(DEEDS):
            server.ask("/do", **{"X-Code": code})
            server.ask(f"/fail?mark{number}")
            server.said(f"LookupError: mark{number}$")
        server.send_signal(signal.SIGTERM)
        assert server.ended() == 0


def failed(tmp_path, config, code, file):
    """What is in that file once a request has failed, and what is on stderr."""
    with Gunicorn(tmp_path, config=config) as server:
        server.ask("/do", **{"X-Code": code})
        server.ask("/fail?mark")
        server.ask("/do", **{"X-Code": "print('written', file=environ['wsgi.errors'])"})
        server.send_signal(signal.SIGTERM)
        assert server.ended() == 0
    return (tmp_path / file).read_text(), "".join(server.lines)


WHEN_READY = """
import os, sys
terminal = os.fdopen(os.dup(2), "w")
def when_ready(server): print("Listening at:", server.LISTENERS[0], file=terminal, flush=True)
"""
LOGGED = WHEN_READY + """
logconfig_dict = {
    "version": 1, "disable_existing_loggers": False, "formatters": {"plain": {"format": "%(message)s"}},
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "log", "formatter": "plain"}},
    "root": {"level": "INFO", "handlers": ["file"]},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True}},
}
"""


def test_lines_go_to_the_handlers_that_gunicorns_errors_are_propagated_to(tmp_path):
    log, stderr = failed(tmp_path, LOGGED, "", "log")
    assert log.count("LookupError: mark") == log.count("written") == 1
    assert "LookupError" not in stderr and "written" not in stderr


def test_lines_go_to_a_handler_that_the_application_adds_to_gunicorns_errors(tmp_path):
    code = "import logging; logging.getLogger('gunicorn.error').addHandler(logging.FileHandler('log'))"
    log, stderr = failed(tmp_path, "", code, "log")
    assert log.count("LookupError: mark") == stderr.count("LookupError: mark") == 1
    assert stderr.count("written") == 1 and "written" not in log  # it may be one that writes there itself


QUIET = [
    "log.setLevel('CRITICAL')",
    "log.addFilter(lambda record: 'mark' not in str(record.exc_info))",
    "[handler.setLevel('CRITICAL') for handler in log.handlers]",
]


@pytest.mark.parametrize("deed", QUIET)
def test_level_and_filters_of_gunicorns_errors_are_those_of_the_lines(tmp_path, deed):
    code = f"import logging; log = logging.getLogger('gunicorn.error'); {deed}; open('log', 'w').close()"
    _, stderr = failed(tmp_path, "", code, "log")
    assert "LookupError: mark" not in stderr


SIGNALS = """
import signal
def post_worker_init(worker):
    signal.signal(signal.SIGWINCH, lambda *_: open("winch", "w").close())
    signal.signal(signal.SIGABRT, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""


def test_handlers_that_a_hook_sets_are_kept_or_named(tmp_path):
    with Gunicorn(tmp_path, config=SIGNALS) as server:
        pid = int(server.ask("/pid"))
        server.said("replaced the handler of SIGTERM, SIGABRT; the server's own is back")
        os.kill(pid, signal.SIGWINCH)
        while not (tmp_path / "winch").exists():
            server.ask("/")
        server.send_signal(signal.SIGTERM)
        assert server.ended() == 0
        assert sum("replaced" in line for line in server.lines) == 1


def test_stacks_of_a_hung_worker_go_to_the_file_that_usr1_has_opened(tmp_path):
    options = ["--capture-output", "--error-logfile", "log", "-t", "3"]
    with Gunicorn(tmp_path, *options, config=WHEN_READY) as server:
        server.ask("/")
        os.rename(tmp_path / "log", tmp_path / "old")
        server.send_signal(signal.SIGUSR1)
        while not (tmp_path / "log").exists():
            server.ask("/")
        pid = int(server.ask("/pid"))
        with pytest.raises((OSError, http.client.HTTPException)):
            server.ask("/stuck")
        assert int(server.ask("/pid")) != pid
        server.send_signal(signal.SIGTERM)
        assert server.ended() == 0
    assert "most recent call first" in (tmp_path / "log").read_text()
    assert "most recent call first" not in (tmp_path / "old").read_text()
