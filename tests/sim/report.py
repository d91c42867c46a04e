"""Many worlds: run beside each other, counted, and told about."""

import itertools
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.sim.runner import TOP, Verdict, Zygote

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
            with Zygote(python or sys.executable, top, loop) as zygote:
                while time.monotonic() < until and (number := next(seeds)) < last:
                    verdicts.put(zygote.run(number, without=without))
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
        rows = sorted({point for point, _ in cells})
        columns = sorted({adversity for _, adversity in cells})
        width = max(map(len, rows), default=0)
        lines = [f"{'':{width}} " + " ".join(f"{column:>12}" for column in columns)]
        for row in rows:
            counts = " ".join(f"{cells.get((row, column), 0):12}" for column in columns)
            lines.append(f"{row:{width}} {counts}")
        worlds = ", ".join(f"{kind} {count}" for kind, count in self.adversities.most_common())
        return [f"worlds with each adversity: {worlds}", *lines]
