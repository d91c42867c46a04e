"""Flask and Django build https:// links where TLS is spoken with greenhttp; what a client writes changes nothing."""

from __future__ import annotations

import contextlib
import json
import ssl
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.apps.served import TIMEOUT, Served

certificates = pytest.importorskip("tests.tls.certificates")


@pytest.mark.parametrize("framework", ["flask", "django"])
def test_links_lead_to_https(tmp_path: Path, framework: str) -> None:
    certfile, keyfile = certificates.leaf("localhost").write(tmp_path)
    (tmp_path / "data.bin").touch()
    (tmp_path / "no.sqlite").touch()  # nothing here asks for it
    files = {"FILE": str(tmp_path / "data.bin"), "DATABASE": str(tmp_path / "no.sqlite")}
    options = ("--certfile", certfile, "--keyfile", keyfile, "--forwarded-allow-ips", "")
    with Served(f"{framework}_app:app", *options, **files) as url:
        assert url.startswith("https://")
        place = f"localhost:{urlsplit(url).port}"
        context = ssl.create_default_context(cadata=certificates.authority().authorities().decode())
        for fields in ({}, {"X-Forwarded-Proto": "http"}, {"HTTPS": "off"}):
            with contextlib.closing(HTTPSConnection(place, timeout=TIMEOUT, context=context)) as client:
                client.request("GET", "/links?a=b", headers=fields)
                links = json.loads(client.getresponse().read())
                assert (links["here"], links["outside"]) == (f"https://{place}/links?a=b", f"https://{place}/me")
