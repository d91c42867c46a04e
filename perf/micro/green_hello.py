"""What it costs to see that a ClientHello is whole: once for a handshake, more often for one that comes in pieces."""

import contextlib
import ssl

from greenhttp.green.hello import look_at
from perf.micro import best_of


def client_hello() -> bytes:
    """What Python's ssl begins with."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def run() -> list[tuple[str, float]]:
    hello = client_hello()
    measured = []
    for name, data in (("whole", hello), ("half of it", hello[: len(hello) // 2]), ("one byte", hello[:1])):

        def look(times: int, data: bytes = data) -> None:
            for _ in range(times):
                look_at(data)

        measured.append((f"{name}, {len(data)} bytes", best_of(look, 100_000)))
    return measured
