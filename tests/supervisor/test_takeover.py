"""supervisor/takeover.py: a program that becomes another one in the same process, and what is there afterwards."""

import json
import os
import signal
import subprocess
import sys
from collections import deque

import pytest

from greenhttp.green.listener import close_listener, listen
from greenhttp.settings.address import parse_address
from greenhttp.supervisor.takeover import HELD, LAYOUT, VARIABLE, Taken, become, needed, taken

# ---- taken


def left(**changes: object) -> dict[str, str]:
    """An environment with what a program leaves that had neither listeners nor workers."""
    said = {"layout": LAYOUT, "pid": os.getpid(), "listeners": [], "private": [], "last": 0, "workers": []}
    return {VARIABLE: json.dumps({**said, **changes}), "HOME": "/"}


def test_an_ordinary_start_has_been_left_nothing():
    environ = {"HOME": "/"}
    assert taken(environ) is None
    assert environ == {"HOME": "/"}
    assert taken({VARIABLE: ""}) is None


@pytest.mark.parametrize(
    "changes",
    [{"pid": os.getpid() + 1}, {"pid": 1}, {"pid": str(os.getpid())}, {"private": 3}, {"listeners": [[3, "/", None]]}],
)
def test_what_is_for_another_process_or_not_to_be_read_is_not_taken_and_is_out_of_the_way(changes):
    inheritable = [os.get_inheritable(fd) for fd in (0, 1, 2)]
    environ = left(**changes)
    assert taken(environ) is None
    assert environ == {"HOME": "/"}
    assert [os.get_inheritable(fd) for fd in (0, 1, 2)] == inheritable


@pytest.mark.parametrize("text", ["rubbish", "[]", "3", "null", "{}", '{"pid": 1}', '{"layout": 1}', "{", '"x"'])
def test_what_no_program_of_ours_has_left_is_not_taken(text):
    environ = {VARIABLE: text, "HOME": "/"}
    assert taken(environ) is None
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize("layout", [LAYOUT + 1, LAYOUT - 1, str(LAYOUT), None])
def test_of_another_layout_the_listeners_are_taken_and_what_holds_the_workers_ends(layout):
    address = parse_address("127.0.0.1:0")
    sock = listen(address)
    name = sock.getsockname()
    reads, writes = os.pipe()
    found = taken(left(layout=layout, listeners=[[sock.detach(), str(address), None]], private=[writes], workers=["?"]))
    assert found is not None and (found.workers, found.last) == ([], 0)
    assert os.read(reads, 1) == b""  # the other end has been closed: the worker behind it would drain now
    ((taken_sock, _),) = found.listeners.values()
    assert taken_sock.getsockname() == name
    close_listener(taken_sock, address)
    for fd in (reads, *found.lifeline):
        os.close(fd)


# ---- become

PROGRAM = """
import json, os, signal, socket, sys
from collections import deque
from greenhttp.process.board import Board
from greenhttp.green.listener import listen
from greenhttp.settings.address import parse_address
from greenhttp.supervisor import takeover

bind, where, elsewhere = sys.argv[1:]
found = takeover.taken(os.environ)
if found is None:
    address = parse_address(bind)
    sock = listen(address)
    ours, theirs = os.pipe()
    lifeline = os.pipe()
    board = Board(8)
    board.own()
    board.beat(1, 2, 3)
    pid = os.fork()
    if pid == 0:
        os.close(lifeline[1])
        os.read(lifeline[0], 1)  # until nobody can write to it any more
        board.beat(7, 8, 9)
        os.write(theirs, b"still here")
        os._exit(5)
    os.close(theirs)
    signal.signal(signal.SIGTERM, lambda *_: None)  # a handler does not survive exec; what is blocked and pending does
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    os.kill(os.getpid(), signal.SIGTERM)
    os.environ["KEPT"] = "yes"
    os.chdir(elsewhere)
    print(json.dumps({"pid": os.getpid(), "file": sock.file and list(sock.file), "worker": pid}), flush=True)
    worker = takeover.Left(6, pid, ours, board.fd, board.entries, 42, True, 3.5, 30.0, "old", "SIGTERM", "half a \xff")
    listeners = {str(address): (sock, address)}
    takeover.become(where, takeover.Taken(listeners, [worker], lifeline, 9), ["TERM", "HUP"], deque([signal.SIGHUP]))
    raise SystemExit("it has returned")

blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
heard = []
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: heard.append(number))
signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
((name, (sock, address)),) = found.listeners.items()
(worker,) = found.workers
fds = [sock.fileno(), worker.pipe, worker.board, *found.lifeline]
facts = {
    "pid": os.getpid(), "cwd": os.getcwd(), "again": takeover.taken(os.environ), "kept": os.environ.get("KEPT"),
    "variable": takeover.VARIABLE in os.environ, "name": name, "address": str(address),
    "file": sock.file and list(sock.file), "inheritable": [os.get_inheritable(fd) for fd in fds],
    "blocking": sock.getblocking(), "type": type(sock).__name__, "blocked": sorted(blocked), "heard": heard,
}
with socket.socket(sock.family) as client:
    client.connect(sock.getsockname())
    client.sendall(b"hello")
    sock.setblocking(True)
    accepted, _ = sock.accept()
    facts["received"] = accepted.recv(100).decode()
board = Board(worker.entries, worker.board)
facts.update(
    worker=worker.pid, number=worker.number, last=found.last, generation=worker.generation, entries=worker.entries,
    settings=[worker.graceful, worker.timeout], told=worker.told, leaving=worker.leaving, unread=worker.unread,
    before=board.counts(), alive=os.waitpid(worker.pid, os.WNOHANG) == (0, 0),
)
os.close(found.lifeline[1])
facts["said"] = os.read(worker.pipe, 100).decode()
facts["code"] = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
facts.update(after=board.counts())
print(json.dumps(facts))
"""


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:s"])
def test_all_that_is_handed_over_is_there_and_works_in_the_next_program(tmp_path, bind):
    where, elsewhere = tmp_path / "where", tmp_path / "elsewhere"
    where.mkdir()
    elsewhere.mkdir()
    (where / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "program.py", bind, str(where), str(elsewhere)],  # the script's name is relative
        cwd=where, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["file"] is None) == bind.startswith("127")
    assert second == {
        "pid": first["pid"],
        "cwd": str(where),
        "again": None,
        "kept": "yes",
        "variable": False,
        "name": bind,
        "address": bind,
        "file": first["file"],
        "inheritable": [False] * 5,
        "blocking": False,
        "type": "Listener",
        "blocked": sorted([signal.SIGTERM, signal.SIGHUP]),
        "heard": [signal.SIGHUP, signal.SIGTERM],  # what had arrived in the old program, and what was held back
        "received": "hello",
        "worker": first["worker"],
        "number": 6,
        "last": 9,
        "generation": 42,
        "settings": [3.5, 30.0],
        "told": "SIGTERM",
        "leaving": "old",
        "unread": "half a \xff",
        "entries": 8,
        "before": [1, 2, 3],
        "alive": True,
        "said": "still here",
        "code": 5,
        "after": [7, 8, 9],
    }


@pytest.mark.parametrize("missing", ["program", "directory"])
def test_if_it_cannot_be_all_is_as_before(tmp_path, monkeypatch, missing):
    monkeypatch.chdir(tmp_path)
    if missing == "program":
        monkeypatch.setattr(sys, "executable", str(tmp_path / "absent"))
    where = "/" if missing == "program" else str(tmp_path / "absent")
    address = parse_address("127.0.0.1:0")
    sock, lifeline = listen(address), os.pipe()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    arrived, again = deque([signal.SIGWINCH]), []
    before = signal.signal(signal.SIGWINCH, lambda number, _: again.append(number))
    try:
        with pytest.raises(FileNotFoundError):
            become(where, Taken({str(address): (sock, address)}, [], lifeline, 0), ["USR1", "WINCH"], arrived)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
        assert (arrived, again) == (deque(), [signal.SIGWINCH])  # nothing is lost, and nothing comes twice
        assert VARIABLE not in os.environ
        assert os.getcwd() == str(tmp_path)
        assert not any(os.get_inheritable(fd) for fd in (sock.fileno(), *lifeline))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGWINCH, before)
        close_listener(sock, address)
        for fd in lifeline:
            os.close(fd)


# ---- check

CHECKED = """
import os, sys
from greenhttp.supervisor.takeover import HELD, check
if sys.argv[1:] == ["a b", "$c", "--check"]:
    print("not to be seen")
    print(os.getcwd(), os.environ[HELD], file=sys.stderr)
    raise SystemExit(int(os.environ["CODE"]))
os.chdir("/")
pid = check(os.environ["WHERE"], [":80"])
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.parametrize("code", [0, 1])
def test_a_check_is_the_same_command_in_the_first_directory_and_its_exit_code_tells(tmp_path, code):
    where = tmp_path / "with space"
    where.mkdir()
    (where / "program.py").write_text(CHECKED)
    done = subprocess.run(
        [sys.executable, "program.py", "a b", "$c"], cwd=where, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "CODE": str(code), "WHERE": str(where)},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{code}\n", f'{where} [":80"]\n')


def test_a_check_where_the_first_directory_has_gone_fails(tmp_path):
    (tmp_path / "program.py").write_text(CHECKED)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "WHERE": str(tmp_path / "absent")},
    )  # fmt: skip
    assert done.returncode == 0
    assert int(done.stdout) != 0
    assert "absent" in done.stderr


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        (None, [":80", "unix:/run/s"]),
        ([], [":80", "unix:/run/s"]),
        ([":80"], ["unix:/run/s"]),
        (["unix:/run/s", ":80", ":81"], []),
        (["fd://3", "fd://4"], []),  # opened by systemd: `bind` does not count
        (["fd://3", ":81"], [":80", "unix:/run/s"]),
        ("no list", [":80", "unix:/run/s"]),
        ([7], [":80", "unix:/run/s"]),
    ],
)
def test_a_check_needs_no_right_to_what_is_handed_over(held, wanted):
    environ = {} if held is None else {HELD: json.dumps(held)}
    assert list(map(str, needed([":80", "unix:/run/s"], environ))) == wanted
    assert environ == {}


def test_what_nobody_of_ours_has_written_is_passed_over():
    assert len(needed([":80"], {HELD: "{"})) == 1
