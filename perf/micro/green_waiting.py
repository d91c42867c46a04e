"""What it costs that a green thread is suspended by a stream, and goes on."""

from greenhttp.green.transport import MemoryStream
from perf.micro import best_of

LINE = b"a line of forty bytes, with its line end\n"


def _through_the_hub(times: int) -> None:
    """Each piece arrives in a later turn: a suspension for every read."""
    read = MemoryStream([LINE] * times).read_some
    while read():
        pass


def run() -> list[tuple[str, float]]:
    return [("read_some that suspends", best_of(_through_the_hub, 5_000))]
