"""What the processes of these tests serve: each answer says what the server knows of its client's TLS, as JSON."""

from __future__ import annotations

import json
from typing import Any


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Content sent is counted, and comes back at /echo; /large is a MiB."""
    content = environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/echo":
        told = content
    elif environ["PATH_INFO"] == "/large":
        told = b"x" * (1 << 20)
    else:
        told = json.dumps({"scheme": environ["wsgi.url_scheme"], "content": len(content)}).encode()
    start_response("200 OK", [("Content-Length", str(len(told)))])
    return [told]
