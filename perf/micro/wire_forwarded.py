"""What reading the fields of proxies costs, a Python call included; long lists show what an element adds."""

from collections.abc import Callable

from greenhttp.wire.forwarded import elements, forwarded, node
from perf.micro import best_of


def _read(function: Callable[[bytes], object], value: bytes) -> Callable[[int], None]:
    def loop(times: int) -> None:
        for _ in range(times):
            function(value)

    return loop


def run() -> list[tuple[str, float]]:
    measured = []
    for count in (1, 1000):
        plain = b", ".join([b"192.0.2.1"] * count)
        measured.append((f"a list of {count}", best_of(_read(elements, plain), 100_000 // count)))
        pairs = b", ".join([b"for=192.0.2.1;proto=https"] * count)
        measured.append((f"Forwarded with {count}", best_of(_read(forwarded, pairs), 100_000 // count)))
    measured.append(("192.0.2.1:4711", best_of(_read(node, b"192.0.2.1:4711"), 100_000)))
    return measured
