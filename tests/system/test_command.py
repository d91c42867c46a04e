"""The command as a user meets it: real processes, real sockets, real signals."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.lines import plain
from tests.system.process import Command, Process

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"from here"]
"""

SLOW = """
import sys
import time

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
        line, last = [line for line in plain(err).splitlines() if "holds the process" not in line]  # on a slow machine
        assert f"INFO received {signal.Signals(number).name}, sent by process {os.getpid()} (" in line
        assert last == "INFO stopped"


def connect(url):
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 30)


BUSY = """
import sys, time

def app(environ, start_response):
    print("running", file=sys.stderr, flush=True)
    while True:
        pass
"""


@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGINT, "press Ctrl-C again to end it"), (signal.SIGTERM, "press Ctrl-C or send INT to end it")],
)
def test_a_handler_that_computes_is_named_when_the_program_should_end(tmp_path, number, said):
    (tmp_path / "web.py").write_text(BUSY)
    with Command(tmp_path, "-b", "127.0.0.1:0", "--hub-warn", "0", "web:app") as command:
        with socket.create_connection(("127.0.0.1", int(command.url().rpartition(":")[2])), timeout=30) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            command.until("running")
            command.send_signal(number)
            assert plain(command.until("holds the process")) == f"WARNING a handler holds the process; {said}\n"
            command.send_signal(signal.SIGINT)
            code, _, err = command.rest()
        assert (code, plain(err)) == (1, "WARNING stopped by force\n")


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


def test_pythonpath_may_lead_into_an_archive(here):
    with zipfile.ZipFile(here / "libs.zip", "w") as archive:
        archive.writestr("inner/packed.py", "def app(request):\n    return 'packed'\n")
    with Command(here, "--check", "--pythonpath", "libs.zip/inner", "packed:app") as command:
        assert command.rest()[0] == 0
    for path in "libs.zip.none/inner", "none/inner":
        with Command(here, "--check", "--pythonpath", path, "packed:app") as command:
            code, _, err = command.rest()
            assert code == 2 and f"pythonpath: {path}: there is no such directory or archive" in err


def test_the_file_of_a_unix_socket_is_removed_where_a_preloaded_application_has_left_the_directory(here):
    (here / "leaving.py").write_text("import os\nos.chdir('/')\ndef app(request):\n    return 'ok'\n")
    with Command(here, "-b", "unix:x.sock", "-w", "1", "--preload", "leaving:app") as command:
        command.until("worker 1 serves")
        assert (here / "x.sock").exists()
        command.terminate()
        assert command.rest()[0] == 0
    assert not (here / "x.sock").exists()


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


def test_settings_come_from_a_file_of_python_that_runs_patched(here):
    (here / "greenhttp.conf.py").write_text(
        "import os, socket\nfrom helper import NUMBER\nassert socket.socket.__module__.startswith('gevent')\n"
        "bind = '127.0.0.1:0'\nworker_connections = NUMBER\nwsgi_app = 'web:app'\nenv = {'A': 'b'}\n"
    )
    (here / "helper.py").write_text("NUMBER = 77\n")
    with Command(here, "serve", "-c", "greenhttp.conf.py") as command:
        said = command.until("bodies up to")
        assert "serving web:app at http://127.0.0.1:" in said and "up to 77 connections" in said


def test_settings_come_from_a_file_of_toml_that_may_decide_about_patching(here):
    (here / "s.toml").write_text('bind = "127.0.0.1:0"\npatch = false\n')
    with Command(here, "web", GREENHTTP_CONFIG="s.toml") as command:
        said = command.until("Ctrl-C")
    assert "NOT patched" in said and "; leave out --no-patch, or make `import greenhttp.patch` the first line" in said


def test_check_says_what_would_be_served_and_listens_nowhere(here):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        with Command(here, "--check", "-b", address, "web") as command:
            assert command.rest() == (0, f"ok: web at {address}, interface: WSGI (detected)\n", "")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), "def app(request): return 'x'", "native handler (detected)"),
        (("--interface", "native"), "def app(*whatever): pass", "native handler (as set)"),
        (("--interface", "stream"), "def app(stream): pass", "stream handler (as set)"),
    ],
)
def test_the_kind_of_application_is_said(tmp_path, options, code, said):
    (tmp_path / "web.py").write_text(code)
    with Command(tmp_path, "--check", *options, "-b", ":0", "web") as command:
        assert command.rest() == (0, f"ok: web at :0, interface: {said}\n", "")
    with Command(tmp_path, *options, "-b", ":0", "web") as command:
        assert f"INFO interface: {said}\n" in command.until("Ctrl-C")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["-b", "8000", "web"], 2, "bind: '8000' is only a number"),
        (["-c", "s.toml", "web"], 2, "s.toml:2: queue: 'x' is not a whole number; give 0 or more"),
        (["-c", "s.py", "web"], 2, "s.py:1: ZeroDivisionError: division by zero"),
        (["--access-log", "--access-log-format", "%(h", "web"], 2, "access_log_format: '%(' is not an atom"),
        (["--access-log-format", "%(zz)s", "no.such.module"], 2, "access_log_format: there is no atom %(zz)s"),
        (["--access-logfile", "none/x", "web"], 1, "access_logfile: none/x: No such file or directory"),
        (["--error-logfile", "none/x", "web"], 1, "error_logfile: none/x: No such file or directory"),
        (["--error-logfile", ".", "web"], 1, "error_logfile: .: Is a directory"),
        (["--access-logfile", "web.py/x", "web"], 1, "access_logfile: web.py/x: Not a directory"),
        (["--reload", "--reload-dir", "none", "web"], 1, "reload_dirs: none: there is no such file or directory"),
        (["--pythonpath", "lib,none", "web"], 2, "pythonpath: none: there is no such directory or archive"),
        (["-p", "none/x", "web"], 1, "/none/x: No such file or directory"),
        (["-b", "unix:none/s", "web"], 1, "unix:none/s: cannot listen (No such file or directory)"),
        (["-b", ":0,192.0.2.1:80", "web"], 1, "192.0.2.1:80: this machine has no such address"),
        pytest.param(
            ["-b", ":7999,127.0.0.1:7999", "web"], 1, "127.0.0.1:7999: :7999 in the same bind takes it already",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it does not"),
        ),
        (["-b", "localhost:7999,127.0.0.1:7999", "web"], 1, "127.0.0.1:7999: localhost:7999 in the same bind takes it"),
        (["-b", "unix:s,unix:./s", "web"], 1, "unix:./s: unix:s in the same bind takes it already; leave one of them"),
        (["-b", "no-such-host.invalid:80", "web"], 1, "no-such-host.invalid:80: the host name cannot be resolved"),
        (["wbe"], 3, "there is no module wbe"),
        (["serve"], 2, "no application; give APP"),
        (["web:nothing"], 3, "web has no attribute nothing"),
        (["web:sys"], 3, "sys is a module; name the application in it"),
    ],
)
def test_check_says_what_is_wrong_in_one_line(here, arguments, code, line):
    (here / "s.toml").write_text("\nqueue = 'x'\n")
    (here / "s.py").write_text("1 / 0\n")
    (here / "web.py").write_text(APP + "import sys\n")
    (here / "lib").mkdir()
    with Command(here, "--check", *arguments) as command:
        found, out, err = command.rest()
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert line in err


THREAD = """
import threading
threading.Thread(target=time.sleep, args=(20,)).start()
"""

CHILD = """
import multiprocessing

def wait():
    os.closerange(1, 100)  # whoever reads the output is not to wait for it
    time.sleep(20)

child = multiprocessing.get_context("fork").Process(target=wait)
child.start()
atexit.register(child.kill) if KILL else None
"""


@pytest.mark.parametrize("options", [[], ["--no-patch"]])
@pytest.mark.parametrize(("code", "status"), [("", 0), ("1 / 0\n", 3)])
@pytest.mark.parametrize("started", [THREAD, CHILD.replace("KILL", "True"), CHILD.replace("KILL", "False")])
def test_check_ends_whatever_the_application_has_started(here, options, started, code, status):
    before = "import atexit, os, time\natexit.register(print, 'bye')\n"
    (here / "starts.py").write_text(APP + before + started + code)
    begun = time.monotonic()
    with Command(here, "--check", *options, "starts") as command:
        found, out, _ = command.rest()
    assert time.monotonic() - begun < 15
    assert found == status
    assert out.startswith("ok: " if status == 0 else "")
    assert out.endswith("bye\n") or "False" in started  # for that one the exit waits, until it is cut short


@pytest.mark.parametrize(
    "options",
    [["-b", ":7999,[::]:7999"], ["-b", ":0,:0,127.0.0.1:0"], ["-b", ":7999,127.0.0.1:7999", "--reuse-port"],
     ["-b", "127.0.0.1:7999,127.0.0.2:7999,unix:s,unix:t"]],
)  # fmt: skip
def test_check_lets_addresses_stand_side_by_side(here, options):
    with Command(here, "--check", *options, "web") as command:
        code, out, err = command.rest()
    assert (code, err) == (0, "") or "[::]:7999: this machine has no such address" in err


def test_check_beside_the_server_that_is_checked_says_ok(here):
    options = ["-b", "unix:s", "-p", "pid", "web"]
    with Command(here, "-b", "127.0.0.1:0", *options) as server:
        address = re.search(r"http://([^\s,]+)", server.until("HUP reloads"))[1]
        with Command(here, "--check", "-b", address, *options) as command:
            ok = f"ok: web at {address}, unix:s, interface: WSGI (detected)\n"
            assert command.rest() == (0, ok, "")
        assert (here / "s").is_socket() and (here / "pid").read_text() == f"{server.pid}\n"
        server.send_signal(signal.SIGTERM)
        server.rest()


@pytest.mark.parametrize("module", ["raise ImportError('not for this Python')", "", "1 / 0"])
def test_check_imports_what_reload_needs(here, module):
    (here / "watchfiles.py").write_text(module)
    with Command(here, "--check", "--reload", "web") as command:
        code, out, err = command.rest()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("greenhttp: reload: the package watchfiles cannot be imported: ")


CANNOT_ANSWER = """
def create_app(): pass
def three(a, b, c): pass
def keyword(*, request): pass
class Shop:
    def __call__(self, environ, start_response): pass
app = create_app
"""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["web:create_app"], "create_app takes no arguments; if it is a factory, give web:create_app()"),
        (["web"], "create_app takes no arguments; if it is a factory, give web:app()"),
        (["web:Shop"], "Shop takes no arguments; if it is a factory, give web:Shop()"),
        (["web:three"], "three takes neither one argument (request) nor two (environ, start_response);"),
        (["web:keyword"], "keyword takes neither one argument (request) nor two (environ, start_response);"),
        (["--interface", "native", "web:three"], "three does not take the one argument of a handler (request);"),
    ],
)
def test_what_cannot_answer_is_not_served(here, arguments, line):
    (here / "web.py").write_text(CANNOT_ANSWER)
    for more in (["--check"], ["-b", "127.0.0.1:0"], ["-b", "127.0.0.1:0", "-w", "1"]):
        with Command(here, *more, *arguments) as command:
            code, out, err = command.rest()
        assert (code, out) == (3, "")
        assert line in err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("create_app", "create_app takes one argument, so it is served as a handler; if it is a factory, call it in"),
        ("create", "create takes one argument, so it is served as a handler; if it is a factory, call it in"),
        ("echo", "the handler's argument looks like a stream; if it is a stream handler, give --interface"),
    ],
)
def test_check_names_what_may_not_be_meant(here, name, said):
    (here / "web.py").write_text(
        "def create_app(config): pass\ndef create(env, workers=1): pass\ndef echo(stream): pass\n"
    )
    with Command(here, "--check", f"web:{name}") as command:
        ok = f"ok: web:{name} at 127.0.0.1:8000, interface: native handler (detected)\n"
        code, out, err = command.rest()
    assert (code, out, err.count("\n")) == (0, ok, 1)
    assert err.startswith(f"greenhttp: {said} ")


def test_check_makes_no_log_files(here):
    with Command(here, "--check", "--access-logfile", "a.log", "--error-logfile", "e.log", "web") as command:
        assert command.rest()[::2] == (0, "")
    assert not (here / "a.log").exists() and not (here / "e.log").exists()


def test_a_format_that_cannot_be_is_said_before_the_application_is_imported(here):
    (here / "web.py").write_text("raise RuntimeError\n")
    with Command(here, "--access-log-format", "%(zz)s", "web") as command:
        code, out, err = command.rest()
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_stream_handlers_have_no_access_log_which_is_said_once(here):
    (here / "web.py").write_text("def app(stream): pass\n")
    options = ["--interface", "stream", "--access-logfile", "none/x", "-b", "127.0.0.1:0", "web"]
    line = "access_logfile is ignored: stream handlers have no access log\n"
    with Command(here, "--check", *options) as command:
        assert command.rest()[::2] == (0, f"greenhttp: {line}")
    with Command(here, *options) as command:
        assert command.until("Ctrl-C").count(line) == 1


def test_settings_that_do_nothing_for_streams_are_named_in_one_line(here):
    (here / "web.py").write_text("def app(stream): pass\n")
    options = ["--root-path", "/x", "--allowed-hosts", "a.test", "--forwarded-host", "--request-id-header", "X-Id"]
    options += ["--forwarded-field", "none", "--root-path-header", "X-Prefix", "--check", "web"]
    names = "forwarded_field, forwarded_host, root_path, root_path_header, allowed_hosts, request_id_header"
    with Command(here, "--interface", "stream", *options) as command:
        code, _, said = command.rest()
    assert code == 0
    assert said.splitlines()[-1] == f"greenhttp: no effect for stream handlers: {names}"


FAILING = """
import sys
import time

def app(environ, start_response):
    raise RuntimeError(environ["PATH_INFO"])
"""


def test_usr1_opens_the_log_again(tmp_path):
    (tmp_path / "web.py").write_text(FAILING)
    (tmp_path / "said.py").write_text(
        "import sys\nfrom greenhttp.program import running\n"
        "running.reopen.append(lambda: 1 / 0)\n"
        "running.reopen.append(lambda: print('reopened', file=sys.stderr, flush=True))\n"
        "from web import app\n"
    )
    log = tmp_path / "error.log"

    def fail(url):
        with pytest.raises(urllib.error.HTTPError, match="500") as caught:
            get(url)
        caught.value.close()

    with Command(tmp_path, "-b", "127.0.0.1:0", "--error-logfile", "error.log", "said") as command:
        url = command.url(log)
        fail(url + "/first")
        while "/first" not in log.read_text():
            time.sleep(0.01)
        log.rename(tmp_path / "old.log")
        command.send_signal(signal.SIGUSR1)
        command.until("reopened")
        command.send_signal(signal.SIGUSR1)  # by now the log itself is open too: it was added last
        command.until("reopened")
        fail(url + "/second")
        command.send_signal(signal.SIGTERM)
        assert command.rest()[0] == 0
    assert "RuntimeError: /first" in (tmp_path / "old.log").read_text()
    assert "RuntimeError: /second" in log.read_text()
    assert " ERROR a log file cannot be reopened, the old one is kept: division by zero\n" in log.read_text()


def test_a_log_that_cannot_be_written_is_one_line_and_exit_code_1(here):
    with Command(here, "-b", "127.0.0.1:0", "--error-logfile", "none/x", "web") as command:
        assert command.rest() == (1, "", "greenhttp: error_logfile: none/x: No such file or directory\n")


def test_a_sitecustomize_that_imports_too_much_is_named(here):
    (here / "sitecustomize.py").write_text("import requests\n")
    with Command(here, "-b", "127.0.0.1:0", "web", PYTHONPATH=f"{here}:{os.environ.get('PYTHONPATH', '')}") as command:
        first = plain(command.until("serving")).splitlines()[0]
    assert "requests" in first and "urllib3" in first
    assert first.startswith("WARNING imported before the patch: ")
    assert first.endswith("; their calls block. A sitecustomize or .pth file imports them")


@pytest.mark.parametrize("before", ["", "import requests\n"])
def test_an_application_that_patches_by_itself_is_told_what_it_imported_too_early(here, before):
    (here / "web.py").write_text(before + "import greenhttp.patch\n" + APP)
    with Command(here, "--no-patch", "--check", "web") as command:
        code, out, err = command.rest()
    assert (code, out.count("\n"), err.count("\n")) == (0, 1, bool(before))
    if before:
        assert err.startswith("greenhttp.patch: imported before the patch: ")
        assert "requests" in err and "click" not in err
        assert err.endswith('; their calls block. Make "import greenhttp.patch" the first line\n')


@pytest.mark.parametrize("arguments", [["--print-config"], ["--help"], ["--version"], ["--check", "web"]])
def test_output_that_nobody_reads_to_its_end_is_no_error(here, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "greenhttp", *arguments]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, cwd=here, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize(("argument", "code"), [("--bnd", 2), ("missing:app", 3)])
def test_errors_that_nobody_reads_end_it_quietly_and_with_their_exit_code(here, argument, code, buffered):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "greenhttp", argument]
    environ = {**os.environ, "PYTHONUNBUFFERED": buffered}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writing, cwd=here, env=environ, check=False)
    os.close(writing)
    assert (done.returncode, done.stdout) == (code, b"")


@pytest.mark.parametrize("arguments", [["web"], ["-c", "../s.py", "web"]])
def test_a_directory_that_was_removed_is_one_line(tmp_path, arguments):
    (tmp_path / "gone").mkdir()
    go = f"import os, sys\nfrom greenhttp.cli import main\nos.rmdir(os.getcwd())\nsys.exit(main({arguments!r}))\n"
    with Process(tmp_path / "gone", "-c", go) as process:
        code, out, err = process.rest()
    line = "greenhttp: the current directory: No such file or directory; enter one that exists, or give --chdir\n"
    assert (code, out, err) == (2, "", line)


def test_port_and_settings_come_from_the_environment(here):
    with Command(here, "web:app", GREENHTTP_BIND="127.0.0.1:0", GREENHTTP_CONCURRENCY="7") as command:
        assert "up to 7 requests at once" in command.until("requests at once")


def test_a_factory_is_called_with_the_arguments_that_the_command_line_has(here):
    (here / "web.py").write_text(
        APP + "def create(kind, workers=1):\n  def called(environ, start_response):\n"
        "    app(environ, start_response)\n    return [f'{kind} {workers}'.encode()]\n  return called\n"
    )
    with Command(here, "-b", "127.0.0.1:0", 'web:create("production", workers=2)') as command:
        assert get(command.url()) == b"production 2"
