"""`greenhttp` on a UNIX socket, with a stderr that the test gives."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.system.process import NOT_INHERITED

APP = """
import os, sys, time
def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/spin":
        while True: pass
    if path == "/odd":
        print("something odd", file=environ["wsgi.errors"])
    if path == "/fail":
        raise LookupError("no such shelf")
    if path == "/long":
        print("x" * 20_000, file=environ["wsgi.errors"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
PATIENCE = 60  # seconds; only a hang takes as long


class Local(http.client.HTTPConnection):
    """A connection to a UNIX socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Served:
    """`greenhttp ...` whose stderr is what the test gives."""

    def __init__(self, directory, stderr, *options, app=APP):
        (directory / "web.py").write_text(app)
        self.socket = directory / "s"
        clean = {k: v for k, v in os.environ.items() if not k.startswith((*NOT_INHERITED, "PYTHONUNBUFFERED"))}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "greenhttp", "-b", f"unix:{self.socket}", *options, "web:app"],
            cwd=directory, env={**clean, "PYTHONDONTWRITEBYTECODE": "1"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=stderr,
        )  # fmt: skip

    def ask(self, path="/"):
        """The number of the process that answers."""
        client = Local(self.socket)
        try:
            client.request("GET", path)
            return int(client.getresponse().read())
        finally:
            client.close()

    def asked(self, unless=(), path="/"):
        """That of one that is not among these, as soon as it answers."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if (pid := self.ask(path)) not in unless:
                    return pid
            time.sleep(0.02)
        raise AssertionError(f"nobody but {unless} answers")

    def send(self, name):
        self.process.send_signal(getattr(signal, f"SIG{name}"))

    def stop(self, name="TERM"):
        """The exit code."""
        self.send(name)
        return self.process.wait(PATIENCE)


@pytest.fixture
def serve(tmp_path):
    made = []

    def begin(stderr, *options, **more):
        made.append(Served(tmp_path, stderr, *options, **more))
        return made[-1]

    yield begin
    for one in made:
        one.process.kill()
        one.process.wait()
