"""The PROXY protocol as the real nginx (stream module) and HAProxy speak it, connections and health checks."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.fronts.front import TLS, Front
from tests.fronts.front import HAProxy as AnyHAProxy
from tests.fronts.front import Nginx as AnyNginx
from tests.system.process import needs
from tests.system.test_supervisor import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="as the other tests of fronts")


def stream_module() -> str | None:
    """The file of nginx's stream module, "" if it is built in, None if it is not installed."""
    if not shutil.which("nginx"):
        return None
    built = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=True, timeout=30).stderr
    if "--with-stream=dynamic" not in built:
        return "" if "--with-stream " in built else None
    where = re.search(r"--modules-path=(\S+)", built)
    path = Path(where[1] if where else "/usr/lib/nginx/modules") / "ngx_stream_module.so"
    return str(path) if path.exists() else None


class Nginx(AnyNginx):
    """nginx as it passes on TCP connections; version 1 is all that it sends."""

    def configuration(self, upstream: str, changes: dict[str, str]) -> str:
        module = stream_module()
        load = f"load_module {module};" if module else ""
        return f"""
{load}
daemon off; worker_processes 1; pid {self.where}/nginx.pid; error_log stderr;
events {{ worker_connections 512; }}
stream {{ server {{ listen 127.0.0.1:{self.port}; proxy_pass {upstream}; proxy_protocol on; }} }}
"""


class HAProxy(AnyHAProxy):
    """HAProxy as it passes on TCP connections. `sends`: the options of its `server` line."""

    binds = ""

    def configuration(self, upstream: str, changes: dict[str, str]) -> str:
        self.socket = str(self.where / "admin.sock")
        return f"""
global
    stats socket {self.socket} mode 600 level admin
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend web
    bind fd@{self.listener.fileno()}{self.binds}
    unique-id-format %ci:%cp
    default_backend greenhttp
backend greenhttp
    option httpchk
    http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host greenhttp
    server one {upstream.removeprefix("unix:")} {changes["sends"]} check inter 100ms fall 1 rise 1
"""


class TLSHAProxy(TLS, HAProxy):
    """It ends TLS, and asks its clients for a certificate. Its own is their authority."""

    listening = "bind fd@{fd}"
    adds = " ssl crt {front.certificate} ca-file {front.certificate} verify optional alpn http/1.1"


V2 = "send-proxy-v2 proxy-v2-options authority,unique-id,ssl,cert-cn,ssl-cipher,cert-sig,cert-key,crc32c"
WAYS = [
    pytest.param(Nginx, "v1", "", id="nginx", marks=[
        needs("nginx"),
        pytest.mark.skipif(os.environ.get("REQUIRE_SERVICES") != "1" and stream_module() is None,
                           reason="no stream module of nginx"),
    ]),
    pytest.param(HAProxy, "v1", "send-proxy", id="haproxy-v1", marks=needs("haproxy")),
    pytest.param(HAProxy, "v2", "send-proxy-v2", id="haproxy-v2", marks=needs("haproxy")),
    pytest.param(HAProxy, "any", V2, id="haproxy-tlvs", marks=needs("haproxy")),
]  # fmt: skip


def told(sock: Any) -> dict[str, Any]:
    """What the application says of a connection on which it is asked."""
    sock.sendall(b"GET /proxied HTTP/1.1\r\nHost: x\r\n\r\n")
    data = b""
    while b"\r\n\r\n" not in data or not data.endswith(b"}"):
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    found: dict[str, Any] = json.loads(data.partition(b"\r\n\r\n")[2])
    return found


def connected(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@pytest.mark.parametrize(("kind", "protocol", "sends"), WAYS)
def test_the_client_is_whom_the_front_names(
    kind: type[Front], protocol: str, sends: str, serve: Any, front: Any
) -> None:
    program = serve("--proxy-protocol", protocol, "-w", "1")
    it = front(kind, f"127.0.0.1:{program.port}", sends=sends)
    with connected(it.port) as first, connected(it.port) as second:
        for sock in (first, second, first):  # all requests of a connection
            found = told(sock)
            host, port = sock.getsockname()
            assert (found["REMOTE_ADDR"], found["REMOTE_PORT"]) == (host, str(port)), it.said()
            assert (found["PROXY_ADDR"], found["PROXY_PORT"]) == ("127.0.0.1", str(it.port))
            assert (found["PROXY_PROTOCOL"], found["wsgi.url_scheme"]) == ("TCP4", "http")
            assert found["version"] == (2 if "v2" in sends else 1)
            assert found["unique_id"] == (f"{host}:{port}" if sends == V2 else None)
    assert program.stop() == 0
    assert "connection closed" not in "".join(program.lines)


@needs("haproxy")
@pytest.mark.parametrize("certificate", [True, False], ids=["with a certificate", "without"])
def test_haproxy_tells_of_tls_by_tlvs_with_a_checksum(certificate: bool, serve: Any, front: Any) -> None:
    program = serve("--proxy-protocol", "v2", "-w", "1")
    it = front(TLSHAProxy, f"127.0.0.1:{program.port}", sends=V2)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    if certificate:
        context.load_cert_chain(it.certificate, f"{it.certificate}.key")
    with connected(it.port) as plain, context.wrap_socket(plain, server_hostname="shop.example") as sock:
        found = told(sock)
        host, port = sock.getsockname()
        tls = found.pop("tls")
        assert tls.pop("version") == sock.version() and tls.pop("cipher") == sock.cipher()[0]
        assert (found["REMOTE_ADDR"], found["REMOTE_PORT"], found["unique_id"]) == (host, str(port), f"{host}:{port}")
        assert (found["wsgi.url_scheme"], found["authority"]) == ("https", "shop.example")
        if certificate:
            assert tls == {"common_name": "127.0.0.1", "signature": "RSA-SHA256", "key": "RSA2048", "client": 7,
                           "verified": True}  # fmt: skip
        else:
            assert tls == {"common_name": None, "signature": "RSA-SHA256", "key": "RSA2048", "client": 1,
                           "verified": False}  # fmt: skip
    assert program.stop() == 0
    assert "connection closed" not in "".join(program.lines)


@needs("haproxy")
@pytest.mark.parametrize(("sends", "who"), [("send-proxy", ""), ("send-proxy-v2", "LOCAL"), (V2, "LOCAL")])
def test_haproxys_health_checks_are_its_own_and_followed(
    sends: str, who: str, serve: Any, front: Any, tmp_path: Path
) -> None:
    program = serve("--proxy-protocol", "any", "-w", "1")
    it = front(HAProxy, f"127.0.0.1:{program.port}", sends=sends)
    program.wait_for(f"checked by {who}")  # version 1 knows no LOCAL: addresses of HAProxy's own
    until(lambda: it.state() == "up")
    (tmp_path / "busy").touch()
    until(lambda: it.state() == "down")
    (tmp_path / "busy").unlink()
    until(lambda: it.state() == "up")
    assert program.stop() == 0
    assert "connection closed" not in "".join(program.lines)


@needs("haproxy")
def test_over_a_unix_socket_haproxy_is_listed_by_a_word(serve: Any, front: Any) -> None:
    with tempfile.TemporaryDirectory(prefix="greenhttp-") as where:
        os.chmod(where, 0o755)
        path = f"{where}/s"
        program = serve("--proxy-protocol", "v2", "--proxy-allow-from", "unix", "-w", "1", "-b", f"unix:{path}",
                        "--socket-mode", "666")  # fmt: skip
        it = front(HAProxy, f"unix:{path}", sends=V2)
        with connected(it.port) as sock:
            found, (host, port) = told(sock), sock.getsockname()
            assert (found["REMOTE_ADDR"], found["REMOTE_PORT"]) == (host, str(port))
        assert program.stop() == 0


@needs("haproxy")
@pytest.mark.parametrize(
    ("protocol", "sends", "said"),
    [
        ("any", "", "HTTP came instead of a PROXY header (proxy_protocol=any)"),
        ("v1", "send-proxy-v2", "a PROXY header v2 came where v1 is expected (proxy_protocol)"),
        ("v2", "send-proxy", "a PROXY header v1 came where v2 is expected (proxy_protocol)"),
        ("off", "send-proxy", "a PROXY header came to a plain port; give --proxy-protocol any"),
    ],
)
def test_a_front_that_is_set_otherwise_is_down_and_the_log_says_why(
    protocol: str, sends: str, said: str, serve: Any, front: Any
) -> None:
    program = serve("--proxy-protocol", protocol, "-w", "1")
    it = front(HAProxy, f"127.0.0.1:{program.port}", sends=sends)
    program.wait_for(said)
    until(lambda: it.state() == "down")
    assert program.stop() == 0
