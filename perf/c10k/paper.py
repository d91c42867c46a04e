"""From what was measured at some thousands of connections to what a million would take, on paper. Pure arithmetic."""

import math
from dataclasses import dataclass

EPHEMERAL_PORTS = 28_232
"""What Linux gives one client address towards one listening port, by default: 32,768 to 60,999."""


@dataclass(frozen=True)
class Measured:
    process_bytes: float
    """Resident in one server process before it has connections."""
    connection_bytes: float
    """What the server processes grew by, per connection."""
    pair_bytes: float
    """What the kernel grew by, per connection with both of its ends."""
    per_second: float
    """Connections opened in a second by all client processes together."""
    cpu_us: float
    """CPU time of the servers to accept one and to answer its first request."""


@dataclass(frozen=True)
class Paper:
    connections: int
    per_process: int
    processes: int
    server_bytes: float
    kernel_bytes: float
    seconds: float
    """To open them, at the measured rate."""
    cpu_seconds: float
    """Of the servers, to open them."""
    addresses: int
    """Client addresses that the ephemeral ports make necessary, with one listening port."""


ASSUMPTIONS = (
    "memory per connection stays what it is at the number measured; nothing is sent, requests cost on top of it",
    "every server process begins with what one began with here (RSS: pages that processes share count in each)",
    "both ends of each connection are on this machine, so the kernel's growth is for pairs; a server alone is taken to "
    "need half of it, although its end is registered with epoll too and the client's is not",
    "the rate stays that of this run, where servers share one core and clients another; more cores open faster",
    "limits are raised that would be in the way: descriptors (fs.file-max, fs.nr_open, RLIMIT_NOFILE), and with "
    "--keepalive-timeout the time that a connection may be silent",
)


def extrapolate(measured: Measured, connections: int, per_process: int) -> Paper:
    processes = math.ceil(connections / per_process)
    return Paper(
        connections,
        per_process,
        processes,
        server_bytes=processes * measured.process_bytes + connections * measured.connection_bytes,
        kernel_bytes=connections * measured.pair_bytes / 2,
        seconds=connections / measured.per_second if measured.per_second else math.inf,
        cpu_seconds=connections * measured.cpu_us / 1e6,
        addresses=math.ceil(connections / EPHEMERAL_PORTS),
    )
