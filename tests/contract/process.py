"""The process the contract is tried on: `python -m tests.contract.process`. Prints the port of each server as JSON."""

from __future__ import annotations

import json
import logging
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent

from greenhttp import Request, Response, Server
from greenhttp.green.tls import Certificates
from tests.contract.cases import LIMITS
from tests.contract.sending import native_answers, wsgi_answers
from tests.tls import certificates

Record = list[Any]

# Every setting that has fields of proxies read, or taken out of the head.
BEHIND_A_PROXY = {
    "forwarded_host": True, "forwarded_strip": True, "root_path_header": "X-Forwarded-Prefix",
    "request_id_header": "X-Request-Id", "allowed_hosts": ("a", "b"), "limit_request_head": 1000,
    "limit_request_fields": 20,
}  # fmt: skip


def record_native(request: Request, records: list[Record]) -> Record:
    """[port of the client, method, target, host, fields but Host, body], kept before the body is read."""
    fields = [pair for pair in request.headers.pairs if pair[0].lower() != "host"]
    peer = request.peer
    port = str(peer[1]) if isinstance(peer, tuple) else ""
    record = [port, request.method, request.target, request.host, fields, None]
    records.append(record)
    if request.target != "/unread":
        record[5] = request.body.read().decode("latin-1")
    return record


def recording_native(records: list[Record]) -> Callable[[Request], Response]:
    """A native handler that says what it saw."""

    def app(request: Request) -> Response:
        if request.target == "/told":
            return told(records)
        return Response(json.dumps(record_native(request, records)))

    return app


def told(records: list[Record]) -> Response:
    content = json.dumps(records)
    records.clear()
    return Response(content)


def recording_wsgi(records: list[Record]) -> Callable[..., list[bytes]]:
    """A WSGI application that says what it saw; the fields are keys of the environ."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["RAW_URI"] == "/told":
            content = json.dumps(records)
            records.clear()
        else:
            keys = sorted(key for key in environ if key.startswith(("HTTP_", "CONTENT_")) and key != "HTTP_HOST")
            fields = [(key, environ[key]) for key in keys]
            host = environ.get("HTTP_HOST", "")
            record = [environ["REMOTE_PORT"], environ["REQUEST_METHOD"], environ["RAW_URI"], host, fields, None]
            records.append(record)
            if environ["RAW_URI"] != "/unread":
                record[5] = environ["wsgi.input"].read().decode("latin-1")
            content = json.dumps(record)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [content.encode()]

    return app


def shown(way: str) -> Certificates:
    """What a server over TLS shows: by OpenSSL's functions, or, "simple", by SSLObject."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        context.load_cert_chain(*certificates.leaf("localhost").write(Path(directory)))
    if way == "simple":
        context.sni_callback = lambda *_: None  # a callback in Python: nothing else can be used
    found = Certificates([((), context)])
    if found.way != way:
        raise RuntimeError(f"connections are {found.way}, not {way}")
    return found


def main() -> None:
    logging.getLogger("greenhttp").addHandler(logging.NullHandler())  # nobody reads stderr meanwhile
    apps: dict[str, Callable[..., Any]] = {
        "native": recording_native([]),
        "wsgi": recording_wsgi([]),
        "native answers": native_answers,
        "wsgi answers": wsgi_answers,
    }
    servers = {name: Server(app, bind="127.0.0.1:0", **LIMITS) for name, app in apps.items()}
    for name, trusted in (("behind a proxy", "127.0.0.1"), ("strangers", "")):
        behind = {**LIMITS, **BEHIND_A_PROXY, "forwarded_allow_ips": trusted}
        servers[name] = Server(recording_wsgi([]), bind="127.0.0.1:0", **behind)
    for way in ("direct", "simple"):
        for name, app in apps.items():
            made = servers[f"{name} {way}"] = Server(app, bind="https://127.0.0.1:0", **LIMITS)
            made.certificates = shown(way)
    for server in servers.values():
        server.start()
    print(json.dumps({name: server.address[1] for name, server in servers.items()}), flush=True)
    gevent.get_hub().join()


if __name__ == "__main__":
    main()
