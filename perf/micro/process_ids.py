"""What the ID of a request costs."""

from greenhttp.process.ids import new_id
from perf.micro import best_of


def run() -> list[tuple[str, float]]:
    def make(times: int) -> None:
        for _ in range(times):
            new_id()

    return [("a new ID", best_of(make, 100_000))]
