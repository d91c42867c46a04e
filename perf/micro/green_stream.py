"""What reading and writing through a stream costs when nothing is between it and memory."""

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


def _through_the_hub(times: int) -> None:
    """Each piece arrives in a later turn: a suspension for every read."""
    read = MemoryStream([LINE] * times).read_some
    while read():
        pass


def run() -> list[tuple[str, float]]:
    return [
        ("for line in stream, 41 bytes", best_of(_lines, 50_000)),
        ("readexactly(41)", best_of(_exactly, 50_000)),
        ("write of 41 bytes", best_of(_write, 50_000)),
        ("write and flush, one of 16 yields", best_of(_write_and_flush, 20_000)),
        ("read_some that suspends", best_of(_through_the_hub, 5_000)),
    ]
