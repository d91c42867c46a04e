"""What an application may do to its process, at import or in a request: the server goes on, and so does its log."""

import contextlib
import http.client
import os
import time

import pytest

from tests.system.served import PATIENCE, Local, Served

APP = """
import logging, logging.config, os, signal, sys, threading, warnings

class Tee:
    def __init__(self, stream): self.stream = stream
    def write(self, text): return self.stream.write(text)
    def flush(self): self.stream.flush()

class Bad(logging.Handler):
    def emit(self, record): raise LookupError
    def write(self, text): raise LookupError
    def flush(self): raise LookupError

def raising(*_, **__): raise LookupError

{first}

def app(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/do":
        exec(environ["wsgi.input"].read(), globals())
    if path == "/fail":
        raise ValueError(query)
    if path == "/told":
        environ["wsgi.errors"].write(query + "\\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
STREAMS = {
    "tee": "sys.stdout, sys.stderr = Tee(sys.stdout), Tee(sys.stderr)",
    "StringIO": "import io; sys.stdout = sys.stderr = io.StringIO()",
    "None": "sys.stdout = sys.stderr = None",
    "deleted": "del sys.stdout, sys.stderr",
    "closed": "sys.stdout.close(); sys.stderr.close()",
    "raises": "sys.stdout = sys.stderr = Bad()",
    "closed descriptors": "os.close(0); os.close(1); os.close(2)",
    "other descriptors": "null = os.open(os.devnull, os.O_RDWR); os.dup2(null, 1); os.dup2(null, 2)",
    "a handler of a closed stream": "logging.basicConfig(); sys.stderr.close()",
}


class Application(Served):
    """Its stderr is the file err."""

    def __init__(self, directory, *options, first=""):
        with open(directory / "err", "wb") as stderr:
            super().__init__(directory, stderr, *options, app=APP.replace("{first}", first))
        self.err, self.marks = directory / "err", 0

    def ready(self):
        """Wait until it answers."""
        end = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None and time.monotonic() < end, self.err.read_text()
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.ask()
                return
            time.sleep(0.02)

    def status(self, path, content=None):
        client = Local(self.socket)
        try:
            client.request("POST", path, content)
            return client.getresponse().status
        finally:
            client.close()

    def until(self, word, count=1):
        """Wait until the log has the word so many times."""
        end = time.monotonic() + PATIENCE
        while (text := self.err.read_text()).count(word) < count:
            assert time.monotonic() < end, f"no {word!r} in {text}"
            time.sleep(0.01)

    def speaks(self):
        """It answers, and its log has what it says of a failure, and what the application has written there."""
        self.marks += 1
        assert self.status(f"/fail?mark{self.marks}") == 500
        assert self.status(f"/told?word{self.marks}") == 200
        self.until(f"ValueError: mark{self.marks}\n")
        self.until(f": word{self.marks}\n")


@pytest.fixture
def serve(tmp_path):
    made = []

    def begin(*options, **more):
        made.append(Application(tmp_path, *options, **more))
        made[-1].ready()
        return made[-1]

    yield begin
    for one in made:
        one.process.kill()
        one.process.wait()


def gone(pid):
    """Wait until the process has ended."""
    end = time.monotonic() + PATIENCE
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.kill(pid, 0)
            assert time.monotonic() < end
            time.sleep(0.01)


def appears(path):
    """Wait until the file is there and not empty."""
    end = time.monotonic() + PATIENCE
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < end
        time.sleep(0.01)


SUPERVISED = ("-w", "1")
both = pytest.mark.parametrize("options", [(), SUPERVISED], ids=["alone", "supervised"])


IN = [
    *(((), name) for name in STREAMS if name not in ("StringIO", "None")),
    *((SUPERVISED, name) for name in ("tee", "a handler of a closed stream")),
    *(((*SUPERVISED, "--preload"), name) for name in ("tee", "raises")),
]


@pytest.mark.parametrize(("options", "name"), IN, ids=[" ".join((name, *options)) for options, name in IN])
def test_streams_that_are_replaced_or_closed_at_import(serve, tmp_path, options, name):
    served = serve(*options, "--access-logfile", "access", first=STREAMS[name])
    served.speaks()
    appears(tmp_path / "access")
    assert served.stop() == 0
    assert " stopped" in served.err.read_text()


FREE = ("closed", "closed descriptors", "a handler of a closed stream")  # descriptors, which a connection may then have
NOT_FREE = tuple(name for name in STREAMS if name not in FREE and name != "deleted")  # gevent cannot do without


@both
@pytest.mark.parametrize("names", [NOT_FREE, *((name,) for name in FREE)], ids=["others", *FREE])
def test_streams_that_are_replaced_or_closed_in_a_request(serve, options, names):
    served = serve(*options)
    for code in [STREAMS[name] for name in names]:
        assert served.status("/do", f"sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__; {code}") == 200
        served.speaks()
    assert served.stop() == 0
    assert " stopped" in served.err.read_text()


@pytest.mark.parametrize("options", [("--access-logfile", "access"), ("-w", "1")], ids=["alone", "supervised"])
def test_an_application_that_empties_sys_path(serve, options):
    served = serve(*options, first="sys.path[:] = []")
    served.speaks()
    assert served.stop() == 0


SIGNALS = "[getattr(signal, f'SIG{name}') for name in ('TERM', 'INT', 'QUIT', 'USR1', 'HUP', 'CHLD', 'PIPE')]"
TAKEN = {
    "ignored": f"for number in {SIGNALS}: signal.signal(number, signal.SIG_IGN)",
    "handled": f"for number in {SIGNALS}: signal.signal(number, lambda *_: os._exit(9))",
    "by default": f"for number in {SIGNALS}: signal.signal(number, signal.SIG_DFL)",
    "blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
}


@pytest.mark.parametrize(
    ("options", "name"),
    [((), "blocked"), (SUPERVISED, "blocked"), ((*SUPERVISED, "--preload"), "ignored")],
    ids=["alone", "supervised", "preloaded"],
)
def test_signals_that_are_taken_at_import(serve, options, name):
    served = serve(*options, first=TAKEN[name])
    if options:
        first = served.ask()
        served.send("HUP")
        served.asked(unless=[first])
    assert served.stop() == 0


@both
def test_signals_that_are_taken_in_a_request(serve, options):
    served = serve(*options, "--graceful-timeout", "1h")
    for code in TAKEN.values():
        count = served.err.read_text().count("the server's own is back")
        first = served.ask()
        assert served.status("/do", code) == 200
        if code is not TAKEN["blocked"]:
            served.until("the server's own is back", count + 1)
        served.speaks()
        if options:  # the old worker is asked to drain, and does
            served.send("HUP")
            served.asked(unless=[first])
            gone(first)
    assert served.stop() == 0


@both
def test_a_directory_that_is_left_at_import_and_in_a_request(serve, tmp_path, options):
    removed = "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')"
    served = serve("-b", "unix:t", *options, "--access-logfile", "access", first=removed)
    assert (tmp_path / "t").exists()
    served.speaks()
    assert served.status("/do", "os.chdir('/tmp')") == 200
    log = tmp_path / "access"
    appears(log)
    log.rename(tmp_path / "old")
    served.send("USR1")
    while not log.exists():
        served.speaks()
    assert served.stop() == 0
    assert not (tmp_path / "t").exists()


def test_descriptors_that_a_file_of_settings_closes_in_the_supervisor(serve, tmp_path):
    (tmp_path / "conf.py").write_text("import os\nos.close(1), os.close(2)\ndef on_starting(server): pass\n")
    served = serve(*SUPERVISED, "-c", "conf.py")
    served.speaks()
    assert served.stop() == 0
