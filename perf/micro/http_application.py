"""What a request costs that is carried by something written in Python, with no bytes of a protocol around it."""

import gevent

from greenhttp.green.transport import MemoryStream
from greenhttp.http.application import PythonExchange
from greenhttp.testing import service_of
from perf.micro import best_of

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Last(PythonExchange):
    """Switches back to the one who has begun it."""

    def over(self):
        gevent.get_hub().loop.run_callback(self.asker.switch)


def run() -> list[tuple[str, float]]:
    with service_of(lambda request: b"hello\n", [], {}) as service:
        stream = MemoryStream()

        def together(times: int) -> None:
            for _ in range(times // 16):
                for _ in range(15):
                    PythonExchange(service, stream, HEAD).begin()
                last = Last(service, stream, HEAD)
                last.asker = gevent.getcurrent()
                last.begin()
                gevent.get_hub().switch()

        return [("one of 16 requests at once", best_of(together, 3_200))]
