"""Lines of the log about a connection: whom they are about, and what they say."""

import re

PEER = re.compile(r"(127\.0\.0\.1:\d+|\[::1\]:\d+|a UNIX peer(?: \(process \d+\))?): ")


def without_peer(message: str) -> str:
    """What is said of a peer, which must be named first."""
    match = PEER.match(message)
    assert match, f"nobody is named in {message!r}"
    return message[match.end() :]
