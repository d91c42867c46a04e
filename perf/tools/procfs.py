"""CPU time and memory of a server's process tree, and of the kernel. Parsing /proc stands apart from reading it: it is
tested."""

import os
import time

PAGE = os.sysconf("SC_PAGE_SIZE")


def parse_stat(text: str) -> tuple[int, str]:
    """(parent's pid, state) of a /proc/PID/stat line. The name in it may hold spaces and ')'."""
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[1]), fields[0]


def parse_status(text: str) -> dict[str, int]:
    """The sizes of /proc/PID/status or of /proc/meminfo, in bytes."""
    sizes = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            sizes[name] = int(value[:-3]) * 1024
    return sizes


def parse_sockstat(text: str) -> dict[str, int]:
    """The TCP line of /proc/net/sockstat: sockets `inuse`, in time-wait (`tw`) ..., and `mem` in pages."""
    words = next(line for line in text.splitlines() if line.startswith("TCP:")).split()
    return dict(zip(words[1::2], map(int, words[2::2]), strict=True))


def _read(*path) -> str:
    with open("/".join(("/proc", *map(str, path)))) as file:
        return file.read()


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parent = parse_stat(_read(name, "stat"))[0]
            except OSError:
                continue  # ended while we looked
            children.setdefault(parent, []).append(int(name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo.extend(children.get(found[-1], ()))
    return found


def cpu(pids: list[int]) -> dict[int, int]:
    """Nanoseconds on a CPU so far, by process. Precise to the switch, where utime and stime are sampled at clock ticks,
    and with the time of threads that have ended, which /proc/PID/task no longer shows. Without processes that are gone.
    """
    used = {}
    for pid in pids:
        try:
            used[pid] = time.clock_gettime_ns(~pid << 3 | 2)  # what clock_getcpuclockid(3) makes of a pid on Linux
        except OSError:
            continue
    return used


class ProcessGone(Exception):
    """A process of the server ended inside the window: what it used up can no longer be read."""


def cpu_ns(before: dict[int, int], after: dict[int, int]) -> int:
    """CPU time between two readings; that of processes which began meanwhile counts whole."""
    if gone := before.keys() - after.keys():
        raise ProcessGone(f"process {min(gone)} of the server ended")
    return sum(ns - before.get(pid, 0) for pid, ns in after.items())


def rss(pids: list[int]) -> int:
    """Resident bytes now, summed over the processes (pages they share count in each)."""
    return sum(parse_status(_read(pid, "status")).get("VmRSS", 0) for pid in pids)


def peak_rss(pids: list[int]) -> int:
    """The most that was resident since the start or the last `reset_peak`."""
    return sum(parse_status(_read(pid, "status")).get("VmHWM", 0) for pid in pids)


def reset_peak(pids: list[int]) -> None:
    for pid in pids:
        with open(f"/proc/{pid}/clear_refs", "w") as file:
            file.write("5")  # proc(5): "Writing 5 resets the peak resident set size to the current value"


def descriptors(pids: list[int]) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


def state(pid: int) -> str:
    """R, S, T (stopped), Z ..."""
    return parse_stat(_read(pid, "stat"))[1]


def meminfo() -> dict[str, int]:
    """The machine's memory by kind, in bytes: MemAvailable, Slab, KernelStack ..."""
    return parse_status(_read("meminfo"))


def tcp() -> dict[str, int]:
    """The kernel's TCP sockets, of all processes; `mem` are pages, which idle sockets have none of."""
    return parse_sockstat(_read("net", "sockstat"))
