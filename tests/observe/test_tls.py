"""The version of TLS in the access log."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gevent import ssl

from tests import proxied as px
from tests.http.apps import hello, request
from tests.observe.conftest import SHORT

certificates = pytest.importorskip("tests.tls.certificates")


def native(request: Any) -> str:
    return "hello"


@pytest.mark.parametrize("app", [hello, native])
@pytest.mark.parametrize("form", ["json", "%({SSL_PROTOCOL}e)s " + SHORT])
def test_the_version_of_tls(logged: Any, tmp_path: Any, app: Any, form: str) -> None:
    certfile, keyfile = certificates.leaf("localhost").write(tmp_path)
    serving = logged(app, form, certfile=[certfile], keyfile=[keyfile])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificates.authority().authorities().decode())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    for data, status in ((request(), 200), (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400)):  # the second: refused
        client = serving.connect()
        client.sock = context.wrap_socket(client.sock, server_hostname="localhost")
        assert client.ask(data).status == status
    entries = serving.entries()
    assert len(entries) == 2
    told = [json.loads(line)["tls"] for line in entries] if form == "json" else [line.split()[0] for line in entries]
    assert told == ["TLSv1.2"] * 2


def test_as_a_proxy_tells_it_and_without_it(logged: Any) -> None:
    serving = logged(hello, "%({ssl_protocol}e)s", proxy_protocol="v2", proxy_allow_from="127.0.0.1")
    for block in (px.tls(1, 0, version=b"TLSv1.3"), px.tls(1, 0), None):
        serving.ask(px.v2("192.0.2.7", 1, *([block] if block else [])) + request())
    assert serving.entries() == ["TLSv1.3", "-", "-"]
