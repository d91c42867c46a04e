"""nginx and HAProxy before a greenhttp that speaks TLS itself: they pass it on unread, by the blocks of docs/tls.md."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from typing import Any

import pytest

from tests.docs.blocks import blocks_of
from tests.fronts.front import DEPLOY, HAProxy, Nginx
from tests.fronts.test_proxy_protocol import stream_module
from tests.system.process import needs

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the whole of 127.0.0.0/8 is this machine"),
    needs("openssl"),
]  # fmt: skip
BLOCKS = {block.title: block.body for block in blocks_of(DEPLOY.parent / "tls.md")}
CLIENT = "127.0.0.99"


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, text
    return text.replace(old, new)


class PassingNginx(Nginx):
    def configuration(self, upstream: str, changes: dict[str, str]) -> str:
        block = replaced(BLOCKS["nginx before TLS"], "127.0.0.1:8000", upstream)
        block = replaced(block, "listen 443;", f"listen 127.0.0.1:{self.port};")
        module = stream_module()
        load = f"load_module {module};" if module else ""
        return (
            f"{load} daemon off; worker_processes 1; pid {self.where}/nginx.pid; error_log stderr;\n"
            f"events {{ worker_connections 512; }}\n{block}"
        )


class PassingHAProxy(HAProxy):
    def configuration(self, upstream: str, changes: dict[str, str]) -> str:
        block = replaced(BLOCKS["haproxy before TLS"], "127.0.0.1:8000", upstream)
        block = replaced(block, "bind :443", f"bind fd@{self.listener.fileno()}")
        return f"defaults\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n{block}"


FRONTS = [
    pytest.param(PassingNginx, "v1", id="nginx", marks=[
        needs("nginx"),
        pytest.mark.skipif(os.environ.get("REQUIRE_SERVICES") != "1" and stream_module() is None,
                           reason="no stream module of nginx"),
    ]),
    pytest.param(PassingHAProxy, "v2", id="haproxy", marks=needs("haproxy")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "protocol"), FRONTS)
def test_the_client_is_known_and_the_front_has_no_key(kind: Any, protocol: str, serve: Any, front: Any, tmp_path: Any):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=shop.example",
         "-addext", "subjectAltName=DNS:shop.example", "-out", certificate, "-keyout", key],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    program = serve("-w", "1", "--proxy-protocol", protocol, "--certfile", "cert.pem", "--keyfile", "key.pem")
    it = front(kind, f"127.0.0.1:{program.port}")
    context = ssl.create_default_context(cafile=certificate)
    plain = socket.create_connection(("127.0.0.1", it.port), 60, (CLIENT, 0))
    with plain, context.wrap_socket(plain, server_hostname="shop.example") as client:
        client.sendall(b"GET /proxied HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
        head, _, content = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), (head, it.said())
    environ = json.loads(content)
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (CLIENT, "https")
    assert program.stop() == 0
