"""gunicorn's server hooks, run by the command itself: real processes that write down which hook ran where.

Each line of the file `notes` is a process and what it says. `M` in what is expected stands for the supervisor's
process, `W1`, `W2` and so on for those of its workers.
"""

import contextlib
import http.client
import os
import re
import signal
import socket
import ssl
import sys
import time

import pytest

from greenhttp.settings.foreign import HOOKS_OF_MASTER, HOOKS_OF_WORKER
from tests.lines import plain
from tests.reload import Program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look at processes through /proc")

APP = """
import os
def app(environ, start_response):
    if environ["PATH_INFO"] == "/forever":
        while True:
            pass
    if environ["PATH_INFO"] == "/broken":
        raise ValueError("broken")
    start_response("200 OK", [("X-From", environ.get("HTTP_X_HOOK", ""))])
    return [str(os.getpid()).encode()]
"""

NOTE = """
import os
def note(*words):
    with open("notes", "a") as file:
        print(os.getpid(), *words, file=file)
"""

ALL = f"""{NOTE}
note("file", __name__)
def on_starting(server):
    note("on_starting", server.pid == os.getpid(), server.cfg.workers, server.num_workers)
    server.given = ["by on_starting"]
def on_reload(server): note("on_reload", len(server.WORKERS))
def when_ready(server): note("when_ready", server.address[0][0])
def pre_fork(server, worker):
    note("pre_fork", worker.age, worker)
    worker.given = worker.age
def post_fork(server, worker):
    given = getattr(worker, "given", None)
    note("post_fork", worker.age, given, worker.pid == os.getpid(), worker.ppid == server.pid, *server.given)
def post_worker_init(worker): note("post_worker_init", worker.app.callable.__name__, worker.alive)
def worker_int(worker): note("worker_int", worker.alive)
def worker_abort(worker): note("worker_abort")
def pre_exec(server): note("pre_exec")
def pre_request(worker, req):
    note("pre_request", req.path)
    req.headers.append(("X-HOOK", "yes"))
def post_request(worker, req, environ, resp): note("post_request", worker.nr, environ["PATH_INFO"], resp.status)
def child_exit(server, worker): note("child_exit", worker.age, worker.pid in server.WORKERS, worker.alive)
def worker_exit(server, worker): note("worker_exit", worker.nr)
def nworkers_changed(server, new_value, old_value): note("nworkers_changed", new_value, old_value)
def on_exit(server): note("on_exit", len(server.WORKERS))
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """start(text of the file, *options): the command with it, once it serves; ended at the end."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    programs = []

    def begin(text, *options, app=APP, ready=True):
        (tmp_path / "gunicorn.conf.py").write_text(text)
        program = Program(tmp_path, "-c", "gunicorn.conf.py", *options, app=app)
        programs.append(program)
        if ready:
            program.wait_for("Ctrl-C stops")
            many = int(options[options.index("-w") + 1]) if "-w" in options else 0
            until(lambda: sum("serves, process" in line for line in program.lines) == many)
        return program

    yield begin
    for program in programs:
        if program.process.poll() is None:
            for pid in [*workers(program), program.process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            program.process.wait()
        program.close()


def workers(program):
    pid = program.process.pid
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def ask(program, path="/"):
    peer = http.client.HTTPConnection("127.0.0.1", program.port, timeout=30)
    try:
        peer.request("GET", path, headers={"Connection": "close"})
        answer = peer.getresponse()
        return answer.status, answer.headers["X-From"], answer.read()
    finally:
        peer.close()


def ended(program):
    code = program.process.wait(60)
    program.close()
    return code


def notes(program):
    """What was written down, with M and W<age> for processes."""
    path = program.where / "notes"
    lines = path.read_text().splitlines() if path.exists() else []
    names = {str(program.process.pid): "M"}
    for pid, age in re.findall(r"^(\d+) post_fork (\d+)", "\n".join(lines), re.MULTILINE):
        names.setdefault(pid, f"W{age}")
    return [f"{names.get(pid, 'other')} {rest}" for pid, _, rest in (line.partition(" ") for line in lines)]


def of(program, who):
    """Those of one process, without the file itself."""
    return [line[len(who) + 1 :] for line in notes(program) if line.startswith(f"{who} ") and " file" not in line]


def came(program, line, times=1):
    until(lambda: notes(program).count(line) >= times)


def test_every_hook_of_one_worker_in_order(start):
    program = start(ALL, "-w", "1")
    assert ask(program)[:2] == (200, "yes")
    came(program, "W1 post_request 1 / 200 OK")
    assert program.stop() == 0
    assert [line for line in notes(program) if " file" not in line] == [
        "M nworkers_changed 1 None",
        "M on_starting True 1 1",
        "M when_ready 127.0.0.1",
        "M pre_fork 1 <Worker [booting]>",
        "W1 post_fork 1 1 True True by on_starting",
        "W1 post_worker_init app True",
        "W1 pre_request /",
        "W1 post_request 1 / 200 OK",
        "W1 worker_exit 1",
        "M child_exit 1 False False",
        "M on_exit 0",
    ]
    # read apart for the settings, then in the supervisor, then in the worker
    assert [line for line in notes(program) if " file" in line] == [
        f"{who} file __config__" for who in ("other", "M", "W1")
    ]
    assert "Traceback" not in "".join(program.lines) and "hooks" not in "".join(program.lines)


def test_a_reload_and_the_number_of_workers(start):
    program = start(ALL, "-w", "1")
    program.send(signal.SIGTTIN)
    program.wait_for("worker 2 serves")
    program.send(signal.SIGTTOU)
    came(program, "M child_exit 1 False False")
    program.send(signal.SIGHUP)
    came(program, "M child_exit 2 False False")
    assert program.stop() == 0
    assert of(program, "M") == [
        "nworkers_changed 1 None", "on_starting True 1 1", "when_ready 127.0.0.1", "pre_fork 1 <Worker [booting]>",
        "nworkers_changed 2 1", "pre_fork 2 <Worker [booting]>",
        "nworkers_changed 1 2", "child_exit 1 False False",
        "on_reload 1", "pre_fork 3 <Worker [booting]>", "child_exit 2 False False",
        "child_exit 3 False False", "on_exit 0",
    ]  # fmt: skip
    for age in (1, 2, 3):
        assert of(program, f"W{age}") == [
            f"post_fork {age} {age} True True by on_starting", "post_worker_init app True", "worker_exit 0",
        ]  # fmt: skip


def test_a_reload_reads_the_hooks_of_the_supervisor_anew(start):
    program = start(f"{NOTE}\ndef child_exit(server, worker): note('old')", "-w", "1")
    text = f"{NOTE}\ndef on_reload(server): note('new', server.cfg.max_requests)\nmax_requests = 9\n"
    (program.where / "gunicorn.conf.py").write_text(text)
    program.send(signal.SIGHUP)
    program.wait_for("generation 2 has taken over")
    (program.where / "gunicorn.conf.py").write_text("1 / 0")
    program.send(signal.SIGHUP)
    program.wait_for("not reloaded, nothing was changed")
    assert ask(program)[0] == 200
    assert program.stop() == 0
    assert notes(program) == ["M new 9"]


def test_an_upgrade(start):
    program = start(ALL, "-w", "1")
    program.send(signal.SIGUSR2)
    came(program, "M child_exit 1 False False")
    assert ask(program)[0] == 200
    assert program.stop() == 0
    beginning = ["nworkers_changed 1 None", "on_starting True 1 1", "when_ready 127.0.0.1"]
    assert of(program, "M") == [
        *beginning, "pre_fork 1 <Worker [booting]>", "pre_exec",
        *beginning, "pre_fork 2 <Worker [booting]>", "child_exit 1 False False",
        "child_exit 2 False False", "on_exit 0",
    ]  # fmt: skip


def test_int_is_told_to_the_workers(start):
    program = start(ALL, "-w", "1")
    assert program.stop(signal.SIGINT) == 0
    assert of(program, "W1")[-2:] == ["worker_int False", "worker_exit 0"]
    assert of(program, "M")[-2:] == ["child_exit 1 False False", "on_exit 0"]


def test_a_worker_that_hangs_runs_worker_abort(start):
    program = start(ALL, "-w", "1", "--timeout", "2", "--hub-warn", "0")
    peer = http.client.HTTPConnection("127.0.0.1", program.port, timeout=60)
    peer.request("GET", "/forever")
    came(program, "M child_exit 1 False False")
    peer.close()
    program.wait_for("in app")  # where it was
    until(lambda: program.process.poll() is not None or "post_worker_init app True" in of(program, "W2"))
    assert program.stop() == 0
    assert of(program, "W1")[-2:] == ["pre_request /forever", "worker_abort"]


def test_hooks_that_need_workers_get_one(start):
    program = start(f"{NOTE}\ndef pre_fork(server, worker): note('pre_fork', server.num_workers)", ready=False)
    program.wait_for("1 worker under process")
    assert program.stop() == 0
    assert notes(program) == ["M pre_fork 1"]


def test_one_process_alone(start):
    program = start(ALL, "-w", "0")
    assert ask(program)[:2] == (200, "yes")
    came(program, "M post_request 1 / 200 OK")
    assert program.stop(signal.SIGINT) == 0
    assert of(program, "M") == [
        "on_starting True 0 1", "post_fork 1 None True True by on_starting", "post_worker_init app True",
        "when_ready 127.0.0.1", "pre_request /", "post_request 1 / 200 OK", "worker_int False", "worker_exit 1",
        "on_exit 1",
    ]  # fmt: skip
    said = "these hooks run only with workers: "
    line = next(line for line in program.lines if said in line)
    assert line.endswith("; give -w 1 or more\n")
    names = line.partition(said)[2].partition(";")[0].split(", ")
    ran = {line.split()[0] for line in of(program, "M")}
    assert {*names, *ran} == {*HOOKS_OF_MASTER, *HOOKS_OF_WORKER} - {"worker_abort"} and ran.isdisjoint(names)


def test_one_process_alone_runs_worker_abort(start):
    program = start(f"{NOTE}\ndef worker_abort(worker): note('aborted', worker.alive)")
    program.send(signal.SIGABRT)
    assert ended(program) == -signal.SIGABRT
    assert notes(program) == ["M aborted False"]


def test_preload(start):
    program = start(ALL, "-w", "2", "--preload")
    assert program.stop() == 0
    assert of(program, "M")[:3] == ["nworkers_changed 2 None", "on_starting True 2 2", "when_ready 127.0.0.1"]
    for age in (1, 2):
        assert of(program, f"W{age}") == [
            f"post_fork {age} {age} True True by on_starting", "post_worker_init app True", "worker_exit 0",
        ]  # fmt: skip
    assert [line for line in notes(program) if " file" in line] == ["other file __config__", "M file __config__"]


def test_without_hooks_of_its_own_the_supervisor_does_not_run_the_file(start):
    program = start(f"{NOTE}\nnote('file')\ndef post_fork(server, worker): note('post_fork', worker.age)", "-w", "1")
    assert program.stop() == 0
    assert notes(program) == ["other file", "W1 file", "W1 post_fork 1"]


def test_with_hooks_of_its_own_the_supervisor_has_neither_gevent_nor_the_application(start):
    program = start(f"{NOTE}\nimport sys\ndef on_exit(server): note('gevent' in sys.modules, 'web' in sys.modules)",
                    "-w", "1")  # fmt: skip
    assert program.stop() == 0
    assert notes(program) == ["M False False"]


def test_what_the_file_imports_in_the_supervisor_is_named(start, tmp_path):
    (tmp_path / "early_bird.py").write_text("from time import sleep\n")
    program = start("import early_bird\ndef on_exit(server): pass\n", "-w", "1")
    assert program.stop() == 0
    said = "imported before the patch: early_bird; their calls block. The supervisor runs the settings file"
    assert "".join(program.lines).count(said) == 1


def test_what_hooks_say_is_logged(start):
    text = "".join(
        f"def {name}({', '.join(words)}): {words[0]}.log.info('%s said', '{name}')\n"
        for name, words in {**HOOKS_OF_MASTER, **HOOKS_OF_WORKER}.items()
    )
    program = start(text, "-w", "1")
    assert ask(program)[0] == 200
    program.wait_for("post_request said")
    assert program.stop() == 0
    said = [plain(line).split()[1] for line in program.lines if line.endswith(" said\n")]
    assert said == [
        "nworkers_changed", "on_starting", "when_ready", "pre_fork", "post_fork", "post_worker_init", "pre_request",
        "post_request", "worker_exit", "child_exit", "on_exit",
    ]  # fmt: skip


def test_a_hook_that_takes_its_worker_out_of_service(start):
    program = start("def post_request(worker, req):\n    worker.alive = worker.nr < 2\n", "-w", "1")
    first = ask(program)[2]
    assert ask(program)[2] == first
    program.wait_for("worker 1 will be replaced: a hook set worker.alive to False")
    program.wait_for("worker 2 serves")
    until(lambda: int(first) not in workers(program))
    assert ask(program)[2] != first
    assert program.stop() == 0


def test_hooks_of_requests_of_a_native_handler_are_named(start):
    program = start("def pre_request(worker, req): pass", app="def app(request):\n    return 'native'\n")
    assert "".join(program.lines).count("pre_request and post_request do not run: only WSGI applications") == 1
    assert ask(program)[2] == b"native"
    assert program.stop() == 0


# ---- hooks that raise


@pytest.mark.parametrize("options", [(), ("-w", "2")], ids=["alone", "workers"])
@pytest.mark.parametrize("name", ["on_starting", "when_ready", "post_fork", "post_worker_init"])
def test_a_hook_that_raises_at_the_start_ends_it_with_its_traceback(start, name, options):
    words = {**HOOKS_OF_MASTER, **HOOKS_OF_WORKER}[name]
    program = start(f"def {name}({', '.join(words)}):\n    1 / 0\n", *options, ready=False)
    assert ended(program) == 3
    said = "".join(program.lines)
    assert said.count("ZeroDivisionError: division by zero") == 1 and said.count("Traceback") == 1
    assert said.count(f"greenhttp: gunicorn.conf.py: {name} failed; see the traceback above\n") == 1
    assert f"line 2, in {name}\n" in said and "hooks.py" not in said


def test_pre_fork_that_raises_at_the_start(start):
    program = start("def pre_fork(server, worker):\n    raise SystemExit('no')\n", "-w", "2", ready=False)
    assert ended(program) == 3
    said = "".join(program.lines)
    assert said.count("SystemExit: no") == 1
    assert "greenhttp: gunicorn.conf.py: pre_fork failed; see the traceback above\n" in said


def test_pre_fork_that_raises_later_is_a_failed_start(start):
    program = start("def pre_fork(server, worker):\n    1 / (worker.age - 2)\n", "-w", "1")
    first = ask(program)[2]
    program.send(signal.SIGHUP)
    program.wait_for("the new generation failed (gunicorn.conf.py: pre_fork failed); the old one keeps serving")
    assert ask(program)[2] == first
    program.send(signal.SIGHUP)
    program.wait_for("generation 3 has taken over")
    until(lambda: int(first) not in workers(program))  # it answers what is in the queue before it goes
    assert ask(program)[2] != first
    assert program.stop() == 0
    assert "".join(program.lines).count("ZeroDivisionError") == 1


def test_no_hook_that_raises_later_ends_the_supervisor(start):
    names = ("nworkers_changed", "child_exit", "on_reload", "pre_exec", "on_exit")
    text = "".join(f"def {name}({', '.join(HOOKS_OF_MASTER[name])}):\n    1 / 0\n" for name in names)
    text = text.replace("    1 / 0", "    if old_value: raise SystemExit(7)", 1)
    program = start(text, "-w", "1")
    pid = program.process.pid
    program.send(signal.SIGTTIN)
    program.wait_for("worker 2 serves")
    program.send(signal.SIGHUP)
    program.wait_for("generation 2 has taken over")
    until(lambda: sum("child_exit failed" in line for line in program.lines) == 2)
    program.send(signal.SIGUSR2)
    program.wait_for("not upgraded, nothing was changed: pre_exec failed")
    assert ask(program)[0] == 200 and program.process.pid == pid
    assert program.stop() == 0
    failing = re.compile(r"ERROR gunicorn\.conf\.py: (\w+) failed\n")
    failed = [match[1] for line in program.lines if (match := failing.fullmatch(plain(line)))]
    assert failed == [
        "nworkers_changed", "on_reload", "nworkers_changed", "child_exit", "child_exit", "pre_exec", "child_exit",
        "on_exit",
    ]  # fmt: skip
    assert "".join(program.lines).count("Traceback") == len(failed)


def test_worker_exit_that_raises_is_logged(start):
    program = start("def worker_exit(server, worker):\n    1 / 0\n", "-w", "1")
    assert program.stop() == 0
    said = "".join(program.lines)
    assert "ERROR gunicorn.conf.py: worker_exit failed" in said and said.count("ZeroDivisionError") == 1


def test_pre_request_that_raises_is_an_error_of_the_application(start):
    program = start("def pre_request(worker, req):\n    1 / 0\n", "-w", "1")
    assert ask(program)[0] == 500
    assert program.stop() == 0
    assert "".join(program.lines).count("ZeroDivisionError: division by zero") == 1


# ---- TLS


def secured(directory):
    certificates = pytest.importorskip("tests.tls.certificates")
    certfile, keyfile = certificates.leaf("localhost").write(directory)
    return f"certfile = {certfile!r}\nkeyfile = {keyfile!r}\n"


CONTEXT = f"""{NOTE}
import ssl
def ssl_context(config, default_ssl_context_factory):
    note(config.is_ssl, config.certfile.endswith("server.pem"), config.keyfile[-4:], config.cert_reqs, config.ca_certs)
    context = default_ssl_context_factory()
    context.set_alpn_protocols(["of the hook"])
    return context
"""


@pytest.mark.parametrize("options", [("-w", "0"), ("-w", "1")], ids=["alone", "worker"])
def test_the_hook_makes_the_context_of_each_certificate(start, tmp_path, options):
    program = start(secured(tmp_path) + CONTEXT, *options)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["of the hook"])
    with (
        socket.create_connection(("127.0.0.1", program.port), 30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        assert sock.selected_alpn_protocol() == "of the hook"
    assert program.stop() == 0
    said = [line.split(" ", 1)[1] for line in (tmp_path / "notes").read_text().splitlines()]
    assert said == ["True True .key 0 None"]


@pytest.mark.parametrize("options", [("-w", "0"), ("-w", "1")], ids=["alone", "worker"])
@pytest.mark.parametrize(("body", "said"), [
    ("1 / 0", "ssl_context failed; see the traceback above"),
    ("return None", "ssl_context returned NoneType; an ssl.SSLContext is needed"),
    ("import ssl; return ssl.create_default_context()", "returned a context for clients; make it with ssl.PROTOCOL"),
])  # fmt: skip
def test_a_hook_that_makes_no_context_ends_the_start(start, tmp_path, options, body, said):
    text = f"{secured(tmp_path)}def ssl_context(config, factory):\n    {body}\n"
    program = start(text, *options, ready=False)
    assert ended(program) == 3
    lines = "".join(program.lines)
    assert lines.count(said) == 1 and ("ZeroDivisionError" in lines) == (body == "1 / 0")
