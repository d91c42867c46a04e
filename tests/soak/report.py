"""What a soak counts, and how it tells it."""

import sys
import time
from collections import Counter

FINDINGS = 20  # that are told in full
WHEN = ("first", "warm", "last", "most")
EVERY = 30.0  # seconds between two lines where there is no terminal


class Tally:
    """Counts of requests, answers and attacks; and what was wrong."""

    def __init__(self):
        self.requests = Counter()  # (kind, what became of it)
        self.statuses = Counter()
        self.attacks = Counter()  # (kind, how it ended)
        self.findings = []

    def honest(self, kind, end):
        self.requests[kind, end] += 1

    def answered(self, status):
        self.statuses[status] += 1

    def attacked(self, kind, end):
        self.attacks[kind, end] += 1

    def wrong(self, what):
        self.findings.append(what)

    def right(self):
        return sum(n for (_, end), n in self.requests.items() if end == "right")

    def late(self):
        """Requests that met a time-out of the server although they were honest: the machine was too slow for both."""
        return sum(n for (_, end), n in self.requests.items() if end.endswith(" in time"))


class Progress:
    """What is running and how long is left: one line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self, total, out=sys.stderr):
        self._total, self._out, self._began = total, out, time.monotonic()
        self._told = -EVERY
        self._what = ""

    def show(self, what, tally):
        now = time.monotonic() - self._began
        left = max(0.0, self._total - now)
        attacks = sum(tally.attacks.values())
        text = f"{what}: {tally.right():,} right answers, {attacks:,} attacks, {len(tally.findings)} findings"
        if self._out.isatty():
            done = int(20 * min(1.0, now / self._total))
            self._out.write(f"\r\x1b[K[{'#' * done}{'.' * (20 - done)}] {text}; about {left:.0f} s left")
        elif now - self._told >= EVERY or what != self._what:
            self._told, self._what = now, what
            self._out.write(f"{now:6.0f} s  {text}; about {left:.0f} s left\n")
        self._out.flush()

    def clear(self):
        if self._out.isatty():
            self._out.write("\r\x1b[K")
            self._out.flush()


def pivot(title, counts):
    """Lines of a table: a row for each kind, with what became of it, most frequent first."""
    rows = {}
    for (kind, end), n in counts.items():
        rows.setdefault(kind, []).append((end, n))
    lines = [f"{title:<18}    total  ends"]
    for kind in sorted(rows):
        ends = ", ".join(f"{end} {n:,}" for end, n in sorted(rows[kind], key=lambda each: -each[1]))
        lines.append(f"{kind.replace('_', ' '):<18} {sum(n for _, n in rows[kind]):>8,}  {ends}")
    return lines


def usage(samples):
    """Lines of a table: what each server used, from {name: {"first": Sample, ...}}; see WHEN."""
    lines = [f"{'used by the server':<26}" + "".join(f"{when:>9}" for when in WHEN)]
    for name, at in samples.items():
        for what, unit in (("rss", 1 << 20), ("greenlets", 1), ("descriptors", 1), ("connections", 1)):
            values = [getattr(at[when], what) / unit if when in at else None for when in WHEN]
            form = "{:9.1f}" if unit > 1 else "{:9.0f}"
            label = f"{name} {what}{', MiB' if unit > 1 else ''}"
            lines.append(f"{label:<26}" + "".join("        -" if v is None else form.format(v) for v in values))
    return lines


def summary(tally, samples):
    """Everything, as lines."""
    statuses = ", ".join(f"{status} {n:,}" for status, n in sorted(tally.statuses.items()))
    findings = [f"WRONG {what}" for what in tally.findings[:FINDINGS]]
    if len(tally.findings) > FINDINGS:
        findings.append(f"and {len(tally.findings) - FINDINGS} more")
    return [
        *pivot("honest requests", tally.requests), "",
        f"answers to them by status: {statuses}", "",
        *pivot("attacks", tally.attacks), "",
        *usage(samples), "",
        *findings,
        f"{len(tally.findings)} findings" if tally.findings else "nothing was wrong",
    ]  # fmt: skip
