"""What a PROXY header costs a connection, beside the same connection without: connecting and closing included."""

from perf.micro.green_spawn import measure

HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"


def run() -> list[tuple[str, float]]:
    return [
        ("connect, send a line, be greeted, close", measure(HEADER)),
        ("the same, the line being a PROXY header", measure(HEADER, proxy_protocol="v1", proxy_allow_from="unix")),
    ]
