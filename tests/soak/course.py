"""The course of a soak: start, warm up, settle, go on, settle, stop; and the verdict."""

import random
import resource
import tempfile
import time
from pathlib import Path

import gevent

from tests.soak.apps import WHOLE_FILE
from tests.soak.attacks import Attacker
from tests.soak.honest import Honest
from tests.soak.report import Progress, Tally
from tests.soak.servers import SETTINGS, Sample, Target, miscounted, unordered
from tests.soak.wire import PATIENCE

HONEST, ATTACKERS = 8, 24  # clients of each server
GROWTH = 4 << 20  # bytes of RSS from the end of the warm-up on
LATE = 0.01  # of the honest requests: beyond it the machine was too slow to tell anything
SETTLING = 60.0  # seconds
LONG = 60.0  # seconds of a soak from which on growth can be told from warming up
DESCRIPTORS = 4096  # of the clients


class Soak:
    """One soak.

    Arguments:
        seconds: of traffic, a fifth of it to warm up.
        seed: for everything the clients do. What comes of it still depends on when the kernel lets whom run.

    Attributes:
        tally: what was counted, and what was wrong.
        samples: {server: {"first", "warm", "last" or "most": Sample}}.
    """

    def __init__(self, seconds, seed):
        self.seconds, self.seed = seconds, seed
        self.tally = Tally()
        self.samples = {}
        self._progress = Progress(seconds + 2 * PATIENCE / 3)
        self._targets = []

    def run(self):
        _descriptors_for_clients()
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "file"
            file.write_bytes(WHOLE_FILE)
            self._targets = [Target(name, Path(directory), file) for name in ("native", "wsgi")]
            try:
                for target in self._targets:
                    target.launch()
                for target in self._targets:
                    target.wait()
                self._traffic()
                self._stop()
            finally:
                for target in self._targets:
                    target.kill()
                self._progress.clear()
        self._judge()

    def _traffic(self):
        self._settle("first")
        self._load("warming up", self.seconds / 5)
        self._settle("warm")
        self._load("running", self.seconds * 4 / 5)
        self._settle("last")

    def _load(self, what, seconds):
        until = time.monotonic() + seconds
        honest = self._spawn(Honest, HONEST, what, until)
        attackers = self._spawn(Attacker, ATTACKERS, what, until)
        while time.monotonic() < until:
            gevent.sleep(min(1.0, max(0.0, until - time.monotonic())))
            for target in self._targets:
                self._look(target)
            self._progress.show(what, self.tally)
        self._progress.show("the last ones end", self.tally)
        gevent.killall(attackers)  # some would go on for as long as the server lets them
        gevent.joinall(honest, timeout=3 * PATIENCE)
        for client in honest + attackers:
            if not client.successful():
                self.tally.wrong(f"a client did not end well: {client.exception!r}")
        gevent.killall(honest)

    def _spawn(self, kind, count, what, until):
        clients = []
        for target in self._targets:
            for i in range(count):
                rng = random.Random(f"{self.seed} {what} {target.name} {kind.__name__} {i}")
                clients.append(gevent.spawn(kind(target, self.tally, rng).run, until))
        return clients

    def _look(self, target):
        """One sample in the middle of it, for the most that was used."""
        if target.process.poll() is not None:
            raise RuntimeError(f"the {target.name} server has ended: {target.error_log.read_text()[-3000:]}")
        told = target.statistics()
        if told is None:
            return
        now, most = target.sample(told), self.samples[target.name].get("most")
        if most is not None:
            now = Sample(**{name: max(value, getattr(most, name)) for name, value in vars(now).items()})
        self.samples[target.name]["most"] = now

    def _settle(self, when):
        self._progress.show("settling", self.tally)
        for target in self._targets:
            long = self.seconds >= LONG
            level = self.samples[target.name]["warm"] if long and when == "last" else None
            sample, left = target.settled(SETTLING, long, level)
            if left:
                self.tally.wrong(f"{target.name}: {SETTLING:g} s after the last client there is still {left}")
            self.samples.setdefault(target.name, {})[when] = sample

    def _stop(self):
        for target in self._targets:
            told = target.statistics()
            if told["smuggled"]:
                self.tally.wrong(f"{target.name}: {told['smuggled']} smuggled requests reached the application")
            if told["twice"]:
                self.tally.wrong(f"{target.name}: the application saw {told['twice']} requests twice")
            for number in target.seen():
                self.tally.wrong(f"{target.name}: request {number} reached the application and was not answered")
            code, seconds = target.stop()
            if code is None:
                self.tally.wrong(f"{target.name}: it still ran {seconds:.0f} s after TERM")
            elif code:
                self.tally.wrong(f"{target.name}: exit code {code} after TERM")
            self._read_logs(target)

    def _read_logs(self, target):
        for line in unordered(target.error_log.read_text()):
            self.tally.wrong(f"{target.name}: a traceback that nobody ordered, after: {line}")
        for number, entries in miscounted(target.access_log.read_text(), target.answered):
            self.tally.wrong(f"{target.name}: request {number} in the access log: {entries}")

    def _judge(self):
        for line in grown(self.samples, self.seconds >= LONG):
            self.tally.wrong(line)
        if not self.tally.right():
            self.tally.wrong("not one right answer")
        late = self.tally.late()
        if self.seconds >= LONG and late > LATE * sum(self.tally.requests.values()):
            self.tally.wrong(f"{late} honest requests met a time-out: is the machine busy with other things?")


def grown(samples, thoroughly):
    """What is used up at the end beyond the level after the warm-up, as lines.

    Arguments:
        thoroughly: the warm-up was long enough to tell; without, only what holds from the first second on.
    """
    lines = []
    for name, at in samples.items():
        warm, last = at["warm"], at["last"]
        greenlets = warm.greenlets if thoroughly else max(warm.greenlets, SETTINGS["concurrency"] + 10)
        if thoroughly and last.rss > warm.rss + GROWTH:
            lines.append(f"{name}: RSS grew by {(last.rss - warm.rss) / (1 << 20):.1f} MiB after the warm-up")
        if last.greenlets > greenlets:
            lines.append(f"{name}: {last.greenlets} green threads in the end, {warm.greenlets} after the warm-up")
        if last.descriptors > warm.descriptors:
            lines.append(f"{name}: {last.descriptors} descriptors in the end, {warm.descriptors} after the warm-up")
    return lines


def _descriptors_for_clients():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < DESCRIPTORS:
        wanted = DESCRIPTORS if hard < 0 else min(DESCRIPTORS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
