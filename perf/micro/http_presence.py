"""What it costs a request to care whether its client has gone, and to be asked about it again."""

from greenhttp.testing import exchange
from perf.micro import best_of

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
REQUESTS = 2_000


def run() -> list[tuple[str, float]]:
    def asking(app):
        def ask(times: int) -> None:
            for _ in range(times // REQUESTS):
                exchange(app, [REQUEST * REQUESTS])

        return best_of(ask, 10 * REQUESTS)

    def looks_often(request):
        for _ in range(100):
            bool(request.disconnected)
        return "hello"

    return [
        ("a request that does not care", asking(lambda request: "hello")),
        ("one that does, looked at once", asking(lambda request: "hello" if not request.disconnected else "")),
        ("one that asks a hundred times", asking(looks_often)),
    ]
