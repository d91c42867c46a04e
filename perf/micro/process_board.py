"""What a board costs: the beat of a worker's loop, and the looks that its supervisor takes."""

from greenhttp.process.board import Board, Loads
from perf.micro import best_of

ENTRIES = 1016  # as many as a worker has by default


def run() -> list[tuple[str, float]]:
    board, loads = Board(ENTRIES), Loads()
    board.own()
    loads.own(loads.take())

    def beat(times: int) -> None:
        for _ in range(times):
            board.beat(1000, 10, 1_000_000)
            loads.publish(1000)

    def look(times: int) -> None:
        for _ in range(times):
            assert board.last_beat
            board.counts()

    def listing(times: int) -> None:
        for _ in range(times):
            board.listed()

    try:
        return [
            ("a beat, and the load published", best_of(beat, 100_000)),
            ("a look at a beat and its counts", best_of(look, 100_000)),
            ("what runs, where nothing does", best_of(listing, 1_000)),
        ]
    finally:
        board.close()
