"""A server process of a soak: its settings, what it looks like from outside and inside, and what its logs say."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import gevent

from perf.tools.procfs import descriptors, rss
from tests.soak.wire import Peer, Truncated, Unanswered

ROOT = Path(__file__).parents[2]

# Small enough that attackers meet every one of them often, by seconds
LIMITS = {
    "header_timeout": 1.0, "body_timeout": 1.0, "write_timeout": 1.0, "queue_timeout": 1.0, "request_timeout": 2.0,
}  # fmt: skip
SETTINGS = {
    **LIMITS, "keepalive_timeout": 3.0, "min_rate_after": 1.0, "linger_timeout": 0.5, "graceful_timeout": 5.0,
    "connections": 400, "concurrency": 50, "queue": 50,
    "limit_request_line": "8k", "limit_request_head": "16k", "limit_request_body": "256k", "limit_buffers": "2m",
}  # fmt: skip
OWN = {"connections": 1, "running": 1, "pool_waiting": 0}  # what the question for statistics itself adds to them
STOP_IN = 2 * SETTINGS["graceful_timeout"]
SPARE = 16  # green threads that the pool keeps for ever, see green/pool.pyx

ORDERED = re.compile(r" (GET|POST) /(fail|late|kill|forever|stubborn|short|nonsense|number|split|endless|deaf)\b")


@dataclass(frozen=True)
class Sample:
    """What a server used at one moment: bytes, green threads, descriptors, open connections."""

    rss: int
    greenlets: int
    descriptors: int
    connections: int


class Target:
    """A server process, and what the clients know of it.

    Arguments:
        name: "native" or "wsgi", what it speaks.
        directory: for its logs.
        file: what it serves as a file.

    Attributes:
        port: where it listens, once started.
        answered: the numbers of requests that were answered rightly.
        unserved: those of requests that the application must not have seen.
    """

    limits = LIMITS

    def __init__(self, name, directory, file):
        self.name = name
        self.access_log, self.error_log = directory / f"{name}.access.log", directory / f"{name}.error.log"
        self.answered, self.unserved = [], []
        self.port = 0
        self._file = file
        self._numbers = 0

    def launch(self):
        """Start the process; `wait` returns when it serves."""
        options = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
        with open(self.error_log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "greenhttp", "-b", "127.0.0.1:0", "--access-logfile", str(self.access_log),
                 "--access-log-format", "%(s)s %(r)s", *options, f"tests.soak.apps:{self.name}"],
                cwd=ROOT, stderr=log, env={**os.environ, "SOAK_FILE": str(self._file), "FORCE_COLOR": ""},
            )  # fmt: skip

    def wait(self):
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)(.|\n)*Ctrl-C", self.error_log.read_text())):
            if self.process.poll() is not None:
                raise RuntimeError(f"the {self.name} server did not start: {self.error_log.read_text()}")
            gevent.sleep(0.05)
        self.port = int(found[1])

    def next_number(self):
        self._numbers += 1
        return self._numbers

    # ---- what it looks like

    def statistics(self, numbers=(), collect=False):
        """What the server tells of itself, or None where there is no room to ask it."""
        body = json.dumps(list(numbers)).encode()
        path = "/statistics?collect=1" if collect else "/statistics"
        head = f"POST {path} HTTP/1.1\r\nHost: soak\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            with Peer(self.port) as peer:
                peer.send(head.encode() + body)
                answer = peer.answer()
                peer.receive()  # the end: its descriptor has gone too
        except (ConnectionError, TimeoutError, Truncated, Unanswered):
            return None
        return json.loads(answer.content) if answer.status == 200 else None

    def sample(self, told):
        pid = self.process.pid
        return Sample(rss([pid]), told["greenlets"], descriptors([pid]), told["connections"])

    def settled(self, limit, few_greenlets=False, level=None):
        """(sample, "") when nothing but the question itself is left; (sample, what still is) after `limit` seconds.

        Arguments:
            few_greenlets: wait too until the pool has let go of the green threads that it does not keep.
            level: a Sample; wait too until there are no more green threads and descriptors than then, since what
                writes the logs comes and goes.
        """
        until = time.monotonic() + limit
        while True:
            told = self.statistics(collect=True)
            if told is not None:
                left = {key: told[key] for key, own in OWN.items() if told[key] > own}
                if few_greenlets and told["pool_size"] > SPARE:
                    left["green threads"] = told["pool_size"]
                now = self.sample(told)
                above = level and (now.greenlets > level.greenlets or now.descriptors > level.descriptors)
                if not left and (not above or time.monotonic() > until):
                    return now, ""
            if time.monotonic() > until:
                return (None, "no answer") if told is None else (now, str(left))
            gevent.sleep(0.2)

    def seen(self):
        """Which of the unserved numbers the application has seen."""
        found = []
        for i in range(0, len(self.unserved), 5000):
            found += self.statistics(self.unserved[i : i + 5000])["seen"]
        return found

    # ---- its end

    def stop(self):
        """TERM. Returns (exit code or None, seconds it took)."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        while self.process.poll() is None and time.monotonic() < began + STOP_IN:
            gevent.sleep(0.02)
        return self.process.poll(), time.monotonic() - began

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def unordered(log):
    """The tracebacks in a log that no client has ordered, each with the line before it.

    An entry of the server's log names the request; a traceback without such an entry is the server's own.
    """
    found, before = [], ""
    for line in log.splitlines():
        if line.startswith("Traceback (most recent call last)") and not ORDERED.search(before):
            found.append(before)
        if not line.startswith((" ", "Traceback", "During handling", "The above exception")) and " " in line:
            before = line
    return found


def miscounted(log, answered):
    """What is wrong in an access log: numbers of right answers without exactly one entry."""
    entries = {}
    for found in re.finditer(r"^(\d+) \S+ \S*[?&]id=(\d+)", log, re.MULTILINE):
        entries.setdefault(int(found[2]), []).append(found[1])
    return [(number, entries.get(number)) for number in answered if len(entries.get(number, ())) != 1]
