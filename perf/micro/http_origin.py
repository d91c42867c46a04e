"""What it costs to find out from fields of proxies where a request comes from, to cut a path prefix and to compare the
host, beside the same request without any of it.

The client is trusted. A stranger's fields, which nobody reads, cost what those that are not believed cost.
"""

from typing import Any

from perf.micro import best_of
from perf.micro.hosting_wsgi import app
from perf.tools.served import requests

FOR = b"X-Forwarded-For: 203.0.113.7"
FORWARDED = b"Forwarded: for=203.0.113.7;proto=https;host=shop.example"
CASES: list[tuple[str, list[bytes], dict[str, Any]]] = [
    ("no such field", [], {}),
    ("X-Forwarded-Proto: https", [b"X-Forwarded-Proto: https"], {}),
    ("X-Forwarded-For, not believed", [FOR], {"forwarded_field": "none"}),
    ("X-Forwarded-For", [FOR], {}),
    ("X-Forwarded-For with two proxies", [FOR + b", 127.0.0.1, ::1"], {}),
    ("X-Forwarded-For, -Proto, -Host", [FOR, b"X-Forwarded-Proto: https", b"X-Forwarded-Host: shop.example"],
     {"forwarded_host": True}),
    ("Forwarded", [FORWARDED], {"forwarded_field": "forwarded"}),
    ("no such field, forwarded_strip", [], {"forwarded_strip": True}),
    ("root_path=/below", [], {"root_path": "/below"}),
    ("allowed_hosts=h", [], {"allowed_hosts": "h"}),
    ("X-Forwarded-Prefix: /a", [b"X-Forwarded-Prefix: /a"], {"root_path_header": "X-Forwarded-Prefix"}),
]  # fmt: skip


def run() -> list[tuple[str, float]]:
    measured = []
    for label, lines, settings in CASES:
        request = b"GET /below/x HTTP/1.1\r\nHost: h\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
        with requests(app, request, 16, **settings) as operation:
            measured.append((label, best_of(operation, 3_200)))
    return measured
