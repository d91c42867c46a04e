"""What memory costs that is borrowed: streams that need a chunk, beside streams that need none."""

from greenhttp.green.transport import MemoryStream
from perf.micro import best_of

LINE = b"a line of forty bytes, with its line end\n"


def _without(times: int) -> None:
    for _ in range(times):
        MemoryStream(keep_open=True).abort()


def _with(times: int) -> None:
    for _ in range(times):
        stream = MemoryStream(keep_open=True)
        stream.writelines((LINE,))
        stream.abort()


def run() -> list[tuple[str, float]]:
    return [
        ("a stream made and ended", best_of(_without, 20_000)),
        ("the same, with a chunk for output", best_of(_with, 20_000)),
    ]
