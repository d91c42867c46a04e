"""Where figures were measured: processor, cores, memory, kernel, and the versions of everything compared."""

import os
import platform
import shutil
import ssl
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

TOP = Path(__file__).parent.parent.parent
PACKAGES = ("gevent", "greenlet", "gunicorn", "uWSGI", "waitress", "cheroot", "granian", "bjoern", "fastwsgi",
            "freastal", "Flask", "uvicorn", "uvloop")  # fmt: skip


def _line_of(path: str, name: str) -> str | None:
    """What stands behind `name:` in a file of /proc; the first one counts."""
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return None


def said(*command: str, stream: str = "stdout") -> str:
    """What a program says about itself; nothing where it is missing or cannot answer."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    return getattr(done, stream).strip()


def today() -> str:
    return datetime.now(timezone.utc).date().isoformat()


def commit() -> str | None:
    """The commit of greenhttp, `with changes` where its sources differ from it; None outside a repository."""
    if not (name := said("git", "rev-parse", "--short=12", "HEAD")):
        return None
    return name + (" with changes" if said("git", "status", "--porcelain", "--", "greenhttp") else "")


def facts() -> dict[str, str]:
    """Every fact as a short text, in the order in which they are shown. Unknown ones are left out."""
    memory = _line_of("/proc/meminfo", "MemTotal")
    go, wrk = said("go", "version").split(), said("wrk", "-v").split()
    found = {
        "date": today(),
        "cpu": _line_of("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory.split()[0]) / 1048576:.1f} GiB" if memory else None,
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "greenhttp": commit(),
        "go": go[2].removeprefix("go") if len(go) > 2 else None,
        "wrk": wrk[1] if len(wrk) > 1 else None,
        "nginx": said("nginx", "-v", stream="stderr").rpartition("/")[2].split(" ")[0],
        "openssl": ssl.OPENSSL_VERSION.split()[1],
    }
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {name: value for name, value in found.items() if value}


def short(known: dict[str, str]) -> str:
    """The line under a plot's title."""
    parts = [known.get("cpu"), f"{known['cores']} cores" if "cores" in known else None, known.get("kernel")]
    return ", ".join(part for part in [*parts, known.get("python"), known.get("date")] if part)
