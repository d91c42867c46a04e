"""One client pipelines without end; how many of its requests are served before another client's waiting request is?

Counting by a stopwatch or by answers as they arrive would count the way to the client and back too, and the client's
own slowness. So the server counts: `/count` answers with the number of the request within the process, and the
application keeps the last number in a mapped file. One trial:

  1. the greedy client runs freely for a few milliseconds; then the server is stopped (SIGSTOP), wherever it happens
     to be;
  2. its answers are drained and its pipeline is filled until its socket takes no more: thousands of requests, so that
     the greedy client has bytes ready until long after the trial;
  3. the counter is read from the mapped file, and two polite clients send one request each on idle connections. On
     loopback the bytes are in the server's receive buffers when send() returns, and the server has not moved since;
  4. the server continues (SIGCONT), and the two answers bring their numbers.

`waited`: numbers given out between the arrival of the polite requests and the first of them. `between`: numbers given
out between the first and the second of the polite requests, which had both been waiting all that time. No client's
turnaround is in either figure. A server that goes on as long as a connection has bytes shows thousands, or never
comes round to the polite requests at all: after 2 s a trial ends with what the counter says.
"""

import os
import random
import select
import signal
import tempfile
import time

from perf.reach.figure import Figure, Unable
from perf.tools import clients, procfs
from perf.tools.honest import percentile
from perf.tools.servers import Running, Server

TRIALS = 200
BOUND = 16
PATIENCE = 2
PIPELINE = clients.get("/count") * 512


class Starved(Exception):
    def __init__(self, served: int):
        self.served = served


class Greedy:
    def __init__(self, port: int):
        self._socket = clients.connect(port)
        self._socket.setblocking(False)
        self._unsent = memoryview(PIPELINE)

    def pump(self) -> None:
        """Take all answers that are here and send requests until the socket takes no more."""
        try:
            while self._socket.recv(262144):
                pass
            raise Unable("the server closed the pipelining connection")
        except BlockingIOError:
            pass
        try:
            while True:
                self._unsent = self._unsent[self._socket.send(self._unsent) :] or memoryview(PIPELINE)
        except BlockingIOError:
            pass

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.pump()
            select.select([self._socket], [], [], 0.001)

    def close(self) -> None:
        self._socket.close()


def _halt(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    until = time.monotonic() + 2
    while any(procfs.state(pid) != "T" for pid in pids):
        if time.monotonic() > until:
            raise Unable("the server did not stop on SIGSTOP")
        time.sleep(0.0005)


def _count(counter) -> int:
    counter.seek(0)
    return int.from_bytes(counter.read(8), "little")


def _number(polite, greedy: Greedy) -> int | None:
    """The number in the answer, or None when there is none within PATIENCE."""
    answers, until = clients.Answers(), time.monotonic() + PATIENCE
    while time.monotonic() < until:
        greedy.pump()
        try:
            if found := answers.feed(polite.recv(4096)):
                return int(found[0][1])
        except BlockingIOError:
            select.select([polite], [], [], 0.001)
    return None


def trial(running: Running, counter, greedy: Greedy, polite: list) -> tuple[int, int]:
    """(waited, between)"""
    greedy.run(random.uniform(0.002, 0.02))
    pids = running.pids()
    try:
        _halt(pids)
        greedy.pump()
        served = _count(counter)
        for client in polite:
            client.send(clients.get("/count"))
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    numbers = [_number(client, greedy) for client in polite]
    if None in numbers:
        raise Starved(_count(counter) - served)
    first, second = sorted(numbers)
    return first - served - 1, second - first - 1


def run(server: Server, say) -> list[Figure]:
    with tempfile.NamedTemporaryFile(buffering=0) as counter:
        counter.write(bytes(8))
        with Running(server, PERF_COUNTER=counter.name) as running:
            polite = [clients.connect(running.port) for _ in range(2)]
            for client in polite:
                clients.ask(client, "/count")
                client.setblocking(False)
            if not _count(counter):
                raise Unable("this server does not run perf/tools/apps.py, whose counter is needed")
            greedy = Greedy(running.port)
            results = []
            for number in range(TRIALS):
                say(f"trial {number + 1}/{TRIALS}")
                try:
                    results.append(trial(running, counter, greedy, polite))
                except Starved as starved:
                    return [
                        Figure(f"served, and no answer within {PATIENCE} s", starved.served, "requests", at_most=BOUND)
                    ]
            for client in (greedy, *polite):
                client.close()
    waited, between = (list(each) for each in zip(*results, strict=True))
    return [
        Figure("served before a waiting request, most", max(waited), "requests", at_most=BOUND),
        Figure("served before a waiting request, median", percentile(waited, 50), "requests"),
        Figure("served between two waiting requests, most", max(between), "requests", at_most=BOUND),
        Figure("served between two waiting requests, median", percentile(between, 50), "requests"),
    ]
