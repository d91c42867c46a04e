"""What TLS by SSLObject costs a stream; green_tls has the same by OpenSSL's own functions."""

from perf.micro.green_tls import measured


def run() -> list[tuple[str, float]]:
    return measured("simple")
