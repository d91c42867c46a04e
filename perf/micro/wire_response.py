"""What a response head costs, checks and framing included."""

from greenhttp.wire.response import ResponseHead
from perf.micro import best_of

SMALL = [("Content-Type", "text/plain")]
LARGE = [(f"X-Field-{i}", "value of a usual length") for i in range(12)] + [("Content-Length", "5")]


def _compose(fields):
    head = ResponseHead()

    def loop(times: int) -> None:
        compose = head.compose
        for _ in range(times):
            compose("200 OK", fields, known=5)

    return loop


def run() -> list[tuple[str, float]]:
    return [
        ("head of 1 field", best_of(_compose(SMALL), 50_000)),
        ("head of 13 fields", best_of(_compose(LARGE), 20_000)),
    ]
