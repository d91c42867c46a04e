"""supervisor/system.py: the pid file, another user and group, and what systemd gives and is told."""

import contextlib
import errno
import os
import pwd
import socket
import subprocess
import sys
import tempfile

import pytest

from greenhttp.errors import ConfigError
from greenhttp.supervisor.system import (
    check_drop,
    check_pid,
    drop,
    group_id,
    inherited,
    notify,
    pid_file,
    user_id,
    watchdog_period,
)

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="abstract names are Linux's")


def has(user: str, group: str) -> bool:
    try:
        user_id(user), group_id(group)
    except ConfigError:
        return False
    return True


as_root = pytest.mark.skipif(
    os.geteuid() != 0 or not has("nobody", "nogroup"), reason="needs root, a user nobody and a group nogroup"
)


def in_child(body) -> str:
    """What `body` returns, or the ConfigError it raises, in a forked process: what it does to itself stays there."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                text = body()
            except ConfigError as error:
                text = f"ConfigError: {error}"
            except BaseException as error:
                text = f"unexpected {error!r}"
            os.write(theirs, text.encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


# ---- pid file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "web.pid"


def gone() -> int:
    """The number of a process that has been and is reaped."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_file_has_the_number_for_as_long_as_the_block_lasts_and_nothing_stays(path):
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
        assert os.listdir(path.parent) == ["web.pid"]
    assert os.listdir(path.parent) == []


def test_no_path_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pid_file(None):
        assert os.listdir(".") == []


def test_the_file_is_removed_after_an_error_as_well(path):
    with pytest.raises(LookupError), pid_file(str(path)):
        raise LookupError
    assert not path.exists()


def test_a_relative_path_means_the_same_file_after_a_change_of_directory(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    with pid_file("web.pid"):
        os.chdir("/")
        assert path.exists()
    assert not path.exists()


def test_a_file_of_a_process_that_has_gone_is_replaced(path):
    path.write_text(f"{gone()}\n")
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize(
    "text",
    [b"", b"\n", b"rubbish", b"-1", b"0", b"9999999999", b"99999999999", b"12 13", b"1.5", b"\xff\xfe", b"\xd9\xa3",
     b"1" * 5000],
)  # fmt: skip
def test_a_file_that_names_no_process_is_replaced(path, text):
    path.write_bytes(text)
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_an_old_file_with_this_process_s_own_number_is_no_obstacle(path):
    """After a program has become another one, and in a container, where numbers repeat at each start."""
    path.write_text(f"{os.getpid()}\n")
    with pid_file(str(path)):
        pass
    assert not path.exists()


@contextlib.contextmanager
def living(*words):
    """The number of another process, with these words in its command line."""
    other = subprocess.Popen([sys.executable, "-c", "input()", *words], stdin=subprocess.PIPE)
    try:
        yield other.pid
    finally:
        other.communicate(b"\n")


@contextlib.contextmanager
def holding(path):
    """The number of another process that has the file; a child of that one has ended without the lock."""
    code = (
        "import os, sys; from greenhttp.supervisor.system import pid_file\n"
        "with pid_file(sys.argv[1]):\n"
        "    if not os.fork(): sys.exit()\n"
        "    os.wait(); print(flush=True); input()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout.readline() == b"\n"
        yield other
    finally:
        other.communicate(b"\n")


def test_a_process_that_has_the_lock_keeps_its_file(path):
    with holding(path) as other:
        with pytest.raises(ConfigError, match=f"^pid: {path} is in use by process {other.pid}, which is running; "):
            pid_file(str(path)).__enter__()
        assert path.read_text() == f"{other.pid}\n"
        assert os.listdir(path.parent) == ["web.pid"]
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_also_one_that_cannot_be_seen_from_here(path):
    """In another container, with the same directory."""
    with holding(path):
        path.write_text(f"{gone()}\n")
        with pytest.raises(ConfigError, match=f"^pid: {path} is in use by another process; "):
            pid_file(str(path)).__enter__()


@linux
def test_a_greenhttp_keeps_its_file_without_a_lock(path):
    for words in (("greenhttp",), ("/srv/venv/bin/greenhttp", "app"), ("/srv/greenhttp/__main__.py",)):
        with living(*words) as pid:
            path.write_text(f"{pid}\n")
            with pytest.raises(ConfigError, match=f"^pid: {path} is in use by process {pid}, which is running; "):
                pid_file(str(path)).__enter__()
            assert path.read_text() == f"{pid}\n"


@pytest.mark.parametrize("proc", ["/proc", "/no/such/directory"])
def test_a_number_that_belongs_to_a_stranger_by_now_is_replaced_and_told_of(path, monkeypatch, caplog, proc):
    monkeypatch.setattr("greenhttp.supervisor.system.PROC", proc)
    caplog.set_level("INFO", "greenhttp")
    with living("greenhttp.log") as pid:
        path.write_text(f"{pid}\n")
        with pid_file(str(path)):
            assert path.read_text() == f"{os.getpid()}\n"
    assert caplog.messages == [f"pid: {path} names process {pid}, which is no greenhttp; the file is replaced"]


def test_where_neither_locks_nor_processes_can_be_seen_a_living_one_keeps_it(path, monkeypatch):
    def without_locks(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("fcntl.flock", without_locks)
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
    monkeypatch.setattr("greenhttp.supervisor.system.PROC", "/no/such/directory")
    with living() as pid:
        path.write_text(f"{pid}\n")
        with pytest.raises(ConfigError, match=f"in use by process {pid}"):
            pid_file(str(path)).__enter__()


def test_after_an_upgrade_the_file_is_locked_again(path):
    code = (
        "import os, sys; from greenhttp.supervisor.system import pid_file\n"
        "held = pid_file(sys.argv[1]); held.__enter__()\n"
        "if sys.argv[2:]: print(flush=True); input(); sys.exit()\n"
        "os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:], 'again'])\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"\n"
        with pytest.raises(ConfigError, match=f"in use by process {other.pid}"):
            pid_file(str(path)).__enter__()
    finally:
        other.communicate(b"\n")


@contextlib.contextmanager
def way_in(directory):
    """Everybody may pass the directories that pytest has made for this user alone."""
    before = [
        (one, one.stat().st_mode & 0o7777) for one in (directory, *directory.parents) if not one.stat().st_mode & 0o001
    ]
    for one, mode in before:
        one.chmod(mode | 0o011)
    try:
        yield
    finally:
        for one, mode in before:
            one.chmod(mode)


@as_root
def test_a_living_process_of_somebody_else_keeps_its_file(path):
    path.parent.chmod(0o777)

    def start() -> str:
        drop("nobody", "nogroup")
        with pytest.raises(PermissionError):
            os.kill(1, 0)
        with pid_file(str(path)):
            return "taken"

    with way_in(path.parent), holding(path) as other:
        assert in_child(start) == (
            f"ConfigError: pid: {path} is in use by process {other.pid}, which is running;"
            " stop it, or give another file"
        )


@as_root
def test_a_directory_one_may_not_write_in_is_an_error_and_nothing_stays(path):
    path.parent.chmod(0o755)

    def start() -> str:
        drop("nobody", "nogroup")
        with pid_file(str(path)):
            return "written"

    with way_in(path.parent):
        assert in_child(start) == f"ConfigError: pid: {path}: Permission denied"
    assert os.listdir(path.parent) == []


def test_a_directory_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=f"^pid: {tmp_path}/absent/web.pid: No such file or directory$"):
        pid_file(str(tmp_path / "absent" / "web.pid")).__enter__()


def test_a_directory_in_the_place_of_the_file_is_an_error_and_nothing_stays(path):
    path.mkdir()
    with pytest.raises(ConfigError, match=f"^pid: {path}: Is a directory$"):
        pid_file(str(path)).__enter__()
    assert os.listdir(path.parent) == ["web.pid"]


def test_a_file_that_another_process_has_taken_meanwhile_stays(path):
    with pid_file(str(path)):
        path.write_text("1\n")
    assert path.read_text() == "1\n"


def test_a_file_that_is_gone_at_the_end_is_no_error(path):
    with pid_file(str(path)):
        path.unlink()


def test_a_forked_child_that_leaves_the_block_leaves_the_file(path):
    def leave() -> str:
        block.__exit__(None, None, None)
        return "left"

    block = pid_file(str(path))
    with block:
        assert in_child(leave) == "left"
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_forked_child_leaves_a_file_that_happens_to_have_its_own_number(path):
    """Only the process that wrote it removes it."""

    def leave() -> str:
        path.write_text(f"{os.getpid()}\n")
        block.__exit__(None, None, None)
        return "left"

    block = pid_file(str(path))
    with block:
        assert in_child(leave) == "left"
        assert path.exists()
    assert path.exists()  # neither is it the first one's any more


# ---- whether it could be written


def test_a_pid_file_that_could_be_written_is_not_made_by_its_check(path):
    check_pid(None)
    check_pid(str(path))
    path.write_text(f"{gone()}\n")  # of a process that has crashed
    check_pid(str(path))
    assert path.read_text() != "" and os.listdir(path.parent) == ["web.pid"]


def test_a_check_beside_the_server_that_has_the_pid_file_says_nothing(path):
    path.parent.chmod(0o555)
    with pid_file(str(path)):
        check_pid(str(path))
    path.parent.chmod(0o755)


@pytest.mark.parametrize("name", ["absent/web.pid", ".", "file/web.pid"])
def test_a_pid_file_that_cannot_be_fails_its_check_with_the_same_words(tmp_path, name):
    (tmp_path / "file").touch()
    said = []
    for attempt in (check_pid, lambda path: pid_file(path).__enter__()):
        with pytest.raises(ConfigError) as caught:
            attempt(str(tmp_path / name))
        said.append(str(caught.value))
    assert said[0] == said[1]


@as_root
def test_a_directory_one_may_not_write_in_fails_the_check(path):
    path.parent.chmod(0o755)

    def check() -> str:
        drop("nobody", "nogroup")
        check_pid(str(path))
        return "ok"

    with way_in(path.parent):
        assert in_child(check) == f"ConfigError: pid: {path}: Permission denied"


# ---- user and group


def test_a_user_and_a_group_are_given_by_name_or_number():
    me = pwd.getpwuid(os.getuid())
    assert user_id(me.pw_name) == user_id(str(me.pw_uid)) == me.pw_uid
    assert user_id("54321") == group_id("54321") == 54321  # a number needs no entry anywhere


@pytest.mark.parametrize("text", ["nobody-knows-me", "", "-1", "1.5", "٣", "a\0b", "4294967295", "99999999999999"])
def test_who_is_not_there_is_a_config_error_that_names_the_setting(text):
    with pytest.raises(ConfigError, match="^user: there is no user '.*'; give an existing user name, or a number"):
        user_id(text)
    with pytest.raises(ConfigError, match="^group: there is no group '.*'; give an existing group name, or a number"):
        group_id(text)


def identity() -> str:
    return f"{os.getresuid()} {os.getresgid()} {sorted(os.getgroups())}"


def test_nothing_asked_for_changes_nothing():
    def both() -> str:
        before = identity()
        drop(None, None)
        return str(before == identity())

    assert in_child(both) == "True"


def test_who_one_is_already_is_no_change_and_needs_no_right():
    def same() -> str:
        before = identity()
        drop(str(os.geteuid()), str(os.getegid()))
        return str(before == identity())

    assert in_child(same) == "True"


@as_root
@pytest.mark.parametrize(("user", "group"), [("nobody", "nogroup"), ("nobody", None), ("65534", "65534")])
def test_all_numbers_change_and_the_further_groups_of_root_go(user, group):
    if user == "65534" and (user_id("nobody"), group_id("nogroup")) != (65534, 65534):
        pytest.skip("nobody has another number here")
    entry = pwd.getpwnam("nobody")
    uid, gid = entry.pw_uid, group_id(group) if group else entry.pw_gid

    def change() -> str:
        os.setgroups([0, 4, 5])
        drop(user, group)
        return identity()

    assert in_child(change) == f"{(uid, uid, uid)} {(gid, gid, gid)} {sorted(os.getgrouplist('nobody', gid))}"


@as_root
def test_root_cannot_be_had_again():
    def back() -> str:
        drop("nobody", "nogroup")
        failed = []
        for call in (
            lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setreuid(0, 0), lambda: os.setresuid(0, 0, 0),
            lambda: os.setgid(0), lambda: os.setegid(0), lambda: os.setresgid(0, 0, 0), lambda: os.setgroups([0]),
            lambda: os.listdir("/proc/1/fd"),
        ):  # fmt: skip
            try:
                call()
            except PermissionError:
                failed.append("no")
            else:
                failed.append("YES")
        return " ".join(failed)

    assert in_child(back) == " ".join(["no"] * 9)


@as_root
def test_a_user_by_number_without_an_entry_goes_with_the_group_that_is_given_and_no_other():
    def change() -> str:
        os.setgroups([0, 4, 5])
        drop("54321", "54322")
        return identity()

    assert in_child(change) == f"{(54321,) * 3} {(54322,) * 3} [54322]"


@as_root
def test_a_user_without_an_entry_would_keep_root_s_groups_so_a_group_must_be_given():
    def change() -> str:
        drop("54321", None)
        return identity()

    assert in_child(change) == (
        "ConfigError: user 54321: /etc/passwd has no entry for it, so its group is unknown; give group too"
    )


@as_root
def test_logs_and_the_pid_file_are_made_and_given_to_the_user_but_nothing_that_a_link_leads_to(tmp_path):
    os.chmod(tmp_path, 0o755)
    (tmp_path / "root's").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "root's")
    os.link(tmp_path / "root's", tmp_path / "second name")
    os.mkfifo(tmp_path / "fifo")
    names = ["old", "new", "link", "second name", "fifo"]
    (tmp_path / "old").write_text("kept\n")

    def change() -> str:
        drop("12", "34", [None, "-", *(str(tmp_path / name) for name in names), str(tmp_path / "absent" / "log")])
        return "done"

    assert in_child(change) == "done"
    owners = {name: os.stat(tmp_path / name, follow_symlinks=False).st_uid for name in [*names, "root's"]}
    assert owners == {"old": 12, "new": 12, "link": 0, "second name": 0, "fifo": 0, "root's": 0}
    assert (tmp_path / "old").read_text() == "kept\n"


@as_root
def test_a_pid_file_that_the_user_may_write_and_not_remove_is_empty_in_the_end():
    with tempfile.TemporaryDirectory() as where:
        os.chmod(where, 0o755)
        path = os.path.join(where, "pid")

        def change() -> str:
            with pid_file(path):
                drop("12", "34", [path])
                with pid_file(path):  # of the next program, after an upgrade
                    pass
            return "done"

        assert in_child(change) == "done"
        with open(path, encoding="ascii") as file:
            assert file.read() == ""


@as_root
def test_a_group_alone_leaves_the_user():
    gid = group_id("nogroup")

    def change() -> str:
        os.setgroups([0, 4, 5])
        drop(None, "nogroup")
        return identity()

    assert in_child(change) == f"(0, 0, 0) {(gid, gid, gid)} [{gid}]"


@as_root
@pytest.mark.parametrize(("user", "group"), [("nobody-knows-me", "nogroup"), ("nobody", "nobody-knows-me")])
def test_an_unknown_user_or_group_is_one_error_and_nothing_has_changed(user, group):
    def change() -> str:
        before = identity()
        with pytest.raises(ConfigError, match="'nobody-knows-me'") as caught:
            drop(user, group)
        assert caught.value.__suppress_context__
        return str(before == identity())

    assert in_child(change) == "True"


@as_root
@pytest.mark.parametrize(
    ("user", "group", "what"),
    [("root", None, "user root"), ("daemon", "daemon", "group daemon"), (None, "root", "group root"),
     ("54321", None, "user 54321")],
)  # fmt: skip
def test_who_is_not_root_is_told_what_to_do(user, group, what):
    def change() -> str:
        drop("nobody", "nogroup")
        drop(user, group)
        return identity()

    assert in_child(change) == (
        f"ConfigError: {what}: cannot switch to it (Operation not permitted); start greenhttp as root, or as that user"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
def test_a_plain_user_cannot_become_root():
    # The group is changed first: afterwards nobody who is not root could change it.
    with pytest.raises(ConfigError, match=r"^group 0: .*; start greenhttp as root, or as that user$"):
        drop("0", "0")


@as_root
@pytest.mark.parametrize(
    ("user", "group", "what"),
    [(None, None, ""), ("nobody", "nogroup", ""), ("root", None, "user root"), (None, "root", "group root")],
)
def test_whether_the_user_can_be_changed_is_told_before(user, group, what):
    def check() -> str:
        drop("nobody", "nogroup")
        check_drop(user, group)
        return "ok"

    check_drop(user, group)  # root may
    why = "cannot switch to it (Operation not permitted); start greenhttp as root, or as that user"
    assert in_child(check) == (f"ConfigError: {what}: {why}" if what else "ok")


def test_a_user_without_an_entry_is_told_before(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ConfigError, match="^user 54321: /etc/passwd has no entry for it"):
        check_drop("54321", None)


# ---- listeners of systemd


def environ(pid: object, count: str) -> dict[str, str]:
    return {"LISTEN_PID": str(pid), "LISTEN_FDS": count, "LISTEN_FDNAMES": "a:b", "HOME": "/"}


def test_what_systemd_has_opened_for_this_process_begins_at_3():
    assert inherited(environ(os.getpid(), "2")) == [3, 4]
    assert inherited(environ(os.getpid(), "0")) == []


@pytest.mark.parametrize(
    ("pid", "count"),
    [(os.getpid() + 1, "1"), (1, "1"), ("", "1"), ("x", "1"), (f"0{os.getpid()}", "1"), (os.getpid(), ""),
     (os.getpid(), "-1"), (os.getpid(), "x"), (os.getpid(), "1.0"), (os.getpid(), "٣"), (os.getpid(), "99999")],
)  # fmt: skip
def test_what_is_for_another_process_or_is_rubbish_is_nothing_and_is_taken_out(pid, count):
    variables = environ(pid, count)
    assert inherited(variables) == []
    assert variables == {"HOME": "/"}


def test_without_systemd_there_is_nothing_and_nothing_is_touched():
    variables = {"HOME": "/"}
    assert inherited(variables) == []
    assert variables == {"HOME": "/"}


def test_the_variables_are_gone_and_a_second_look_finds_nothing():
    variables = environ(os.getpid(), "1")
    assert inherited(variables) == [3]
    assert variables == {"HOME": "/"}
    assert inherited(variables) == []


def test_what_is_inherited_is_not_left_to_children():
    """As systemd does it: the program is executed with a listener as descriptor 3, and then starts a child itself."""
    code = (
        "import os, socket, subprocess, sys\n"
        "from greenhttp.supervisor.system import inherited\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"  # systemd knows the number before exec; here it is said after
        "assert os.get_inheritable(3)\n"
        "assert inherited(os.environ) == [3]\n"
        "assert not os.get_inheritable(3)\n"
        "assert not [name for name in os.environ if name.startswith('LISTEN_')]\n"
        "done = subprocess.run(['sh', '-c', 'echo \"[$LISTEN_FDS$LISTEN_PID]\"; true <&3'], capture_output=True,\n"
        "                      text=True, close_fds=False)\n"
        "print(done.stdout.strip(), done.returncode != 0, socket.socket(fileno=3).getsockname()[1])\n"
    )
    place_3 = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"
    with socket.create_server(("127.0.0.1", 0)) as sock:
        done = subprocess.run(
            [sys.executable, "-c", place_3, str(sock.fileno()), sys.executable, "-c", code],
            env={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"}, pass_fds=[sock.fileno()],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        port = sock.getsockname()[1]
    assert (done.stdout, done.stderr) == (f"[] True {port}\n", "")


# ---- telling systemd


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """systemd(name) is its side of the socket: a path, relative since temporary ones can be long, or @name."""
    monkeypatch.chdir(tmp_path)
    opened = []

    def listen(name: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        opened.append(sock)
        sock.bind("\0" + name[1:] if name[0] == "@" else name)
        sock.setblocking(False)
        return sock

    yield listen
    for sock in opened:
        sock.close()


@pytest.fixture
def place(tmp_path_factory):
    """A short absolute path: a UNIX address has room for a hundred bytes."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="g") as directory:
        yield f"{directory}/n"


def test_lines_arrive_as_one_datagram(systemd, place):
    sock = systemd(place)
    assert notify({"NOTIFY_SOCKET": place}, "READY=1", "STATUS=2 wörkers serve") is True
    assert sock.recv(4096) == "READY=1\nSTATUS=2 wörkers serve".encode()
    with pytest.raises(BlockingIOError):
        sock.recv(4096)


@linux
def test_lines_arrive_at_an_abstract_name(systemd):
    name = f"@greenhttp-test-{os.getpid()}"
    sock = systemd(name)
    assert notify({"NOTIFY_SOCKET": name}, "WATCHDOG=1") is True
    assert sock.recv(4096) == b"WATCHDOG=1"


def test_a_line_that_is_no_unicode_text_raises_nothing(systemd, place):
    sock = systemd(place)
    assert notify({"NOTIFY_SOCKET": place}, "STATUS=\udcff") is True
    assert sock.recv(4096) == b"STATUS=?"


@pytest.mark.parametrize(
    "address", [None, "", "relative", "vsock:2:1234", "/nowhere/at/all", "/" + "x" * 200, "@nobody-listens-here"]
)
def test_nobody_to_tell_is_false_and_no_error(address):
    assert notify({} if address is None else {"NOTIFY_SOCKET": address}, "READY=1") is False


def test_nobody_behind_the_socket_s_file_any_more_is_false(systemd, place):
    systemd(place).close()
    assert os.path.exists(place)
    assert notify({"NOTIFY_SOCKET": place}, "READY=1") is False


def test_a_full_queue_is_false_at_once(systemd, place):
    sock = systemd(place)
    told = 0
    while notify({"NOTIFY_SOCKET": place}, "WATCHDOG=1"):  # it would wait for ever if it waited
        told += 1
        assert told < 1_000_000
    assert told > 0
    for _ in range(told):
        assert sock.recv(4096) == b"WATCHDOG=1"
    assert notify({"NOTIFY_SOCKET": place}, "READY=1") is True


def test_telling_leaves_no_descriptor_open(systemd, place):
    sock = systemd(place)
    before = os.dup(0)
    os.close(before)
    notify({"NOTIFY_SOCKET": place}, "READY=1")
    notify({"NOTIFY_SOCKET": place + "x"}, "READY=1")
    after = os.dup(0)
    os.close(after)
    assert (before, sock.recv(100)) == (after, b"READY=1")


# ---- its watchdog


def test_a_sign_of_life_is_due_at_half_of_its_patience():
    assert watchdog_period({"WATCHDOG_USEC": "30000000"}) == 15.0
    assert watchdog_period({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getpid())}) == 0.0005
    assert watchdog_period({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": ""}) == 0.0005


@pytest.mark.parametrize("patience", [None, "", "0", "000", "-1", "x", "1.5", "٣", "1" * 16])
def test_what_is_no_patience_is_no_watchdog(patience):
    assert watchdog_period({} if patience is None else {"WATCHDOG_USEC": patience}) is None


@pytest.mark.parametrize("pid", [1, os.getpid() + 1, "x"])
def test_a_watchdog_of_another_process_is_not_ours(pid):
    assert watchdog_period({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(pid)}) is None
