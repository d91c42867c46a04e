"""What the processes of these tests serve. It keeps nothing of what it reads, so memory that grows is the server's."""

from __future__ import annotations

import json
from typing import Any

import gevent

LARGE = 1000  # bytes of the answer at /large
PIECE = 65536

told = {"turns": 0, "requests": 0, "read": 0, "pieces": 0}


def count_turn() -> None:
    told["turns"] += 1


check = gevent.get_hub().loop.check(ref=False)
check.start(count_turn)


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """At /told what was counted: turns of the loop, requests, bytes and pieces of content. Content sent to /unread is
    not read."""
    path = environ["PATH_INFO"]
    told["requests"] += 1
    if path != "/unread":
        while data := environ["wsgi.input"].read(PIECE):
            told["read"] += len(data)
            told["pieces"] += 1
    content = json.dumps(told).encode() if path == "/told" else b"x" * LARGE if path == "/large" else path.encode()
    start_response("200 OK", [])
    return [content]
