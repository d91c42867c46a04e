"""Why a worker has died, or does not turn its loop, as far as the system tells."""

import os
import signal
from collections.abc import Callable, Collection

EXIT_WORDS = {
    0: "exit code 0",
    1: "exit code 1: an address or a log file cannot be used, or the exit was forced",
    3: "exit code 3: the application could not be loaded",
}


STOPPED_STATES = {  # of /proc/PID/stat, see proc(5) -> what that means
    "T": "it is stopped (SIGSTOP or SIGTSTP); SIGCONT would let it go on",
    "t": "a debugger has stopped it",
    "D": "it waits in the kernel, for a device or a file system that does not answer",
}


def held(pid: int) -> str:
    """What keeps a process from running at all, or "" where nothing does, or the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return STOPPED_STATES.get(file.read().rpartition(") ")[2][:1], "")
    except OSError:
        return ""


def how(status: int, told: Collection[str] = (), oom_kills: int = 0, served: bool = False) -> str:
    """What the status of waitpid(2) means.

    Arguments:
        status: as waitpid gives it.
        told: the signals that this program itself has sent, by name.
        oom_kills: how many processes of the memory cgroup the kernel has killed since this worker was started.
        served: whether it has served: an exit code is the application's then, and means what that wants it to.
    """
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit code {code}" if served else EXIT_WORDS.get(code, f"exit code {code}")
    name = _name(-code)
    core = ", core dumped" if os.WCOREDUMP(status) else ""
    if name in told:
        return f"killed by {name} as ordered{core}"
    if name == "SIGKILL":
        if oom_kills:
            return "killed by SIGKILL: by the kernel, because the memory cgroup was out of memory"
        return "killed by SIGKILL, not by its supervisor: somebody ran kill -9, or the machine ran out of memory"
    if name in ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE"):
        return f"killed by {name}: a crash in native code{core}"
    if name == "SIGABRT":
        return f"killed by {name}: native code called abort(), or somebody sent the signal{core}"
    return f"killed by {name}, not by its supervisor{core}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def oom_counter(root: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> Callable[[], int]:
    """A function that gives how many processes of this process's memory cgroup the kernel has killed; 0: unknown.

    cgroup v2 says it in memory.events, v1 in memory.oom_control, both as `oom_kill N` (Documentation/admin-guide of
    Linux).
    """
    places = []
    try:
        with open(own, encoding="ascii", errors="replace") as file:
            for line in file.read().splitlines():
                _, controllers, path = line.split(":", 2)
                if not controllers:
                    places += [f"{root}{path}/memory.events", f"{root}/memory.events"]
                elif "memory" in controllers.split(","):
                    places += [f"{root}/memory{path}/memory.oom_control", f"{root}/memory/memory.oom_control"]
    except (OSError, ValueError):
        pass

    last = 0

    def count() -> int:
        nonlocal last
        for place in places:
            try:
                with open(place, encoding="ascii") as file:
                    words = dict(line.split() for line in file if len(line.split()) == 2)
                last = int(words["oom_kill"])
                return last
            except (OSError, ValueError, KeyError):
                continue
        return last  # nobody was killed just because the file cannot be opened now

    return count
