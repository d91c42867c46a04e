"""greenhttp -w N as processes: requests, workers, signals. tests/reload has a long run of the first."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.reload import ANSWERED, KINDS, LOST, Program, children, finish, rounds, table

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look at processes through /proc")

APP = """
import os, re, time
import helper
def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/wait":
        print("waiting", file=environ["wsgi.errors"], flush=True)
        while not os.path.exists("go"):
            time.sleep(0.01)
    elif path == "/block":
        end = time.monotonic() + 2
        while time.monotonic() < end:
            pass
    elif path == "/forever":
        while True:
            pass
    elif path == "/regex":
        re.match(r"(a+)+$", "a" * 60 + "b")
    elif path == "/crash":
        os.kill(os.getpid(), 11)
    elif path == "/exit":
        os._exit(7)
    answer = f"{os.getpid()} {os.getppid()}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
"""


@pytest.fixture
def start(tmp_path):
    """start(*options): the command with that application; killed at the end."""
    programs = []

    def begin(
        *options: str, app: str = APP, ready: bool = True, fds=(), port: int = 0, before=None, **environ: str
    ) -> Program:
        program = Program(tmp_path, *options, app=app, fds=fds, port=port, before=before, **environ)
        programs.append(program)
        if ready:
            program.wait_for("HUP reloads")
            many = int(options[options.index("-w") + 1])
            until(lambda: sum("serves, process" in line for line in program.lines) == many)
        return program

    (tmp_path / "helper.py").write_text("")
    yield begin
    for program in programs:
        program.end()


def ask(program: Program, path: str = "/", timeout: float = 30) -> list[int]:
    """The answering worker and its parent."""
    client = http.client.HTTPConnection("127.0.0.1", program.port, timeout=timeout)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        assert answer.status == 200
        return [int(word) for word in answer.read().split()]
    finally:
        client.close()


def is_gone(pid: int) -> bool:
    """Whether the process has ended; who inherited it may not have looked yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_no_request_is_lost_over_reloads_and_upgrades(tmp_path):
    program = Program(tmp_path, "-w", "2", "--max-requests", "5000", "--drain-linger", "1")
    clients = [kind(program.port) for kind in KINDS]
    try:
        rounds(program, 2, 1, clients)
        finish(clients, 200)
    finally:
        code = program.stop()
    said = table(clients) + "".join(error for client in clients for error in client.errors)
    assert code == 0, said
    for client in clients:
        assert client.outcomes[LOST] == 0 and client.outcomes[ANSWERED] >= 200 and len(client.versions) >= 2, said


def test_workers_answer_and_the_supervisor_has_neither_gevent_nor_the_application(start):
    program = start("-w", "2")
    worker, parent = ask(program)
    assert parent == program.process.pid and worker in children(parent)
    with open(f"/proc/{parent}/maps", encoding="ascii") as file:
        maps = file.read()
    assert "gevent" not in maps and "_greenlet" not in maps
    assert program.stop() == 0


@pytest.mark.parametrize("option", [(), ("--preload",)])
def test_as_many_workers_as_processors(start, option):
    program = start("-w", "auto", *option, ready=False)
    program.wait_for("HUP reloads")
    until(lambda: len(children(program.process.pid)) == len(os.sched_getaffinity(0)))
    assert ask(program)[1] == program.process.pid
    assert program.stop() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGQUIT, 0)])
def test_it_stops_and_leaves_nobody(start, number, code):
    program = start("-w", "2")
    workers = children(program.process.pid)
    assert len(workers) == 2
    assert program.stop(number) == code
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", program.port))


# What is registered first runs last: behind all that the program and the application do at their exit.
AT_EXIT = """
import atexit, os, time
def last(me=os.getpid()):
    if os.getpid() == me:
        open("down", "w").close()
        while not os.path.exists("go"):
            time.sleep(0.01)
atexit.register(last)
"""


@pytest.mark.parametrize("options", [("-w", "1"), ()])
def test_no_signal_changes_what_it_ends_with_while_it_goes_down(start, tmp_path, options):
    (tmp_path / "sitecustomize.py").write_text(AT_EXIT)
    program = start(*options, ready=False, PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[2]}")
    program.wait_for("Ctrl-C stops at once")
    program.send(signal.SIGTERM)
    until(lambda: (tmp_path / "down").exists())
    for name in ("TERM", "INT", "HUP", "QUIT", "USR1"):
        program.send(getattr(signal, f"SIG{name}"))
    (tmp_path / "go").touch()
    assert program.process.wait(60) == 0


@pytest.mark.parametrize("options", [("-w", "1", "--preload"), ()])
def test_ctrl_c_ends_what_an_application_does_for_ever_at_its_exit(start, tmp_path, options):
    program = start(*options, app=APP + AT_EXIT, ready=False)
    program.wait_for("Ctrl-C stops at once")
    program.send(signal.SIGTERM)
    until(lambda: (tmp_path / "down").exists())
    program.send(signal.SIGINT)
    assert program.process.wait(60) == 0


def test_term_lets_a_running_request_finish_and_ctrl_c_after_it_does_not(start, tmp_path):
    for ctrl_c in (False, True):
        program = start("-w", "1")
        with socket.create_connection(("127.0.0.1", program.port), timeout=60) as client:
            client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
            program.wait_for("waiting")
            program.send(signal.SIGTERM)
            program.wait_for("stopping; running requests have 30 s")
            if ctrl_c:
                program.send(signal.SIGINT)
            else:
                (tmp_path / "go").touch()
                assert client.recv(65536).startswith(b"HTTP/1.1 200")
            assert program.process.wait(60) == 0
        (tmp_path / "go").unlink(missing_ok=True)


def test_while_it_stops_nobody_is_taken_into_a_queue_that_nobody_serves(start, tmp_path):
    program = start("-w", "1", "-b", "unix:s")
    with socket.socket(socket.AF_UNIX) as client, socket.socket(socket.AF_UNIX) as late:
        client.connect(str(tmp_path / "s"))
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        program.wait_for("waiting")
        program.send(signal.SIGTERM)
        until(lambda: not (tmp_path / "s").exists())
        with pytest.raises(FileNotFoundError):
            late.connect(str(tmp_path / "s"))
        (tmp_path / "go").touch()
        client.settimeout(60)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    assert program.process.wait(60) == 0


@pytest.mark.parametrize("path", ["/crash", "/exit"])
def test_a_worker_that_dies_is_named_and_replaced(start, path):
    program = start("-w", "1")
    (worker, _) = ask(program)
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(program, path)
    program.wait_for("SIGSEGV" if path == "/crash" else "exit code 7")
    assert any(f"GET {path}" in line for line in program.lines)
    assert ask(program)[0] != worker
    assert program.stop() == 0


def test_a_worker_that_somebody_kills_is_replaced_and_the_log_says_that_it_was_not_us(start):
    program = start("-w", "1")
    os.kill(ask(program)[0], signal.SIGKILL)
    program.wait_for("killed by SIGKILL, not by its supervisor")
    ask(program)
    assert program.stop() == 0


def test_a_blocked_hub_is_named_with_line_and_request(start):
    program = start("-w", "1", "--hub-warn", "200ms")
    ask(program, "/block")
    program.wait_for("the hub is free again")
    line = next(line for line in program.lines if "the hub is blocked" in line)
    assert "web.py:" in line and "in app(), GET /block" in line
    assert program.stop() == 0


@pytest.mark.parametrize("path", ["/forever", "/regex"])
def test_a_hung_worker_says_where_it_is_and_is_replaced(start, path):
    """A loop in Python is seen by the thread that watches; C code that keeps the interpreter, by the supervisor."""
    program = start("-w", "1", "--timeout", "2", "--hub-warn", "0")
    with socket.create_connection(("127.0.0.1", program.port), timeout=60) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        here = program.wait_for("is hung: its event loop is blocked")
        program.wait_for("in progress for", here)
        program.wait_for("serves, process", here)
    said = "".join(program.lines)
    assert f"GET {path}" in said
    assert ("the stacks that follow are those of its threads" in said) == (path == "/regex")
    assert 'web.py", line' in said
    assert ask(program)
    assert program.stop() == 0


@pytest.mark.parametrize(
    "broken", ["x = (", "import nothing_of_that_name", "import os; os._exit(9)", "raise SystemExit(2)"]
)
def test_a_generation_that_cannot_start_leaves_the_old_one_serving(start, tmp_path, broken):
    program = start("-w", "2")
    before = set(children(program.process.pid))
    (tmp_path / "helper.py").write_text(broken)
    program.send(signal.SIGHUP)
    here = program.wait_for("the old one keeps serving")
    assert ask(program)[0] in before and set(children(program.process.pid)) == before
    if "import nothing" in broken:
        assert sum("No module named 'nothing_of_that_name'" in line for line in program.lines) == 1
    (tmp_path / "helper.py").write_text("")
    program.send(signal.SIGHUP)
    program.wait_for("has taken over", here)
    until(lambda: not before & set(children(program.process.pid)))
    assert ask(program)[0] not in before
    assert program.stop() == 0


def test_a_reload_to_what_is_broken_before_the_first_worker_serves_does_not_end_it(start, tmp_path):
    """The first worker is held up until the new generation has failed."""
    program = start("-w", "1", ready=False, app=APP.replace("import helper", "import helper\nhelper.wait()"))
    wait = "import os, time\ndef wait():\n    print('starting', flush=True, file=__import__('sys').stderr)\n"
    (tmp_path / "helper.py").write_text(wait + "    while not os.path.exists('go'):\n        time.sleep(0.01)\n")
    program.wait_for("starting")
    (tmp_path / "helper.py").write_text("x = (")
    program.send(signal.SIGHUP)
    program.wait_for("the old one goes on starting")
    (tmp_path / "go").touch()
    program.wait_for("HUP reloads")
    assert ask(program)
    assert program.stop() == 0


def test_a_reload_looks_for_pythonpath_in_the_directory_of_chdir(start, tmp_path):
    (tmp_path / "inner" / "lib").mkdir(parents=True)
    (tmp_path / "inner" / "web.py").write_text(APP)
    (tmp_path / "inner" / "lib" / "helper.py").touch()
    (tmp_path / "s.py").write_text("chdir = 'inner'\npythonpath = 'lib'\n")
    program = start("-w", "1", "-c", "s.py")
    before = ask(program)[0]
    program.send(signal.SIGHUP)
    program.wait_for("has taken over")
    (tmp_path / "s.py").write_text("chdir = 'inner'\npythonpath = 'lib, absent'\n")
    program.send(signal.SIGHUP)
    program.wait_for("not reloaded, nothing was changed: pythonpath: absent: there is no such directory or archive")
    here = len(program.lines)
    (tmp_path / "s.py").write_text("chdir = 'inner'\npythonpath = 'lib'\n")
    program.send(signal.SIGHUP)
    program.wait_for("has taken over", here)
    until(lambda: ask(program)[0] != before)
    assert program.stop() == 0


def test_a_remark_about_settings_is_logged_once_for_each_reload_that_has_them(start, tmp_path):
    def reload(addresses: str, until: str, by: int = signal.SIGHUP) -> list[str]:
        """The lines about trust that come of it."""
        (tmp_path / "s.toml").write_text(f'forwarded_allow_ips = "{addresses}"\n')
        here = len(program.lines)
        program.send(by)
        end = program.wait_for(until, here)
        return [line for line in program.lines[here:end] if "forge" in line]

    (tmp_path / "s.toml").write_text('forwarded_allow_ips = "10.0.0.1"\n')
    program = start("-w", "2", "-c", "s.toml")
    for addresses, many in (("*", 1), ("*", 1), ("10.0.0.1", 0)):
        lines = reload(addresses, "has taken over")
        assert len(lines) == many, lines
        assert all(" WARNING " in line and f"[{program.process.pid}" in line for line in lines), lines
    assert not reload("*, nowhere", "not reloaded")
    assert len(reload("*", "has taken over", by=signal.SIGUSR2)) == 1
    here = len(program.lines)
    assert program.stop() == 0
    program.reader.join()
    assert not [line for line in program.lines[here:] if "forge" in line]


def test_a_generation_that_dies_right_after_it_is_ready_does_too(start, tmp_path):
    program = start("-w", "1")
    before = children(program.process.pid)
    (tmp_path / "helper.py").write_text(
        "import os, signal, threading, time\nthreading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()\n"
    )
    program.send(signal.SIGHUP)
    program.wait_for("the old one keeps serving")
    assert children(program.process.pid) == before
    assert ask(program)[0] == before[0]
    assert program.stop() == 0


@pytest.mark.parametrize("options", [(), ("--preload",)])
def test_an_application_that_cannot_answer_replaces_nothing(start, tmp_path, options):
    """By HUP and by USR2. With --preload HUP is an upgrade too."""
    program = start("-w", "1", *options)
    before = children(program.process.pid)
    web = tmp_path / "web.py"
    web.write_text(web.read_text().replace("app(environ, start_response)", "app()"))
    program.send(signal.SIGHUP)
    here = program.wait_for("not upgraded, nothing was changed" if options else "the old one keeps serving")
    program.send(signal.SIGUSR2)
    program.wait_for("not upgraded, nothing was changed", here)
    assert sum("app takes no arguments; if it is a factory, give web:app()" in line for line in program.lines) == 2
    assert children(program.process.pid) == before and ask(program)[0] == before[0]
    assert program.stop() == 0


def test_a_program_that_fails_its_check_is_not_upgraded_to(start, tmp_path):
    program = start("-w", "1")
    before = children(program.process.pid)
    (tmp_path / "helper.py").write_text("x = (")
    program.send(signal.SIGUSR2)
    program.wait_for("not upgraded, nothing was changed")
    assert children(program.process.pid) == before and ask(program)[0] == before[0]
    assert program.stop() == 0


def test_an_upgrade_keeps_the_number_of_the_process_and_replaces_all_workers(start):
    program = start("-w", "2")
    before = set(children(program.process.pid))
    program.send(signal.SIGUSR2)
    program.wait_for("has taken over")
    until(lambda: not before & set(children(program.process.pid)))
    worker, parent = ask(program)
    assert parent == program.process.pid and worker not in before
    assert program.stop() == 0


@pytest.mark.parametrize(
    ("broken", "code", "said"),
    [("x = (", 3, "SyntaxError"), ("import nothing_of_that_name", 3, "No module named 'nothing_of_that_name'")],
)
def test_an_application_that_cannot_be_loaded_ends_it_with_one_traceback(start, tmp_path, broken, code, said):
    (tmp_path / "helper.py").write_text(broken)
    program = start("-w", "3", ready=False)
    assert program.process.wait(60) == code
    program.reader.join(10)
    assert sum(said in line for line in program.lines) == 1
    assert program.lines[-1].startswith("greenhttp: web:app could not be loaded")


def test_more_and_fewer_workers(start):
    program = start("-w", "1")
    program.send(signal.SIGTTIN)
    until(lambda: len(children(program.process.pid)) == 2)
    program.wait_for("worker 2 serves")
    program.send(signal.SIGTTOU)
    until(lambda: len(children(program.process.pid)) == 1)
    program.send(signal.SIGTTOU)
    program.wait_for("1 worker from now on", len(program.lines) - 1)
    assert ask(program)
    assert program.stop() == 0


def test_winch_lets_all_drain_connections_wait_and_hup_brings_them_back(start):
    program = start("-w", "2")
    program.send(signal.SIGWINCH)
    until(lambda: not children(program.process.pid))
    with socket.create_connection(("127.0.0.1", program.port), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        program.send(signal.SIGHUP)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    assert program.stop() == 0


def test_what_waits_after_winch_is_answered_before_term_ends_all(start):
    program = start("-w", "2")
    program.send(signal.SIGWINCH)
    until(lambda: not children(program.process.pid))
    clients = [socket.create_connection(("127.0.0.1", program.port), timeout=60) for _ in range(20)]
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    program.send(signal.SIGTERM)
    assert [client.recv(65536)[:12] for client in clients] == [b"HTTP/1.1 200"] * 20
    for client in clients:
        client.close()
    assert program.process.wait(60) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", program.port))


def test_after_winch_term_ends_at_once_where_nothing_waits(start):
    program = start("-w", "2")
    program.send(signal.SIGWINCH)
    until(lambda: not children(program.process.pid))
    assert program.stop() == 0
    assert sum("serves, process" in line for line in program.lines) == 2


def test_when_the_supervisor_is_killed_the_workers_leave_by_themselves(start):
    program = start("-w", "2")
    workers = children(program.process.pid)
    program.send(signal.SIGKILL)
    program.process.wait()

    until(lambda: all(map(is_gone, workers)))


def test_many_long_lived_connections_are_spread_evenly(start):
    program = start("-w", "4")
    clients = [socket.create_connection(("127.0.0.1", program.port), timeout=60) for _ in range(400)]
    counts: dict[bytes, int] = {}
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        worker = client.recv(65536).partition(b"\r\n\r\n")[2].split()[0]
        counts[worker] = counts.get(worker, 0) + 1
        client_count = len(counts)
    for client in clients:
        client.close()
    assert client_count == 4 and min(counts.values()) >= 60, counts
    assert program.stop() == 0


def test_the_application_may_be_loaded_before_the_workers(start, tmp_path):
    (tmp_path / "helper.py").write_text("import os\nopen('loaded', 'a').write(f'{os.getpid()}\\n')\n")
    program = start("-w", "2", "--preload")
    assert ask(program)[1] == program.process.pid
    assert (tmp_path / "loaded").read_text() == f"{program.process.pid}\n"
    assert program.stop() == 0


def test_a_worker_is_replaced_by_age_memory_and_requests(start):
    for option in (("--max-requests", "5"), ("--max-age", "300ms"), ("--max-rss", "1m")):
        program = start("-w", "1", *option)
        first = ask(program)[0]
        for _ in range(5):
            ask(program)
        program.wait_for("will be replaced")
        until(lambda first=first, program=program: ask(program)[0] != first)
        assert program.stop() == 0


def test_a_limit_of_memory_that_the_bare_worker_exceeds_is_a_warning_and_replaces_ever_more_slowly(start):
    program = start("-w", "1", "--max-rss", "1m")
    here = program.wait_for("MiB of 1 MiB (max_rss); it had ")
    assert "WARNING" in program.lines[here - 1]
    assert program.lines[here - 1].endswith("MiB when it had only loaded the application, so raise max_rss\n")
    for number in (2, 3):
        here = program.wait_for(f"worker {number} will be replaced: ", here)
        assert "INFO" in program.lines[here - 1]
        assert ask(program)
    assert program.stop() == 0


def test_a_warm_up_runs_in_each_worker_before_it_is_ready_and_its_failure_is_the_application_s(start, tmp_path):
    warm = "import os\ndef warm():\n    open('warm', 'a').write(f'{os.getpid()}\\n')\n"
    (tmp_path / "helper.py").write_text(warm)
    program = start("-w", "2", "--warm-up", "helper:warm")
    assert sorted(map(int, (tmp_path / "warm").read_text().split())) == sorted(children(program.process.pid))
    (tmp_path / "helper.py").write_text("def warm():\n    raise OSError('no database')\n")
    before = children(program.process.pid)
    program.send(signal.SIGHUP)
    program.wait_for("the old one keeps serving")
    assert sum("OSError: no database" in line for line in program.lines) == 1
    assert sorted(children(program.process.pid)) == sorted(before)
    assert program.stop() == 0


@pytest.mark.parametrize(
    ("name", "said"), [("helper:warn", "has no attribute warn"), ("helper", "give module:function")]
)
def test_a_warm_up_that_is_not_there_is_one_line(start, name, said, tmp_path):
    program = start("-w", "1", "--warm-up", name, ready=False)
    assert program.process.wait(60) == 3
    program.reader.join(10)
    assert len(program.lines) == 1 and said in program.lines[0]


def test_a_setting_given_as_off_asks_for_no_supervisor(start):
    program = start("--max-requests", "0", "--no-preload", "--no-reload", ready=False)
    program.wait_for("Ctrl-C stops at once")
    assert not children(program.process.pid)
    assert program.stop() == 0


def test_two_programs_share_a_port_that_both_say_may_be_shared(start):
    first = start("-w", "1", "--reuse-port")
    second = start("-w", "1", "--reuse-port", port=first.port)
    alone = start("-w", "1", port=first.port, ready=False)
    assert alone.process.wait(60) == 1
    seen = set()
    until(lambda: seen.add(ask(first)[1]) or seen == {first.process.pid, second.process.pid})
    assert (second.stop(), first.stop()) == (0, 0)


def test_who_sent_a_signal_stands_in_the_log_and_a_worker_that_others_stop_is_replaced(start):
    program = start("-w", "2")
    worker = children(program.process.pid)[0]
    os.kill(worker, signal.SIGTERM)
    line = program.lines[program.wait_for(" drains: SIGTERM, sent by process ") - 1]
    assert f"process {os.getpid()} (" in line
    until(lambda: worker not in children(program.process.pid) and len(children(program.process.pid)) == 2)
    assert not any("died" in line for line in program.lines)
    assert program.stop() == 0
    assert any(f"SIGTERM, sent by process {os.getpid()} (" in line for line in program.lines)


def test_workers_are_numbered_on_over_an_upgrade(start):
    program = start("-w", "2")
    program.send(signal.SIGUSR2)
    program.wait_for("has taken over")
    program.wait_for("worker 4 serves, process ")
    assert program.stop() == 0
    starts = [line for line in program.lines if "serves, process" in line]
    numbers = [int(line.split(" serves, process")[0].split()[-1]) for line in starts]
    assert sorted(numbers) == [1, 2, 3, 4]


def test_a_reload_says_which_settings_it_leaves_as_they_were(start, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("workers = 1\n")
    program = start("-c", str(file), ready=False)
    program.wait_for("HUP reloads")
    file.write_text("workers = 2\numask = '027'\nbacklog = 100\n")
    program.send(signal.SIGHUP)
    line = program.lines[program.wait_for("but a reload does not apply it") - 1]
    assert "umask, backlog: changed" in line
    until(lambda: len(children(program.process.pid)) == 2)
    assert program.stop() == 0


def test_inherited_sockets_and_ipv6_are_served_by_workers_and_kept_over_an_upgrade(start):
    with socket.socket(socket.AF_INET6) as six, socket.socket() as four:
        for sock, host in ((six, "::1"), (four, "127.0.0.1")):
            sock.bind((host, 0))
            sock.listen(64)
            os.set_inheritable(sock.fileno(), True)
        program = start("-w", "2", "-b", f"fd://{six.fileno()}", "-b", f"fd://{four.fileno()}", fds=(six, four))
        hosts = (("::1", six.getsockname()[1]), ("127.0.0.1", four.getsockname()[1]))

        def asked() -> list[bytes]:
            answers = []
            for address in hosts:
                with socket.create_connection(address, timeout=60) as client:
                    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    answers.append(client.makefile("rb").read())
            return answers

        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in asked())
        program.send(signal.SIGUSR2)
        program.wait_for("has taken over")
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in asked())
        assert program.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_the_file_of_a_unix_socket_has_the_owner_and_the_mode_that_are_asked_for(start, tmp_path):
    for options, owner in ((("--socket-owner", "12:34"), (12, 34)), (("--socket-owner", ":34"), (0, 34))):
        program = start("-w", "1", "-b", "unix:s", "--socket-mode", "660", *options)
        there = os.stat(tmp_path / "s")
        assert ((there.st_uid, there.st_gid), there.st_mode & 0o777) == (owner, 0o660)
        assert program.stop() == 0
        assert not (tmp_path / "s").exists()
    program = start("-w", "1", "-b", "unix:s", "--socket-owner", "nobody-of-that-name", ready=False)
    assert program.process.wait(60) == 2
    program.reader.join(10)
    assert len(program.lines) == 1 and "socket_owner: there is no user" in program.lines[0]
    assert not (tmp_path / "s").exists()


def test_the_file_of_a_unix_socket_that_was_removed_is_made_again_by_a_reload(start, tmp_path):
    def asked() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(str(tmp_path / "s"))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return client.makefile("rb").read()[:12]

    program = start("-w", "2", "-b", "unix:s", "--socket-mode", "600")
    with socket.socket(socket.AF_UNIX) as kept:
        kept.settimeout(60)
        kept.connect(str(tmp_path / "s"))
        kept.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        program.wait_for("waiting")
        (tmp_path / "s").unlink()
        program.send(signal.SIGHUP)
        program.wait_for("the file of unix:s was removed; it is made again")
        program.wait_for("has taken over")
        assert asked() == b"HTTP/1.1 200"
        assert os.stat(tmp_path / "s").st_mode & 0o777 == 0o600
        (tmp_path / "go").touch()
        assert kept.recv(65536).startswith(b"HTTP/1.1 200")
    (tmp_path / "s").unlink()
    with socket.socket(socket.AF_UNIX) as other:  # another server is there now
        other.bind(str(tmp_path / "s"))
        other.listen()
        here = len(program.lines)
        program.send(signal.SIGHUP)
        program.wait_for("the file of unix:s was removed and cannot be made again", here)
        program.wait_for("has taken over", here)
    (tmp_path / "s").unlink()
    here = len(program.lines)
    program.send(signal.SIGUSR2)
    program.wait_for("it is made again", here)
    program.wait_for("has taken over", here)
    assert asked() == b"HTTP/1.1 200"
    assert program.stop() == 0
    assert not (tmp_path / "s").exists()


def test_logs_opened_again_while_workers_start_end_none_of_them(start, tmp_path):
    slow = "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\n"
    (tmp_path / "helper.py").write_text(f"import sys\nprint('starting', file=sys.stderr, flush=True)\n{slow}")
    program = start("-w", "1", ready=False)
    program.wait_for("starting")
    for name in ("USR1", "HUP", "USR2", "TTIN", "TTOU", "WINCH"):
        for pid in children(program.process.pid):
            os.kill(pid, getattr(signal, f"SIG{name}"))
    (tmp_path / "go").touch()
    program.wait_for("HUP reloads")
    assert ask(program)
    assert program.stop() == 0
    assert not any("ERROR" in line for line in program.lines)


def test_a_request_that_runs_in_a_worker_that_drains_over_an_upgrade_is_waited_for_at_term(start, tmp_path):
    program = start("-w", "1")
    with socket.create_connection(("127.0.0.1", program.port), timeout=60) as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        program.wait_for("waiting")
        program.send(signal.SIGHUP)
        here = program.wait_for("generation 2 has taken over")
        program.send(signal.SIGUSR2)
        program.wait_for("has taken over", here)
        program.send(signal.SIGTERM)
        program.wait_for("stopping; running requests")
        with pytest.raises(subprocess.TimeoutExpired):
            program.process.wait(1)
        (tmp_path / "go").touch()
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert program.process.wait(60) == 0


def test_an_application_that_writes_to_every_pipe_does_not_disturb_the_supervisor(start, tmp_path):
    (tmp_path / "helper.py").write_text(
        "import os, stat\n"
        "for fd in range(3, 64):\n"
        "    try:\n"
        "        stat.S_ISFIFO(os.fstat(fd).st_mode) and os.write(fd, b'hello\\n3\\n[]\\n')\n"
        "    except OSError:\n"
        "        pass\n"
    )
    program = start("-w", "1")
    program.wait_for("unexpected data in its pipe")
    assert ask(program)
    assert program.stop() == 0


def test_workers_survive_a_pause_of_the_whole_program(start):
    program = start("-w", "2", "--timeout", "1", "--hub-warn", "0")
    before = sorted(children(program.process.pid))
    everybody = [program.process.pid, *before]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(5)  # longer than the time-out and its last words; nothing can happen meanwhile
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
    for _ in range(20):
        assert ask(program)[0] in before
        time.sleep(0.1)
    assert sorted(children(program.process.pid)) == before
    assert program.stop() == 0


def test_a_check_that_hangs_is_ended_with_the_program_and_after_boot_timeout(start, tmp_path):
    program = start("-w", "1", "--boot-timeout", "3s")
    (tmp_path / "helper.py").write_text("import time\ntime.sleep(1000)\n")
    before = children(program.process.pid)
    program.send(signal.SIGUSR2)
    program.wait_for("checking the program on disk")
    program.send(signal.SIGUSR2)
    program.wait_for("is already being checked")
    program.wait_for("did not finish within 3 s (boot_timeout)")
    here = program.wait_for("not upgraded, nothing was changed")
    assert children(program.process.pid) == before
    program.send(signal.SIGUSR2)
    program.wait_for("checking the program on disk", here)
    until(lambda: set(children(program.process.pid)) - set(before))
    (check,) = set(children(program.process.pid)) - set(before)
    assert program.stop() == 0
    until(lambda: is_gone(check))


def test_a_first_worker_that_ends_without_a_word_is_named(start, tmp_path):
    (tmp_path / "helper.py").write_text("import os\nos._exit(9)\n")
    program = start("-w", "1", ready=False)
    assert program.process.wait(60) == 3
    program.reader.join(10)
    (line,) = program.lines
    assert "ended before it was ready, without an error message: exit code 9" in line


def test_a_traceback_comes_once_for_each_reload(start, tmp_path):
    program = start("-w", "1")
    (tmp_path / "helper.py").write_text("x = (")
    here = 0
    for count in (1, 2):
        program.send(signal.SIGHUP)
        here = program.wait_for("the old one keeps serving", here)
        assert sum("SyntaxError" in line for line in program.lines) == count
    assert not any("has taken over" in line for line in program.lines)
    assert program.stop() == 0


def test_without_descriptors_no_worker_is_added_and_all_others_serve_on(start):
    program = start("-w", "1")
    open_now = len(os.listdir(f"/proc/{program.process.pid}/fd"))
    resource.prlimit(program.process.pid, resource.RLIMIT_NOFILE, (open_now, open_now))
    program.send(signal.SIGTTIN)
    program.wait_for("no process for it: Too many open files")
    assert ask(program)
    assert program.stop() == 0


def with_descriptors(limit: int):
    """For `Program`: the process begins with so many, and may be given more later."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def test_a_start_without_descriptors_says_so_and_goes_on_when_there_are_some(start):
    program = start("-w", "2", ready=False, before=with_descriptors(12))
    here = program.wait_for("could not be started (no process for it: Too many open files); next attempt in 0.5 s")
    assert sum("could not be started" in line for line in program.lines[:here]) == 1
    resource.prlimit(program.process.pid, resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))
    program.wait_for("HUP reloads")
    assert ask(program)
    assert program.stop() == 0


@pytest.mark.parametrize("limit", range(6, 12))
def test_a_supervisor_that_cannot_even_have_its_own_pipes_ends_with_one_line(start, limit):
    program = start("-w", "2", ready=False, before=with_descriptors(limit))
    assert program.process.wait(60) == 1
    program.reader.join(10)
    (line,) = program.lines
    assert re.fullmatch(
        r"greenhttp: (the log needs a pipe|the supervisor needs a pipe|.*: no socket can be had):"
        r" Too many open files; raise the limit with ulimit -n\n"
        r"|greenhttp: .*: the host name cannot be resolved \(Too many open files\)\n", line
    )  # fmt: skip


def test_one_moment_of_a_broken_import_is_one_failed_attempt_of_all_workers(start, tmp_path):
    program = start("-w", "6")
    (tmp_path / "helper.py").write_text("x = (")
    here = len(program.lines)
    for pid in children(program.process.pid):
        os.kill(pid, signal.SIGKILL)
    for _ in range(2):  # twelve workers; five that fail one after the other would be the end
        here = program.wait_for("could not be started", here)
    (tmp_path / "helper.py").write_text("")
    program.wait_for("serves, process", here)
    assert ask(program)
    pauses = [line.partition("next attempt in ")[2] for line in program.lines if "could not be started" in line]
    assert len(set(pauses)) == len(pauses), "one line for each attempt, and the pauses grow"
    assert program.stop() == 0


@pytest.mark.parametrize("file", ["settings.toml", "settings.py"])
def test_a_limit_of_descriptors_lowered_under_what_is_open_ends_nothing(start, tmp_path, file):
    (tmp_path / file).write_text("workers = 2\n")
    program = start("-c", file, "-w", "2")
    pid = program.process.pid
    before, (soft, hard) = set(children(pid)), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (1, hard))
    for number in (signal.SIGUSR1, signal.SIGTTIN, signal.SIGHUP, signal.SIGUSR2):
        program.send(number)
    program.wait_for("the limit of open files is lower than their number")
    program.wait_for("not reloaded, nothing was changed")
    program.wait_for("no process for it: Too many open files")
    program.wait_for("not upgraded, nothing was changed")
    os.kill(min(before), signal.SIGKILL)
    program.wait_for("killed by SIGKILL, not by its supervisor: somebody ran kill -9")
    assert ask(program)[0] in before
    here = len(program.lines)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    program.send(signal.SIGHUP)
    program.wait_for("has taken over", here)
    until(lambda: not before & set(children(pid)))
    assert ask(program)
    assert program.stop() == 0


def python_is_everybody_s() -> bool:
    """Whether another user could run this Python and read what is tested."""
    files = (sys.executable, os.path.realpath(sys.executable), __file__, os.__file__)
    return all(os.stat(place).st_mode & 1 for file in files for place in Path(file).resolve().parents)


@pytest.mark.skipif(os.geteuid() != 0 or not python_is_everybody_s(), reason="another user cannot run this Python")
def test_after_the_change_of_user_logs_are_written_and_an_upgrade_works_where_root_owns_the_directory(start, tmp_path):
    for place in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(place, 0o755)
    program = start(
        "-w", "1", "--user", "nobody", "--pid", "pid", "--error-logfile", "errors", "--access-logfile", "access",
        "-b", "unix:s", ready=False,
    )  # fmt: skip
    until(lambda: "HUP reloads" in written(tmp_path / "errors"))
    assert ask(program)
    program.send(signal.SIGUSR1)
    program.send(signal.SIGUSR2)
    until(lambda: "has taken over" in (tmp_path / "errors").read_text())
    assert (tmp_path / "pid").read_text() == f"{program.process.pid}\n"
    assert ask(program)
    assert program.stop() == 0
    assert (tmp_path / "pid").read_text() == ""
    assert (tmp_path / "access").read_text().count("GET / ") == 2


def test_what_contradicts_itself_is_one_line(start):
    program = start("-w", "0", "--max-requests", "5", ready=False)
    assert program.process.wait(60) == 2
    program.reader.join(10)
    assert program.lines == [
        "greenhttp: max_requests needs a supervisor (--max-requests), but workers is 0; give 1 or more\n"
    ]


def test_a_pid_file_a_busy_port_and_a_user_that_is_not_there(start, tmp_path):
    program = start("-w", "1", "-p", "run.pid")
    assert (tmp_path / "run.pid").read_text() == f"{program.process.pid}\n"
    second = start("-w", "1", "-p", "run.pid", ready=False)
    assert second.process.wait(60) == 1
    second.reader.join(10)
    assert second.lines == [
        f"greenhttp: pid: {tmp_path}/run.pid is in use by process {program.process.pid}, which is running; "
        "stop it, or give another file\n"
    ]
    busy = start("-w", "1", "-b", f"127.0.0.1:{program.port}", ready=False)
    assert busy.process.wait(60) == 1
    busy.reader.join(10)
    assert len(busy.lines) == 1 and f"in use by process {program.process.pid}" in busy.lines[0]
    wrong = start("-w", "1", "-u", "nobody-of-that-name", ready=False)
    assert wrong.process.wait(60) == 2
    wrong.reader.join(10)
    assert len(wrong.lines) == 1 and "there is no user 'nobody-of-that-name'; give an existing" in wrong.lines[0]
    assert program.stop() == 0
    assert not (tmp_path / "run.pid").exists()


def test_a_pid_file_with_a_stranger_s_number_is_taken_over_and_is_locked_also_after_an_upgrade(start, tmp_path):
    (tmp_path / "run.pid").write_text(f"{os.getpid()}\n")
    program = start("-w", "1", "-p", "run.pid")
    assert (tmp_path / "run.pid").read_text() == f"{program.process.pid}\n"
    program.send(signal.SIGUSR2)
    program.wait_for("has taken over")
    with open(tmp_path / "run.pid") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    assert program.stop() == 0


def test_an_application_that_cannot_be_preloaded_shows_its_traceback_once(start):
    program = start("-w", "1", "--preload", app="raise RuntimeError('no database')\n", ready=False)
    assert program.process.wait(60) == 3
    program.reader.join(10)
    assert sum(line == "RuntimeError: no database\n" for line in program.lines) == 1
    assert program.lines[-1] == "greenhttp: web:app could not be loaded; see the traceback above\n"


def test_after_a_rotation_the_stacks_of_a_crash_go_to_the_log_and_to_no_client(start, tmp_path):
    program = start("-w", "1", "--error-logfile", "error.log", ready=False)
    until(lambda: "HUP reloads" in written(tmp_path / "error.log"))
    (tmp_path / "error.log").rename(tmp_path / "old.log")
    program.send(signal.SIGUSR1)
    until((tmp_path / "error.log").exists)
    worker = ask(program)[0]
    until(lambda: os.path.samestat(os.stat(tmp_path / "error.log"), log_of(worker)))
    clients = [socket.create_connection(("127.0.0.1", program.port), timeout=60) for _ in range(8)]
    for client in clients:  # all are accepted: each has got whatever number was free
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(program, "/crash")
    for client in clients:
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(65536) == b""
        client.close()
    until(lambda: "Segmentation fault" in (tmp_path / "error.log").read_text())
    assert program.stop() == 0


def written(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def log_of(pid: int) -> os.stat_result:
    """The log that a process has open; there is none but that of a file that ends in .log."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        if os.readlink(f"/proc/{pid}/fd/{fd}").endswith(".log"):
            return os.stat(f"/proc/{pid}/fd/{fd}")
    raise AssertionError


def test_a_worker_whose_loop_never_makes_its_first_turn_is_missed(start):
    blocked = "import gevent\ndef block():\n    while True: pass\ngevent.spawn(block)\n"
    program = start("-w", "1", "--timeout", "1", "--hub-warn", "0", app=blocked + APP)
    program.wait_for("is hung: its event loop is blocked")
    assert program.stop(signal.SIGINT) == 0


def test_a_reload_where_the_first_directory_is_gone_leaves_all_as_it_was(start, tmp_path):
    program = start("-w", "1")
    before = ask(program)
    tmp_path.rename(tmp_path.with_suffix(".old"))
    program.send(signal.SIGHUP)
    program.wait_for("not reloaded, nothing was changed")
    tmp_path.with_suffix(".old").rename(tmp_path)
    assert ask(program) == before
    assert program.stop() == 0


def test_reload_follows_the_files_and_survives_a_syntax_error(start, tmp_path):
    pytest.importorskip("watchfiles")
    program = start("-w", "1", "--reload", "--debug")
    first = ask(program)[0]
    (tmp_path / "helper.py").write_text("x = (")
    program.wait_for("changed: helper.py")
    program.wait_for("the old one keeps serving")
    assert any("SyntaxError" in line for line in program.lines)
    assert ask(program)[0] == first
    here = len(program.lines)
    (tmp_path / "helper.py").write_text("x = 1")
    program.wait_for("has taken over", here)
    until(lambda: ask(program)[0] != first)
    assert program.stop() == 0
    assert not [pid for pid in children(program.process.pid)]


def test_a_traceback_is_shown_to_the_browser_only_with_debug(start):
    failing = "def app(environ, start_response):\n    raise LookupError('secret of the house')\n"
    for options, shown in (((), False), (("--debug",), True)):
        program = start("-w", "1", *options, app=failing)
        client = http.client.HTTPConnection("127.0.0.1", program.port, timeout=30)
        client.request("GET", "/")
        answer = client.getresponse()
        text = answer.read().decode()
        client.close()
        assert answer.status == 500
        assert ("secret of the house" in text and "web.py" in text) == shown
        assert shown or text == "Internal Server Error\n"
        said = [line for line in program.lines if "debug is on: clients see the traceback of an error" in line]
        assert len(said) == shown
        assert program.stop() == 0


def test_systemd_is_told_when_the_workers_are_ready_and_gives_the_sockets(tmp_path, start):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        program = start("-w", "2", NOTIFY_SOCKET=str(tmp_path / "notify"), ready=False)
        assert manager.recv(4096).startswith(b"READY=1\n")
        assert len(children(program.process.pid)) == 2
        program.send(signal.SIGHUP)
        assert manager.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert manager.recv(4096).startswith(b"READY=1\n")
        assert program.stop() == 0
        while (word := manager.recv(4096)).startswith(b"READY=1"):
            pass
        assert word == b"STOPPING=1"


def test_systemd_s_watchdog_hears_of_the_supervisor_until_it_stops(tmp_path, start):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        program = start("-w", "1", NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="100000", ready=False)
        words = []
        while words.count(b"WATCHDOG=1") < 3 or not any(word.startswith(b"READY=1") for word in words):
            words.append(manager.recv(4096))
        assert program.stop() == 0
