"""What a file costs that goes out block by block, as it does where the kernel cannot send it."""

import tempfile

import gevent

from greenhttp.green.transport import MemoryStream
from greenhttp.http.application import PythonExchange
from greenhttp.testing import service_of
from perf.micro import best_of

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Taking(PythonExchange):
    """Drops what it is told; switches back to the one who has begun it."""

    def over(self):
        gevent.get_hub().loop.run_callback(self.asker.switch)


def run() -> list[tuple[str, float]]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x" * 1_048_576)
        file.flush()
        with service_of(lambda request: open(file.name, "rb"), [], {}) as service:
            stream = MemoryStream()

            def files(times: int) -> None:
                for _ in range(times):
                    one = Taking(service, stream, HEAD)
                    one.asker = gevent.getcurrent()
                    one.begin()
                    gevent.get_hub().switch()

            return [("a file of 1 MiB, in 16 blocks", best_of(files, 50))]
