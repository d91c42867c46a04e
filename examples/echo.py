"""Not HTTP at all: bytes come back as they were sent. Every connection has a green thread of its own.

    python echo.py [ADDRESS]

    nc 127.0.0.1 8007, or curl -N telnet://127.0.0.1:8007          then type; Ctrl-C leaves
"""

import greenhttp.patch  # first

import sys


def echo(stream):
    """Called for each connection; when it returns, what it has written is sent and the connection closed."""
    while data := stream.read_some():  # waits, and only here; b"" is the end: the peer has finished sending
        stream.write(data)  # waits too when the peer does not read: it cannot fill our memory


if __name__ == "__main__":
    greenhttp.serve_stream(echo, bind=sys.argv[1:] or "127.0.0.1:8007")
