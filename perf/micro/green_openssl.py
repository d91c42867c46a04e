"""What it costs to look whether a context can be used directly, as each handshake does, and the name of that way."""

import ssl

from greenhttp.green.tls import Certificates
from perf.micro import best_of


def _looks(several: int) -> float:
    certificates = Certificates([((), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) for _ in range(several)])

    def look(times: int) -> None:
        for _ in range(times):
            _ = certificates.way

    return best_of(look, 20_000)


def run() -> list[tuple[str, float]]:
    return [("which way one context is used", _looks(1)), ("the same of a hundred", _looks(100))]
