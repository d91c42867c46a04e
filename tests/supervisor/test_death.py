"""supervisor/death.py: what the statuses of real processes mean, and where the kernel counts those it has killed."""

import os
import resource
import signal

import pytest

from greenhttp.supervisor.death import how, oom_counter


def status_of(body) -> int:
    """The status, as waitpid gives it, of a forked process that runs `body`."""
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            body()
        finally:
            os._exit(99)
    return os.waitpid(pid, 0)[1]


def exits(code: int) -> int:
    return status_of(lambda: os._exit(code))


def killed_by(number: int) -> int:
    def body() -> None:
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        os.kill(os.getpid(), number)
        signal.pause()

    return status_of(body)


# ---- how


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "exit code 0"),
        (1, "exit code 1: an address or a log file cannot be used, or the exit was forced"),
        (2, "exit code 2"),
        (3, "exit code 3: the application could not be loaded"),
        (255, "exit code 255"),
    ],
)
def test_exit_codes_of_ours_are_explained_and_others_are_given(code, text):
    status = exits(code)
    assert how(status) == text
    assert how(status, ["SIGKILL"], 1) == text  # it was told, and something was killed; but it has ended by itself


def test_the_exit_code_of_one_that_has_served_is_the_application_s():
    assert [how(exits(code), served=True) for code in (0, 1, 3)] == ["exit code 0", "exit code 1", "exit code 3"]


def test_a_kill_as_ordered_is_nobody_else_s_doing():
    assert how(killed_by(signal.SIGKILL), ["SIGKILL"]) == "killed by SIGKILL as ordered"
    assert how(killed_by(signal.SIGKILL), ["SIGKILL"], 1) == "killed by SIGKILL as ordered"
    assert how(killed_by(signal.SIGTERM), ["SIGTERM"]) == "killed by SIGTERM as ordered"
    assert how(killed_by(signal.SIGABRT), ["SIGABRT"]) == "killed by SIGABRT as ordered"


@pytest.mark.parametrize("told", [(), ("SIGTERM",)])
def test_a_kill_that_was_not_ordered_is_somebody_s_or_the_kernel_s(told):
    status = killed_by(signal.SIGKILL)
    assert how(status, told) == (
        "killed by SIGKILL, not by its supervisor: somebody ran kill -9, or the machine ran out of memory"
    )
    why = "by the kernel, because the memory cgroup was out of memory"
    for kills in (1, 7):
        assert how(status, told, kills) == f"killed by SIGKILL: {why}"


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE"])
def test_a_crash_is_called_one(name):
    status = killed_by(getattr(signal, name))
    assert how(status) == f"killed by {name}: a crash in native code"
    assert how(status, ["SIGTERM"], 3) == f"killed by {name}: a crash in native code"


def test_an_abort_and_other_signals():
    assert how(killed_by(signal.SIGABRT)) == (
        "killed by SIGABRT: native code called abort(), or somebody sent the signal"
    )
    assert how(killed_by(signal.SIGTERM)) == "killed by SIGTERM, not by its supervisor"
    assert how(killed_by(signal.SIGHUP), ["SIGTERM"]) == "killed by SIGHUP, not by its supervisor"


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="no real-time signals")
def test_a_signal_without_a_name_is_a_number():
    number = signal.SIGRTMIN + 1
    assert how(killed_by(number)) == f"killed by signal {number}, not by its supervisor"


def test_a_core_is_told_of():
    """The bit is what waitpid(2) would set; whether a core is written depends on the machine."""
    core = 0x80
    assert os.WCOREDUMP(signal.SIGSEGV | core)
    assert how(signal.SIGSEGV | core) == "killed by SIGSEGV: a crash in native code, core dumped"
    assert how(signal.SIGABRT | core, ["SIGABRT"]) == "killed by SIGABRT as ordered, core dumped"
    assert how(signal.SIGQUIT | core) == "killed by SIGQUIT, not by its supervisor, core dumped"


# ---- oom_counter


@pytest.fixture
def cgroup(tmp_path):
    """cgroup("0::/x\\n", {file: text}) -> oom_counter of a tree with these files, and of a process in these groups."""

    def make(own: str, files: dict[str, str]):
        for name, text in files.items():
            path = tmp_path / "fs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "own").write_text(own)
        return oom_counter(str(tmp_path / "fs"), str(tmp_path / "own"))

    return make


def events(kills: int) -> str:
    return f"low 0\nhigh 0\nmax 12\noom 5\noom_kill {kills}\noom_group_kill 9\n"


def control(kills: int) -> str:
    return f"oom_kill_disable 0\nunder_oom 1\noom_kill {kills}\n"


def test_cgroup_v2_counts_in_memory_events_of_the_process_s_own_group(cgroup):
    files = {"web.slice/a.service/memory.events": events(3), "memory.events": events(100)}
    assert cgroup("0::/web.slice/a.service\n", files)() == 3


def test_cgroup_v2_inside_a_container_counts_at_the_root(cgroup):
    assert cgroup("0::/\n", {"memory.events": events(4)})() == 4
    # the path of the host, which is not to be seen in here
    assert cgroup("0::/docker/abc\n", {"memory.events": events(4)})() == 4


def test_cgroup_v1_counts_in_memory_oom_control(cgroup):
    own = "12:cpu,cpuacct:/x\n5:memory:/web\n1:name=systemd:/web\n"
    files = {"memory/web/memory.oom_control": control(2), "memory/memory.oom_control": control(50),
             "cpu,cpuacct/x/memory.oom_control": control(70)}  # fmt: skip
    assert cgroup(own, files)() == 2


def test_cgroup_v1_with_several_controllers_together_and_inside_a_container(cgroup):
    assert cgroup("5:cpuset,memory:/docker/abc\n", {"memory/memory.oom_control": control(6)})() == 6


def test_both_at_once_as_hybrid_systems_have_it(cgroup):
    own = "5:memory:/web\n0::/web\n"
    assert (
        cgroup(own, {"memory/web/memory.oom_control": control(8), "unified/web/cgroup.events": "populated 1\n"})() == 8
    )


def test_it_is_counted_anew_at_each_call(cgroup, tmp_path):
    count = cgroup("0::/\n", {"memory.events": events(0)})
    assert count() == 0
    (tmp_path / "fs" / "memory.events").write_text(events(1))
    assert count() == 1
    (tmp_path / "fs" / "memory.events").unlink()
    assert count() == 1, "what cannot be read now has not become less"


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("", {}),
        ("0::/\n", {}),
        ("rubbish\n", {"memory.events": events(3)}),
        ("3:cpu:/\n", {"memory.events": events(3), "memory/memory.oom_control": control(3)}),
        ("0::/\n", {"memory.events": ""}),
        ("0::/\n", {"memory.events": "oom_kill many\n"}),
        ("0::/\n", {"memory.events": "oom 3\noom_group_kill 4\n"}),
        ("0::/\n", {"memory.events/directory": ""}),
    ],
)
def test_what_is_not_there_or_not_to_be_understood_counts_as_0(cgroup, own, files):
    assert cgroup(own, files)() == 0


def test_an_older_kernel_that_does_not_count_in_the_own_group_may_do_so_above(cgroup):
    files = {"web/memory.events": "low 0\n", "memory.events": events(2)}
    assert cgroup("0::/web\n", files)() == 2


def test_bytes_that_are_not_ascii_raise_nothing(cgroup, tmp_path):
    count = cgroup("0::/\n", {"memory.events": ""})
    (tmp_path / "fs" / "memory.events").write_bytes(b"oom_kill 3\n\xff\xff 1\n")
    assert count() == 0


def test_no_proc_at_all_counts_as_0(tmp_path):
    assert oom_counter(str(tmp_path), str(tmp_path / "absent"))() == 0


def test_on_this_machine_it_is_a_number():
    count = oom_counter()
    assert isinstance(count(), int)
    assert count() >= 0
