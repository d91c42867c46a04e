"""What a request belongs to: W3C Trace Context, https://www.w3.org/TR/trace-context/

    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
    tracestate:  shop=t61rcWkgMzE,billing=00f067aa0ba902b7

What is malformed is not there: a `traceparent` that breaks a rule gives no trace, a `tracestate` that does is dropped
alone.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from greenhttp.process.ids import new_id

MEMBERS = 32  # of a tracestate at most (3.3.1.1)
LONGEST = 8192  # characters of a tracestate: sixteen times what everybody has to pass on (3.3.1.5)
SAMPLED, RANDOM = 1, 2  # bits of the flags; the second is of Level 2

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
# A key by Level 2, which allows all that Level 1 does
_MEMBER = re.compile(r"([a-z0-9][a-z0-9_*/@-]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]")


class Trace(NamedTuple):
    """The trace that a request belongs to (W3C Trace Context). Does not change.

    Attributes:
        trace_id: of the trace: 32 hex digits.
        parent_id: of the caller's span: 16 hex digits.
        flags: those that are defined: 1 sampled, 2 random (Level 2).
        state: the `tracestate` value of tracing systems; "" if there is none.
    """

    trace_id: str
    parent_id: str
    flags: int
    state: str = ""

    @property
    def sampled(self) -> bool:
        """Whether the caller may have recorded this trace."""
        return bool(self.flags & SAMPLED)

    def fields(self) -> dict[str, str]:
        """The fields for one request that is sent onward: `traceparent` and, if there is a state, `tracestate`.

        There is a new parent ID each time: call it once for each request you send. The names are in small letters;
        http.client, requests and others take the dict as headers.
        """
        fields = {"traceparent": f"00-{self.trace_id}-{new_id()[16:]}-{self.flags:02x}"}
        if self.state:
            fields["tracestate"] = self.state
        return fields


def read_trace(parents: Sequence[str], states: Sequence[str] = ()) -> Trace | None:
    """The trace that fields tell, None if they do not.

    Arguments:
        parents: the values of all fields `traceparent`; more than one tell nothing.
        states: those of `tracestate`, in their order (RFC 9110 5.3).
    """
    found = _PARENT.fullmatch(parents[0]) if len(parents) == 1 else None
    if found is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None) or not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    # What a later version means by another bit is not known (3.2.4)
    known = SAMPLED | RANDOM if version == "00" else SAMPLED
    return Trace(trace_id, parent_id, int(flags, 16) & known, _state(",".join(states)) if states else "")


def _state(text: str) -> str:
    """A tracestate without empty members and space between them; "" if it breaks a rule."""
    if len(text) > LONGEST:
        return ""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    keys = set()
    for member in members:
        found = _MEMBER.fullmatch(member)
        if found is None or found[1] in keys:
            return ""
        keys.add(found[1])
    return ",".join(members) if len(members) <= MEMBERS else ""
