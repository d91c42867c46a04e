"""Real proxies in chains of one, two and three, by the blocks of docs/front.md; a stranger that sends every field.

Each program has an address of its own on the loopback: the client 127.0.0.99, the proxies 127.0.0.11 to 13. Only these
are trusted.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docs.blocks import blocks_of
from tests.fronts.front import DEPLOY, TLS, Front, HAProxy, Nginx
from tests.reload import Program
from tests.system.process import needs

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the whole of 127.0.0.0/8 is this machine"),
    needs("nginx"), needs("haproxy"),
]  # fmt: skip
BLOCKS = {block.title: block.body for block in blocks_of(DEPLOY.parent / "front.md")}
CLIENT, PROXIES = "127.0.0.99", ("127.0.0.11", "127.0.0.12", "127.0.0.13")
TRUSTED = ("--forwarded-allow-ips", ",".join(PROXIES), "--request-id-header", "X-Request-Id")
PREFIXED = ("--root-path-header", "X-Forwarded-Prefix")  # only where the proxy sets it: others pass a stranger's on
PROXY_TRUSTED = ("--proxy-protocol", "any", "--proxy-allow-from", ",".join(PROXIES))

APP = """
import json

def app(environ, start_response):
    told = {key: value for key, value in environ.items() if isinstance(value, (str, tuple))}
    content = json.dumps(told).encode()
    start_response("200 OK", [("Content-Length", str(len(content)))])
    return [content]
"""

EVIL = ("203.0.113", "evil", "31337")  # what is in all of a stranger's values but addresses of proxies and schemes
STRANGERS = [
    f"X-Forwarded-For: 203.0.113.1, {PROXIES[0]}, 127.0.0.1",
    "X-Forwarded-For: 203.0.113.2",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Port: 31337",
    "X-Forwarded-Server: evil.example",
    "X-Forwarded-Prefix: /evil",
    'Forwarded: for="203.0.113.3:31337";proto=https;host=evil.example;by=evil',
    "X-Real-IP: 203.0.113.4",
    "CF-Connecting-IP: 203.0.113.5",
    "True-Client-IP: 203.0.113.6",
    "X-Client-IP: 203.0.113.7",
    "X-Request-Id: evil-id",
    "traceparent: 00-31337000000000000000000000000000-00f067aa0ba902b7-01",
    "tracestate: evil=31337",
    "SCRIPT_NAME: /evil",
    "X_Forwarded_For: 203.0.113.8",
    "PATH_INFO: /evil",
    "REMOTE_ADDR: 203.0.113.9",
]
SCHEMES = ["X-Forwarded-Ssl: on", "X-Forwarded-Protocol: ssl"]


# ---- proxies


class Hop(NamedTuple):
    """A proxy of a chain.

    Attributes:
        kind: which program.
        block: its configuration, a block of the page or text of the same kind.
        takes: what it adds to the line that says where to listen.
        sends: what it adds to the line that says which server is behind it.
    """

    kind: type[Front]
    block: str
    takes: str = ""
    sends: str = ""


class ChainedNginx(Nginx):
    def configuration(self, upstream: str, changes: dict[str, str]) -> str:
        block = replaced(changes["block"], "127.0.0.1:8000", upstream)
        server = f"listen 127.0.0.1:{self.port}{changes['takes']}; proxy_bind {changes['source']};"
        return self.around.format(where=self.where, config=f"server {{ {server}\n{block}}}")


class ChainedHAProxy(HAProxy):
    around = "defaults\n    mode http\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n"

    def configuration(self, upstream: str, changes: dict[str, str]) -> str:
        block = replaced(changes["block"], "bind :80", f"bind fd@{self.listener.fileno()}{changes['takes']}")
        server = f"{upstream} source {changes['source']}{changes['sends']}"
        return self.around + replaced(block, "127.0.0.1:8000", server)


class TLSNginx(TLS, ChainedNginx):
    listening = "listen 127.0.0.1:{front.port};"
    adds = " ssl; ssl_certificate {front.certificate}; ssl_certificate_key {front.certificate}.key;"


class TLSHAProxy(TLS, ChainedHAProxy):
    listening = "bind fd@{fd}"
    adds = " ssl crt {front.certificate}"


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, text
    return text.replace(old, new)


PASSING = """
frontend web
    bind :80
    option forwardfor
    default_backend greenhttp
backend greenhttp
    server one 127.0.0.1:8000
"""
TCP = PASSING.replace("option forwardfor", "mode tcp").replace("    server", "    mode tcp\n    server")
KNOWN = "set_real_ip_from 127.0.0.0/24; real_ip_header proxy_protocol;\n"  # ngx_http_realip_module

NGINX, HAPROXY = Hop(ChainedNginx, BLOCKS["nginx"]), Hop(ChainedHAProxy, BLOCKS["haproxy"])
NGINX_BELOW = Hop(ChainedNginx, BLOCKS["nginx with a prefix"])
NGINX_NEXT, HAPROXY_NEXT = Hop(ChainedNginx, BLOCKS["nginx behind a proxy"]), Hop(ChainedHAProxy, PASSING)
NGINX_TLS, HAPROXY_TLS = NGINX._replace(kind=TLSNginx), HAPROXY._replace(kind=TLSHAProxy)
V2 = Hop(ChainedHAProxy, BLOCKS["haproxy with the PROXY protocol"])
V1 = V2._replace(block=replaced(V2.block, "send-proxy-v2", "send-proxy"))
V2_TLS = V2._replace(kind=TLSHAProxy, block=replaced(V2.block, "send-proxy-v2", "send-proxy-v2-ssl"))
V2_TCP = Hop(ChainedHAProxy, TCP, sends=" send-proxy-v2")
NGINX_BEHIND_V1 = Hop(ChainedNginx, KNOWN + BLOCKS["nginx"], takes=" proxy_protocol")
NEXT_V2 = HAPROXY_NEXT._replace(sends=" send-proxy-v2")


class Chain(NamedTuple):
    """Proxies from the client to greenhttp.

    Attributes:
        proxied: greenhttp expects the PROXY protocol.
        scheme, prefix: what the application must see.
        schemes: the stranger sends other fields that tell the scheme, too: the first proxy removes them.
        told: the ID is what a proxy has made.
    """

    hops: tuple[Hop, ...]
    proxied: bool = False
    scheme: str = "http"
    prefix: str = ""
    schemes: bool = True
    told: bool = True


CHAINS = {
    "nginx": Chain((NGINX,)),
    "haproxy": Chain((HAPROXY,)),
    "nginx with a prefix": Chain((NGINX_BELOW,), prefix="/below"),
    "nginx with TLS": Chain((NGINX_TLS,), scheme="https"),
    "v1": Chain((V1,), proxied=True, told=False),
    "v2": Chain((V2,), proxied=True, told=False),
    "v2 with TLS": Chain((V2_TLS,), proxied=True, scheme="https", told=False),
    "v2 over tcp": Chain((V2_TCP,), proxied=True, told=False),
    "nginx, haproxy": Chain((NGINX, HAPROXY_NEXT)),
    "haproxy, nginx": Chain((HAPROXY, NGINX_NEXT)),
    "haproxy with TLS, nginx": Chain((HAPROXY_TLS, NGINX_NEXT), scheme="https"),
    "v1, nginx": Chain((V1, NGINX_BEHIND_V1)),
    "nginx, haproxy with v2": Chain((NGINX, NEXT_V2), proxied=True),
    "nginx, haproxy, nginx": Chain((NGINX, HAPROXY_NEXT, NGINX_NEXT)),
    "haproxy, nginx, haproxy": Chain((HAPROXY, NGINX_NEXT, HAPROXY_NEXT)),
    "nginx with TLS, haproxy, nginx": Chain((NGINX_TLS, HAPROXY_NEXT, NGINX_NEXT), scheme="https"),
    "v1, nginx, haproxy with v2": Chain((V1, NGINX_BEHIND_V1, NEXT_V2), proxied=True),
}


# ---- greenhttp and the stranger


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """serving(*options): the port of a greenhttp with these, and its access log; each is started once."""
    programs: dict[tuple[str, ...], tuple[int, Path]] = {}
    running = []

    def serve(*options: str) -> tuple[int, Path]:
        if options not in programs:
            where = tmp_path_factory.mktemp("served")
            log = ("--access-logfile", "access.log", "--access-log-format", "%(h)s %(q)s")
            program = Program(where, "-w", "1", *TRUSTED, *log, *options, app=APP)
            running.append(program)
            program.wait_for("HUP reloads")
            programs[options] = program.port, where / "access.log"
        return programs[options]

    yield serve
    try:
        for program in running:
            assert program.stop() == 0
    finally:
        for program in running:
            program.end()


@pytest.fixture
def chain(front):
    """chain(hops, port): the first of these proxies, all running, the last before that port."""

    def build(hops: tuple[Hop, ...], port: int) -> Front:
        for hop, source in reversed(list(zip(hops, PROXIES, strict=False))):
            it = front(hop.kind, f"127.0.0.1:{port}", block=hop.block, takes=hop.takes, sends=hop.sends, source=source)
            port = it.port
        return it

    return build


def ask(port: int, target: str, fields: list[str], certificate: Path | None = None) -> dict[str, str]:
    """The environ of a request from CLIENT with these fields."""
    lines = [f"GET {target} HTTP/1.1", "Host: shop.example", *fields, "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", port), 60, (CLIENT, 0)) as client:
        if certificate is not None:
            client = ssl.create_default_context(cafile=certificate).wrap_socket(client, server_hostname="127.0.0.1")
        with client:
            client.sendall("\r\n".join(lines).encode())
            head, _, content = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return json.loads(content)


def strangers(environ: dict[str, str], *, but: tuple[str, ...] = ()) -> dict[str, str]:
    """What is the stranger's in it."""
    return {k: v for k, v in environ.items() if k not in but and any(evil in str(v).lower() for evil in EVIL)}


def logged(log: Path, number: str) -> str:
    """The client of that request in the access log, waited for."""
    while True:
        for line in log.read_text().splitlines():
            if line.endswith(f" {number}"):
                return line.split()[0]


@pytest.mark.parametrize("stripped", [False, True], ids=["", "stripped"])
@pytest.mark.parametrize("name", CHAINS)
def test_the_application_sees_the_client_and_nothing_of_what_it_claims(name, stripped, serving, chain):
    wanted = CHAINS[name]
    options = (*(PROXY_TRUSTED if wanted.proxied else ()), *(PREFIXED if wanted.prefix else ()))
    port, log = serving(*options, *(("--forwarded-strip",) if stripped else ()))
    first = chain(wanted.hops, port)
    fields = [*STRANGERS, *(SCHEMES if wanted.schemes else [])]
    number = f"{name} {stripped}".replace(" ", "-").replace(",", "")
    environ = ask(first.port, f"{wanted.prefix}/x?{number}", fields, getattr(first, "certificate", None))
    told = {
        "REMOTE_ADDR": CLIENT, "wsgi.url_scheme": wanted.scheme, "HTTP_HOST": "shop.example",
        "SCRIPT_NAME": wanted.prefix, "PATH_INFO": "/x",
    }  # fmt: skip
    assert {key: environ.get(key) for key in told} == told
    assert strangers({key: value for key, value in environ.items() if not key.startswith("HTTP_")}) == {}
    identity = environ["greenhttp.request_id"]
    assert "evil" not in identity and (identity == environ.get("HTTP_X_REQUEST_ID")) == wanted.told
    if stripped:
        kept = {"HTTP_X_FORWARDED_FOR", "HTTP_X_CLIENT_IP", "HTTP_CF_CONNECTING_IP", "HTTP_TRUE_CLIENT_IP",
                "HTTP_TRACEPARENT", "HTTP_TRACESTATE"}  # fmt: skip
        assert strangers(environ, but=tuple(kept)) == {}
    assert logged(log, number) == CLIENT


@pytest.mark.parametrize("stripped", [False, True], ids=["", "stripped"])
def test_a_stranger_that_passes_the_proxies_by_is_itself(stripped, serving):
    port, log = serving(*(("--forwarded-strip",) if stripped else ()))
    environ = ask(port, f"/x?by-{stripped}", [*STRANGERS, *SCHEMES])
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], environ["SCRIPT_NAME"]) == (CLIENT, "http", "")
    assert environ["HTTP_HOST"] == "shop.example"
    assert strangers({key: value for key, value in environ.items() if not key.startswith("HTTP_")}) == {}
    assert logged(log, f"by-{stripped}") == CLIENT


def test_a_stranger_has_no_answer_where_the_proxy_protocol_is_expected(serving):
    port, _ = serving(*PROXY_TRUSTED)
    v1 = b"PROXY TCP4 203.0.113.1 203.0.113.2 31337 443\r\n"
    for before, source in ((b"", PROXIES[0]), (b"", CLIENT), (v1, CLIENT)):
        with socket.create_connection(("127.0.0.1", port), 60, (source, 0)) as client:
            client.sendall(before + b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(65536) == b""
