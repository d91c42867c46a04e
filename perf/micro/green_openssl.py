"""What each handshake pays for the choice between OpenSSL's functions and SSLObject: the look for callbacks."""

import ssl

from greenhttp.green import openssl
from greenhttp.green.tls import Certificates
from perf.micro import best_of

if why := openssl.reason():
    raise ImportError(f"connections go through SSLObject here: {why}")


def run() -> list[tuple[str, float]]:
    certificates = Certificates([((), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))])

    def look(times: int) -> None:
        for _ in range(times):
            certificates.is_direct()

    return [("whether a context has callbacks, asked from Python", best_of(look, 100_000))]
