"""Scripts that serve by themselves: `serve` and `serve_stream` in real processes."""

import contextlib
import re
import signal
import socket
import ssl
import textwrap
import time

import pytest

from tests.hosting.serving import TIMEOUT, Client
from tests.system.process import Command, Process, ended

TOGETHER = 50

MEET = f"""
import time

inside = []

def meet():
    '''Blocks, the way any library does, until {TOGETHER} have come this far.'''
    inside.append(None)
    while len(inside) < {TOGETHER}:
        time.sleep(0.001)
"""

HANDLERS = {
    "native": """
        from greenhttp import serve

        def handler(request):
            meet()
            return f"all {len(inside)}"

        serve(handler, bind=["127.0.0.1:0", "unix:s"])
        """,
    "wsgi": """
        from greenhttp import serve

        def app(environ, start_response):
            meet()
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"all %d" % len(inside)]

        serve(app, bind=["127.0.0.1:0", "unix:s"])
        """,
    "stream": """
        from greenhttp import serve_stream

        def handler(stream):
            stream.readuntil(b"\\r\\n\\r\\n")
            meet()
            stream.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nall %d" % len(inside))

        serve_stream(handler, bind=["127.0.0.1:0", "unix:s"])
        """,
}

QUICK = """
from greenhttp import serve, serve_stream

def handler(request):
    if request.path == "/slow":
        import sys
        print("running", file=sys.stderr, flush=True)
        return request.body.read()
    return "quick"

def greet(stream):
    stream.write(b"hello")
"""


def script(directory, *parts):
    """A process that runs the parts one after the other, each indented as it likes."""
    (directory / "script.py").write_text("".join(map(textwrap.dedent, parts)))
    return Process(directory, "-W", "error", "script.py")


def started(process):
    """The TCP address it serves on, and all it has said so far."""
    said = process.until("Ctrl-C")
    return ("127.0.0.1", int(re.search(r"127\.0\.0\.1:(\d+)", said)[1])), said


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("form", HANDLERS)
def test_fifty_handlers_sleep_side_by_side(tmp_path, form, kind):
    with script(tmp_path, "import greenhttp.patch\n", MEET, HANDLERS[form]) as process, contextlib.ExitStack() as stack:
        address = started(process)[0] if kind == "tcp" else started(process) and str(tmp_path / "s")
        clients = [stack.enter_context(Client(address)) for _ in range(TOGETHER)]
        for client in clients:
            client.request("GET", "/")
        assert [client.read().text for client in clients] == [f"all {TOGETHER}"] * TOGETHER


@pytest.mark.parametrize("last", ['serve(handler, bind="127.0.0.1:0")', 'serve_stream(greet, bind="127.0.0.1:0")'])
def test_an_unpatched_script_is_told_once_what_to_write(tmp_path, last):
    with script(tmp_path, QUICK, last) as process:
        address, said = started(process)
        with socket.create_connection(address, TIMEOUT) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with client.makefile("rb") as file:
                assert file.read()
        process.send_signal(signal.SIGTERM)
        code, out, rest = process.rest()
    lines = [line for line in (said + rest).splitlines() if "import greenhttp.patch" in line]
    assert (code, out, len(lines)) == (0, "", 1)
    assert "a call that blocks" in lines[0] and "NOT patched" in said


@pytest.mark.parametrize("last", ['serve(handler, bind="127.0.0.1:0")', 'serve_stream(greet, bind="127.0.0.1:0")'])
def test_a_patched_script_is_told_nothing_of_the_kind(tmp_path, last):
    with script(tmp_path, "import greenhttp.patch\n", QUICK, last) as process:
        said = started(process)[1]
        process.send_signal(signal.SIGINT)
        said += process.rest()[2]
    assert "import greenhttp.patch" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
@pytest.mark.parametrize("last", ['serve(handler, bind="127.0.0.1:0")', 'serve_stream(greet, bind="127.0.0.1:0")'])
def test_a_signal_ends_serving_and_the_script_goes_on(tmp_path, last, number):
    with script(tmp_path, "import greenhttp.patch\n", QUICK, f"print({last})\n", 'print("after")\n') as process:
        started(process)
        process.send_signal(number)
        code, out, _ = process.rest()
    assert (code, out) == (0, "None\nafter\n")


def slow(process):
    """A client whose request runs, and waits for the rest of its body."""
    client = Client(started(process)[0])
    client.request("POST", "/slow", "Content-Length: 8")
    process.until("running")
    return client


def test_term_waits_for_the_running_request(tmp_path):
    last = 'serve(handler, bind="127.0.0.1:0", graceful_timeout="1h")'
    with script(tmp_path, "import greenhttp.patch\n", QUICK, last) as process, slow(process) as client:
        process.send_signal(signal.SIGTERM)
        process.until("stopping")
        client.send(b"finished")
        assert client.read().text == "finished"
        assert ended(process) == (0, "", "INFO stopped\n")


def test_a_second_signal_forces(tmp_path):
    last = 'serve(handler, bind="127.0.0.1:0", graceful_timeout="1h")'
    with script(tmp_path, "import greenhttp.patch\n", QUICK, last) as process, slow(process):
        process.send_signal(signal.SIGTERM)
        process.until("stopping")
        process.send_signal(signal.SIGINT)
        assert ended(process) == (1, "", "WARNING stopped by force\n")


def test_term_waits_for_a_stream_handler_too(tmp_path):
    wait = """
        def handler(stream):
            stream.write(b"begun")
            stream.write(stream.read())

        serve_stream(handler, bind="127.0.0.1:0", graceful_timeout="1h")
        """
    with script(tmp_path, "import greenhttp.patch\n", QUICK, wait) as process:
        with socket.create_connection(started(process)[0], TIMEOUT) as client, client.makefile("rb") as file:
            assert file.read(5) == b"begun"
            process.send_signal(signal.SIGTERM)
            process.until("stopping")
            client.sendall(b"finished")
            client.shutdown(socket.SHUT_WR)
            assert file.read() == b"finished"
        assert ended(process) == (0, "", "INFO stopped\n")


def test_a_setting_that_cannot_be_is_an_exception_of_the_script(tmp_path):
    with script(tmp_path, QUICK, 'serve(handler, bind="127.0.0.1:0", header_timeout="soon")') as process:
        code, out, said = process.rest()
    assert (code, out) == (1, "")
    assert said.splitlines()[-1].startswith("greenhttp.errors.ConfigError: header_timeout")


@pytest.mark.parametrize("function", ["serve", "serve_stream"])
def test_an_address_in_use_is_one_line_and_exit_code_1(tmp_path, function):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        with script(tmp_path, QUICK, f'{function}(handler, bind="{address}")') as process:
            code, out, said = process.rest()
    assert (code, out, said.count("\n")) == (1, "", 1)
    assert said.startswith(f"greenhttp: {address}: the port is in use")


def test_outside_the_main_thread_serve_says_to_use_server(tmp_path):
    thread = """
        import threading

        def run():
            from greenhttp import ConfigError, serve
            try:
                serve(handler, bind="127.0.0.1:0")
            except ConfigError as error:
                print(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        """
    with script(tmp_path, "def handler(request): pass\n", thread) as process:
        code, out, said = process.rest()
    assert (code, said) == (0, "")
    assert out == "serve() handles signals: call it in the main thread, or use Server instead\n"


@pytest.mark.parametrize("patch", ["", "import greenhttp.patch\n"])
def test_two_servers_one_after_the_other_log_each_entry_once(tmp_path, patch):
    twice = """
        import logging, os, signal, socket
        from greenhttp.program import running

        def fail(request):
            os.kill(os.getpid(), signal.SIGTERM)
            raise RuntimeError("entry")

        with socket.create_server(("127.0.0.1", 0)) as busy:
            try:
                serve(fail, bind="127.0.0.1:%d" % busy.getsockname()[1], error_logfile="e.log")
            except SystemExit:
                print(logging.getLogger("greenhttp").handlers, running.reopen, flush=True)
        for name in "12":
            serve(fail, bind="unix:s" + name, error_logfile="e.log")
        print(logging.getLogger("greenhttp").handlers, running.reopen)
        """
    with script(tmp_path, patch, QUICK, twice) as process:
        for count, name in enumerate("12", 1):
            while (log := tmp_path / "e.log") and not (log.exists() and log.read_text().count("Ctrl-C") == count):
                time.sleep(0.01)
            with Client(str(tmp_path / f"s{name}")) as client:
                assert client.get("/").status == 500
        code, out, _ = process.rest()
    assert (code, out) == (0, "[] []\n[] []\n")
    assert (tmp_path / "e.log").read_text().count("RuntimeError: entry") == 2


# ---- the command and interfaces

WEB = """
import functools

def handler(request):
    return "native " + request.path

def general(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

wrapped = general(handler)

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"wsgi " + environ["PATH_INFO"].encode()]

def create():
    return handler

def create_wsgi():
    return app
"""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["web:handler"], "native /x"),
        (["web:app"], "wsgi /x"),
        (["web:create()"], "native /x"),
        (["web:create_wsgi()"], "wsgi /x"),
        (["--interface", "native", "web:wrapped"], "native /x"),
        (["--interface", "wsgi", "web:app"], "wsgi /x"),
    ],
)
def test_the_command_serves_either_interface(tmp_path, arguments, text):
    (tmp_path / "web.py").write_text(WEB)
    with Command(tmp_path, "-b", "127.0.0.1:0", *arguments) as command, Client(started(command)[0]) as client:
        assert client.get("/x").text == text


SECRET = """
from greenhttp import serve_stream, tls

def greet(stream):
    stream.write(b"hello, " + (stream.tls.server_name or "nobody").encode())

context = tls.server("server.pem", "server.key")
"""


@pytest.mark.parametrize(
    "how",
    ["tls=context", 'tls=[(["localhost"], context)]', 'certfile="server.pem"'],
    ids=["a context", "several", "settings"],
)
def test_a_stream_handler_is_served_over_tls(tmp_path, how):
    made = pytest.importorskip("tests.tls.certificates")
    made.leaf("localhost").write(tmp_path)
    context = ssl.create_default_context(cadata=made.leaf("localhost").authority.decode())
    context.set_alpn_protocols(["http/1.1"])
    last = f'serve_stream(greet, bind="127.0.0.1:0", {how})'
    with script(tmp_path, "import greenhttp.patch\n", SECRET, last) as process:
        address, said = started(process)
        with (
            socket.create_connection(address, TIMEOUT) as client,
            context.wrap_socket(client, server_hostname="localhost", suppress_ragged_eofs=False) as secured,
            secured.makefile("rb") as file,
        ):
            assert secured.selected_alpn_protocol() == ("http/1.1" if "context" in how else None)
            assert file.read() == b"hello, localhost"
    assert "tls://127.0.0.1" in said
