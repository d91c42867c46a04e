"""What it costs to recognise a field name, a Python call included."""

from greenhttp.wire.names import known_index
from perf.micro import best_of


def _look(name: bytes):
    def loop(times: int) -> None:
        look = known_index
        for _ in range(times):
            look(name)

    return loop


def run() -> list[tuple[str, float]]:
    names = (b"Host", b"User-Agent", b"Upgrade-Insecure-Requests", b"X-Not-Known")
    return [(name.decode(), best_of(_look(name), 200_000)) for name in names]
