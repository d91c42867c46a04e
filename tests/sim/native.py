"""world.c: how it is built, and how Python calls it."""

import ctypes
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

SOURCE = Path(__file__).with_name("world.c")
BUILD = Path(__file__).parents[2] / "build" / "sim"

BASE = 1 << 20  # descriptors from here on are the world's
READ, WRITE = 1, 2
END, RESET = -1, -2  # what `world_client_take` says instead of bytes

KINDS = (
    "", "accept", "recv", "send", "sendfile", "close", "shutdown", "poll", "outq", "option", "clock", "signal", "note",
)  # fmt: skip
FINDINGS = (
    "a descriptor was closed twice", "a closed descriptor was used", "a descriptor was closed while it was watched",
    "a closed descriptor is watched",
)  # fmt: skip


class Trace(ctypes.Structure):
    _fields_ = [
        ("now", ctypes.c_int64), ("result", ctypes.c_int64), ("subject", ctypes.c_int32), ("kind", ctypes.c_int32),
    ]  # fmt: skip


def supported() -> bool:
    """Whether a world can be made here: LD_PRELOAD and the calls of Linux."""
    return sys.platform == "linux"


def library(sanitizer: str = "") -> Path:
    """The compiled world.c, made if need be."""
    flags = ["-O2", "-Wall", "-Wextra", "-shared", "-fPIC"] + ([sanitizer] if sanitizer else [])
    text = SOURCE.read_bytes() + " ".join(flags).encode()
    path = BUILD / f"world-{hashlib.sha256(text).hexdigest()[:16]}.so"
    if not path.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        subprocess.run([os.environ.get("CC", "cc"), *flags, "-o", made, SOURCE, "-ldl"], check=True)
        made.replace(path)
    return path


def load() -> ctypes.PyDLL:
    """The library as it was preloaded into this process. Its functions run without giving the interpreter away."""
    c = ctypes.PyDLL(os.environ["SIM_WORLD"])
    declare(c)
    return c


def declare(c: ctypes.CDLL) -> None:
    """Give the library's functions their types, and names without `world_`."""
    number, size, wide = ctypes.c_int, ctypes.c_size_t, ctypes.c_int64
    for name, result, arguments in (
        ("begin", None, (ctypes.c_uint64, wide, wide, number, wide)),
        ("end", None, ()),
        ("chances", None, (number, number, number, number)),
        ("now", wide, ()),
        ("advance", None, (wide,)),
        ("listen", number, ()),
        ("connect", number, (number, size, number)),
        ("client_send", number, (number, ctypes.c_char_p, size)),
        ("client_lazy", None, (number, number)),
        ("client_finish", None, (number,)),
        ("client_reset", None, (number,)),
        ("client_take", ctypes.c_ssize_t, (number, ctypes.c_void_p, size)),
        ("client_consumed", wide, (number,)),
        ("client_closed_at", wide, (number,)),
        ("arrivals", number, (number, ctypes.c_void_p, number)),
        ("next_cork", wide, ()),
        ("is_open", number, (number,)),
        ("watch", number, (number, number)),
        ("ready", number, (ctypes.c_void_p, ctypes.c_void_p, number)),
        ("open_count", number, ()),
        ("watched_count", number, ()),
        ("note", None, (number, wide)),
        ("digest", ctypes.c_uint64, ()),
        ("traced", wide, ()),
        ("trace", number, (wide, ctypes.POINTER(Trace))),
        ("counter", wide, (number,)),
        ("finding", number, (number,)),
        ("calls", wide, ()),
        ("signal", None, (number, wide)),
        ("spoil", None, (wide,)),
        ("random", ctypes.c_void_p, ()),
        ("zygote", number, (number, number, ctypes.c_char_p, ctypes.c_uint, ctypes.POINTER(ctypes.c_uint))),
    ):
        function = getattr(c, f"world_{name}")
        function.restype, function.argtypes = result, arguments
        setattr(c, name, function)


def trace_lines(c: ctypes.PyDLL, most: int, notes: dict[int, str]) -> list[str]:
    """The last `most` entries of the trace, as text."""
    entry, lines = Trace(), []
    end = c.traced()
    for at in range(max(0, end - most), end):
        if c.trace(at, entry) == 0:
            subject = notes.get(entry.subject, entry.subject) if entry.kind == 12 else f"#{entry.subject - BASE}"
            lines.append(f"{entry.now / 1e9:14.6f}  {KINDS[entry.kind]:8} {subject!s:24} {entry.result}")
    return lines
