"""What writing through a stream costs when nothing is between it and memory."""

from greenhttp.green.transport import MemoryStream
from perf.micro import best_of

LINE = b"a line of forty bytes, with its line end\n"


def _write(times: int) -> None:
    stream = MemoryStream(keep_open=True)
    for _ in range(times):
        stream.write(LINE)
    stream.close()


def _write_and_flush(times: int) -> None:
    stream = MemoryStream(keep_open=True)
    for _ in range(times):
        stream.write(LINE)
        stream.flush()
    stream.close()


def run() -> list[tuple[str, float]]:
    return [
        ("write of 41 bytes", best_of(_write, 50_000)),
        ("write and flush, one of 16 yields", best_of(_write_and_flush, 20_000)),
    ]
