"""A server process under attack: how it is started, asked, and looked at from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

from perf.tools import procfs
from tests.http.apps import request
from tests.http.client import Client

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds, far beyond what anything here takes

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="no /proc to look into")


class Process:
    """`python -m greenhttp ... tests.hostile.served:app`, killed at the end of the with block.

    Arguments:
        log: the file its log goes to. Not a pipe: what it writes must not wait for a test that reads nothing.
        settings: by name, as in Python.

    Attributes:
        address: where it listens.
        pid: of the process.
    """

    def __init__(self, log: Path, **settings: Any) -> None:
        self._log = log
        self._clients: list[Client] = []
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("GREENHTTP_", "PORT", "WEB_"))}
        options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        with open(log, "w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "greenhttp", "-b", "127.0.0.1:0", *options, "tests.hostile.served:app"],
                cwd=ROOT, stderr=file,  # the start is said to people, whatever log_level is
                env={**clean, "PYTHONDONTWRITEBYTECODE": "1", "FORCE_COLOR": "1", "NO_COLOR": "1"},
            )  # fmt: skip
        self.pid = self._process.pid

    def __enter__(self) -> Process:
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_until_ready(self) -> None:
        self.until(lambda: "Ctrl-C" in self.log() or self._process.poll() is not None)
        assert self._process.poll() is None, self.log()
        self.address = "127.0.0.1", int(re.search(r"http://127\.0\.0\.1:(\d+)", self.log())[1])
        for data in (request(), b"bad\r\n", request(b"GET /told HTTP/1.1")):
            self.connect().ask(data)  # what is allocated once is allocated now
        self.hang_up()

    def __exit__(self, *exc_info: object) -> None:
        self.hang_up()
        self._process.kill()
        self._process.wait()

    # ---- clients

    def connect(self, **options: Any) -> Client:
        self._clients.append(Client(self.address, **options))
        return self._clients[-1]

    def hang_up(self) -> None:
        """Close all clients."""
        for client in self._clients:
            client.close()
        self._clients.clear()

    def told(self, client: Client | None = None) -> dict[str, int]:
        """What the application has counted so far, this question included; asked on a connection of its own unless one
        is given."""
        asking = client or Client(self.address)
        try:
            return json.loads(asking.ask(request(b"GET /told HTTP/1.1")).content)
        finally:
            if client is None:
                asking.close()

    # ---- from outside

    def log(self) -> str:
        return self._log.read_text()

    def descriptors(self) -> int:
        return procfs.descriptors([self.pid])

    def resident(self) -> int:
        """Bytes, now; the most there ever is counts from now on."""
        procfs.reset_peak([self.pid])
        return procfs.rss([self.pid])

    def peak(self) -> int:
        """The most bytes that were resident since `resident` was asked."""
        return procfs.peak_rss([self.pid])

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait for what can only be seen by looking."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.log()
            gevent.sleep(0.01)

    def rests(self, client: Client | None = None) -> bool:
        """Whether its loop waits for news, instead of being called for the same again and again."""
        before = self.told(client)["turns"]
        gevent.sleep(0.2)
        return self.told(client)["turns"] - before < 100  # one that does not turns thousands of times
