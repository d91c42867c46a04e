"""What reading from a stream costs when nothing is between it and memory."""

from greenhttp.green.transport import MemoryStream
from perf.micro import best_of

LINE = b"a line of forty bytes, with its line end\n"


def _lines(times: int) -> None:
    for _ in MemoryStream([LINE * times]):
        pass


def _exactly(times: int) -> None:
    read = MemoryStream([LINE * times]).readexactly
    for _ in range(times):
        read(41)


def run() -> list[tuple[str, float]]:
    return [
        ("for line in stream, 41 bytes", best_of(_lines, 50_000)),
        ("readexactly(41)", best_of(_exactly, 50_000)),
    ]
