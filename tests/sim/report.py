"""Many worlds: run beside each other, counted, and told about."""

import itertools
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.sim.runner import TOP, Verdict, Worlds

POINTS = (
    "read body", "write", "flush", "share", "nap", "sleep", "event", "queue", "run", "close", "between", "stop", "hub",
)  # fmt: skip
STRIKES = ("finalizer", "signal", "killed", "thrown", "timeout", "holds")
# A signal's handler runs in whoever runs; nobody can kill the hub, nor a green thread that has no request; a timeout is
# of a request, and so is what somebody holds.
NEVER = {(point, "signal") for point in ("share", "nap", "sleep", "event", "queue")}
NEVER |= {("between", strike) for strike in ("killed", "thrown")}
NEVER |= {("run", "timeout"), ("stop", "timeout"), ("stop", "holds")} | {("hub", strike) for strike in STRIKES[2:]}
EVERY = 20.0  # seconds between two lines of progress


def in_jobs(
    jobs: int,
    seed: int,
    count: int | None,
    minutes: float | None,
    without: list[str],
    python: str | None,
    top: Path = TOP,
    loop: str = "",
) -> Iterator[Verdict]:
    """Verdicts, as they come, of worlds with the seeds from `seed` on: so many, or for so many minutes."""
    seeds = itertools.count(seed)
    until = time.monotonic() + minutes * 60 if minutes else float("inf")
    last = seed + count if count else float("inf")
    verdicts: queue.Queue[Verdict | None | BaseException] = queue.Queue()

    def work() -> None:
        try:
            with Worlds(python or sys.executable, top, loop) as worlds:
                while time.monotonic() < until and (number := next(seeds)) < last:
                    verdicts.put(worlds.run(number, without=without))
            verdicts.put(None)
        except BaseException as error:
            verdicts.put(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    while jobs:
        verdict = verdicts.get()
        if isinstance(verdict, BaseException):
            raise verdict
        if verdict is None:
            jobs -= 1
        else:
            yield verdict


class Summary:
    """What came of all worlds. Prints failures when they happen, and a line of progress now and then."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.began = self.told = time.monotonic()
        self.worlds = self.connections = self.requests = self.milliseconds = 0
        self.failures: dict[str, list[Verdict]] = {}
        self.hits: Counter[str] = Counter()
        self.adversities: Counter[str] = Counter()

    def add(self, verdict: Verdict) -> None:
        self.worlds += 1
        self.connections += verdict["connections"]
        self.requests += verdict.get("requests", 0)
        self.milliseconds += verdict["milliseconds"]
        self.hits.update(verdict["hits"])
        self.adversities.update(set(verdict.get("adversities", ())))
        kind = verdict["failure"]
        if kind:
            known = self.failures.setdefault(kind, [])
            known.append(verdict)
            if len(known) <= 2 and not self.quiet:
                print(f"seed {verdict['seed']}: {kind}: {verdict['story'][:1500]}", flush=True)
        if time.monotonic() > self.told + EVERY:
            self.told = time.monotonic()
            print(self.line(), flush=True)

    def line(self) -> str:
        seconds = time.monotonic() - self.began
        failed = sum(map(len, self.failures.values()))
        rate = self.connections / seconds
        return (
            f"{seconds:6.0f} s: {self.worlds} worlds, {self.connections} connections ({rate:.0f}/s), {failed} failures"
        )

    def end(self) -> None:
        print(self.line())
        for kind, failed in sorted(self.failures.items(), key=lambda pair: -len(pair[1])):
            print(f"{len(failed):6} {kind}: {', '.join(str(verdict['seed']) for verdict in failed[:8])}")
        if not self.quiet:
            print("\n".join(self.table()))

    def to_shrink(self) -> list[Verdict]:
        """One world of each kind of failure."""
        return [failed[0] for failed in self.failures.values()]

    def table(self) -> list[str]:
        """Where a green thread was when what befell it: rows are suspension points, columns adversities."""
        cells = {tuple(key.split(" x ")): count for key, count in self.hits.items()}
        lines = [f"{'':10} " + " ".join(f"{column:>10}" for column in STRIKES)]
        empty = []
        for point in POINTS:
            row = []
            for strike in STRIKES:
                count = cells.pop((point, strike), 0)
                never = count == 0 and (point, strike) in NEVER
                row.append(f"{'-' if never else count:>10}")
                if count == 0 and not never:
                    empty.append(f"{point} x {strike}")
            lines.append(f"{point:10} {' '.join(row)}")
        others: Counter[str] = Counter()
        for (_, adversity), count in cells.items():
            others[adversity] += count
        worlds = ", ".join(f"{kind} {count}" for kind, count in self.adversities.most_common())
        return [
            f"worlds with each adversity: {worlds}",
            f"of single requests: {', '.join(f'{name} {count}' for name, count in others.most_common())}",
            *lines,
            f"empty: {', '.join(empty) or 'none'}",
        ]
