"""greenhttp as process 1, as in a container: the CMD of docs/deploy/Containerfile in a namespace of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fronts.conftest import SERVED
from tests.fronts.test_deploy import container, greenhttp
from tests.reload import children
from tests.system.test_supervisor import until

ROOT = Path(__file__).parents[2]
UNSHARE = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]


@pytest.fixture
def pid_one(tmp_path):
    """The process outside, the number of process 1 as seen here, and the file that has what it said."""
    if not shutil.which("unshare") or subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no unshare, or it may not make a namespace of processes here")
    (tmp_path / "web.py").write_text(SERVED)
    command = greenhttp(container(), "web:app")
    command[command.index("-b") + 1] = "unix:s"
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            [*UNSHARE, *command], cwd=tmp_path, stderr=said, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    until(lambda: (tmp_path / "said").read_text().count("serves, process") == 2 or process.poll() is not None)
    until(lambda: "HUP reloads" in (tmp_path / "said").read_text() or process.poll() is not None)
    (one,) = children(process.pid)
    yield process, one, tmp_path / "said"
    if process.poll() is None:
        process.kill()
        process.wait()


def ask(where: Path, target: str) -> list[int]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(where))
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return [int(word) for word in answer.partition(b"\r\n\r\n")[2].split()]


def inside(pid: int) -> int:
    """The number that this process has in the innermost namespace."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[-1]) for line in file if line.startswith("NSpid:"))


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces of processes")
def test_process_1_serves_reloads_reaps_orphans_without_a_word_and_stops_at_term(pid_one, tmp_path):
    process, one, said = pid_one
    assert inside(one) == 1 and ask(tmp_path / "s", "/pid")[1] == 1
    workers = set(children(one))
    (orphan,) = ask(tmp_path / "s", "/orphan")
    assert orphan in {inside(pid) for pid in set(children(one)) - workers}  # it is ours now
    before = said.read_text()
    (tmp_path / "go").touch()
    until(lambda: set(children(one)) == workers)  # it has ended, and nobody keeps its number: a zombie is a child too
    assert said.read_text() == before
    os.kill(one, signal.SIGHUP)
    until(lambda: "has taken over" in said.read_text())
    until(lambda: len(children(one)) == 2 and not set(children(one)) & workers)
    assert ask(tmp_path / "s", "/pid")[1] == 1
    os.kill(one, signal.SIGTERM)
    assert process.wait(60) == 0
    assert "ERROR" not in said.read_text() and "WARNING" not in said.read_text(), said.read_text()
