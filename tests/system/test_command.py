"""The command as a user meets it: real processes, real sockets, real signals."""

import os
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.system.process import Command

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"from here"]
"""

SLOW = """
import sys

def app(environ, start_response):
    print("running", file=sys.stderr, flush=True)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.input"].read()]
"""

HALF = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n"  # the application waits for the rest


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


@pytest.fixture
def here(tmp_path):
    (tmp_path / "web.py").write_text(APP)
    return tmp_path


def test_a_module_of_the_current_directory_is_served(here):
    with Command(here, "-b", "127.0.0.1:0", "web:app") as command:
        assert get(command.url()) == b"from here"


def test_without_the_patch_too(here):
    with Command(here, "--no-patch", "-b", "127.0.0.1:0", "web:app") as command:
        assert get(command.url()) == b"from here"


@pytest.mark.parametrize("name", ["hello", "flask_app"])
def test_an_example_is_served(name):
    with Command(EXAMPLES, "-b", "127.0.0.1:0", name) as command:
        assert b"hello" in get(command.url() + "/")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_an_idle_server_stops_with_exit_code_0(here, number):
    with Command(here, "-b", "127.0.0.1:0", "web:app") as command:
        get(command.url())
        command.send_signal(number)
        code, out, err = command.rest()
    assert (code, out) == (0, "")
    assert "Traceback" not in err
    if number != signal.SIGTERM:
        assert err == ""


def connect(url):
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 30)


def test_term_lets_a_running_request_finish(tmp_path):
    (tmp_path / "web.py").write_text(SLOW)
    with Command(tmp_path, "-b", "127.0.0.1:0", "web:app") as command, connect(command.url()) as client:
        client.sendall(HALF)
        command.until("running")
        command.send_signal(signal.SIGTERM)
        command.until("stopping")
        client.sendall(b"finished")
        with client.makefile("rb") as answer:
            assert answer.read().endswith(b"finished")
        assert command.rest()[0] == 0


def test_int_does_not_wait_for_a_running_request(tmp_path):
    (tmp_path / "web.py").write_text(SLOW)
    with Command(tmp_path, "-b", "127.0.0.1:0", "web:app") as command, connect(command.url()) as client:
        client.sendall(HALF)
        command.until("running")
        command.send_signal(signal.SIGINT)
        code, _, err = command.rest()
    assert code == 0
    assert "Traceback" not in err


def test_a_busy_port_is_one_line_and_exit_code_1(here):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with Command(here, "-b", f"127.0.0.1:{port}", "web:app") as command:
            code, out, err = command.rest()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"127.0.0.1:{port}: the port is in use" in err
    if sys.platform.startswith("linux"):
        assert f"process {os.getpid()} (" in err


def test_a_failed_import_shows_its_traceback_once_and_exit_code_3(tmp_path):
    (tmp_path / "web.py").write_text("raise RuntimeError('no database')\n")
    with Command(tmp_path, "-b", "127.0.0.1:0", "web:app") as command:
        code, out, err = command.rest()
    assert (code, out) == (3, "")
    assert err.count("Traceback") == err.count("RuntimeError: no database") == 1


def test_an_unknown_option_names_the_nearest_and_exit_code_2(here):
    with Command(here, "--bnd", "x", "web:app") as command:
        code, _, err = command.rest()
    assert (code, err.count("\n")) == (2, 1)
    assert "--bind" in err


def test_a_unix_socket_is_served_and_its_file_removed(here):
    with Command(here, "-b", "unix:x.sock", "web:app") as command:
        command.until("Ctrl-C")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.path.relpath(here / "x.sock"))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            with client.makefile("rb") as answer:
                assert answer.read().endswith(b"from here")
        command.send_signal(signal.SIGTERM)
        assert command.rest()[0] == 0
    assert not (here / "x.sock").exists()


def test_port_and_settings_come_from_the_environment(here):
    with Command(here, "web:app", GREENHTTP_BIND="127.0.0.1:0", GREENHTTP_CONCURRENCY="7") as command:
        assert "up to 7 requests at once" in command.until("requests at once")
