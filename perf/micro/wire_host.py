"""What checking a Host field costs, a Python call included."""

from greenhttp.wire.host import is_authority
from perf.micro import best_of


def _check(host: bytes):
    def loop(times: int) -> None:
        check = is_authority
        for _ in range(times):
            check(host)

    return loop


def run() -> list[tuple[str, float]]:
    hosts = (b"www.example.com", b"127.0.0.1:8000", b"[2001:db8::1]:8000")
    return [(host.decode(), best_of(_check(host), 200_000)) for host in hosts]
