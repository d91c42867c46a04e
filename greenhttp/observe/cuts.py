"""What the log says of requests that a stop cuts: how many, and of each what it was, for how long, and where it is."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from greenhttp.process.places import of_application

MOST = 20  # are listed


class Cut(NamedTuple):
    """Something that a stop ends before its time.

    Attributes:
        state: "running", "queued", or "sending": the answer is made, and its client has not read all of it.
        who: the peer and, where there is one, the request: `127.0.0.1:4711: GET /path`.
        seconds: in that state; negative: unknown.
        green: the green thread that it runs in, or None.
        waits: what it does with its connection at the moment, "" for nothing.
    """

    state: str
    who: str
    seconds: float
    green: Any
    waits: str


def listed(cuts: Sequence[Cut], noun: str, why: str) -> str:
    """A line that counts them, and one for each, those that have run for longest first."""
    order = sorted(cuts, key=lambda cut: (cut.state != "running", -cut.seconds))
    lines = [f"{counted(cuts, noun)} {why}:"]
    lines += [f"    {described(cut)}" for cut in order[:MOST]]
    if len(order) > MOST:
        lines.append(f"    and {len(order) - MOST} more")
    return "\n".join(lines)


def counted(cuts: Sequence[Cut], noun: str) -> str:
    """`1 request`, `2 requests`."""
    return f"{len(cuts)} {noun}{'' if len(cuts) == 1 else 's'}"


def described(cut: Cut) -> str:
    """One of them, in one line."""
    for_long = f" for {cut.seconds:.1f} s" if cut.seconds >= 0 else ""
    if cut.state == "sending":
        return f"{cut.who}: the answer was not read to its end"
    where = of_application(cut.green.gr_frame) if cut.green is not None else ""
    parts = [f"{cut.state}{for_long}", cut.waits, f"at {where}" if where else ""]
    return f"{cut.who}: {', '.join(filter(None, parts))}"
