"""From no certificate to a renewed one: the blocks of docs/tls.md, with certbot, and pebble as the authority.

Each command of the page runs as it stands there, but for the ports and the directories, which are the test's own. curl
is told where shop.example is, and trusts the authority.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import socket
import ssl
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import blocks_of
from tests.docs.session import ROOT, Session
from tests.system.acme import Authority
from tests.system.process import needs

pytestmark = [needs("pebble"), needs("pebble-challtestsrv"), needs("certbot"), needs("curl"), needs("openssl")]
BLOCKS = [block for block in blocks_of(ROOT / "docs" / "tls.md") if block.elsewhere == "tests/system/test_acme.py"]
OFTEN = (  # the command, which looks at its certificates more often than once a minute
    "import sys; from greenhttp import cli; from greenhttp.tls import renewal; renewal.EVERY = 1; sys.exit(cli.main())"
)
ASKS = "Pebble"  # in the User-Agent of the authority


class Walk:
    """A reader of the page.

    Attributes:
        session: runs the blocks.
        authority: is asked for certificates.
    """

    def __init__(self, session: Session, directory: Path) -> None:
        self.session = session
        self.http, self.https = (int(session._free(name)) for name in ("80", "443"))
        self.authority = Authority(directory / "authority", self.http, self.https)
        self.texts = {
            "/var/lib/acme": str(directory / "acme"),
            "/etc/letsencrypt": str(self.authority.files),
            "-b :80": f"-b 127.0.0.1:{self.http}",
            "http://:80": f"http://127.0.0.1:{self.http}",
            "https://:443": f"https://127.0.0.1:{self.https}",
        }
        self.left = list(BLOCKS)
        program = directory / "bin" / "greenhttp"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{OFTEN}" "$@"\n')

    def __enter__(self) -> Walk:
        self.authority.__enter__()
        curl = self.session.directory / ".curlrc"
        curl.write_text(
            f'cacert = "{self.authority.root}"\nmax-time = 60\n'
            f'connect-to = ":80:127.0.0.1:{self.http}"\nconnect-to = "::127.0.0.1:{self.https}"\n'
        )
        self.session.environ |= {
            **self.authority.environ, "CURL_HOME": str(self.session.directory), "PYTHONWARNINGS": "",
            "GREENHTTP_ACCESS_LOGFILE": "-", "GREENHTTP_ACCESS_LOG_FORMAT": "%(U)s %(s)s %(a)s",
        }  # fmt: skip
        return self

    def __exit__(self, *exc: object) -> None:
        self.authority.__exit__()

    def go(self, *kinds: str) -> None:
        """Run the next blocks of the page, which must be of these kinds."""
        blocks, self.left = self.left[: len(kinds)], self.left[len(kinds) :]
        assert [block.title or block.language for block in blocks] == list(kinds)
        real = []
        for block in blocks:
            body = block.body
            for written, own in self.texts.items():
                body = body.replace(written, own)
            real.append(dataclasses.replace(block, body=body, elsewhere=""))
        self.session.run(real)

    def asked(self, job: int) -> list[str]:
        """The requests of the authority that this job has answered: path, status."""
        return [line for line in self.session.jobs[job].lines if ASKS in line]

    def issued(self) -> bytes:
        """The certificate that certbot has got last."""
        chain = (self.authority.files / "live/shop.example/fullchain.pem").read_text()
        assert chain.count("BEGIN CERTIFICATE") == 2  # its own, and the one between it and the root
        end = "-----END CERTIFICATE-----\n"
        return ssl.PEM_cert_to_DER_cert(chain[: chain.index(end)] + end)

    def connection(self, name: str) -> http.client.HTTPSConnection:
        """A new connection to the server of that name, whose certificate must lead to the authority."""
        context = ssl.create_default_context(cafile=self.authority.root)
        made = http.client.HTTPSConnection(name, self.https, timeout=60, context=context)
        made._create_connection = lambda _, *rest: socket.create_connection(("127.0.0.1", self.https), *rest)
        made.connect()
        return made

    def shown(self, name: str) -> bytes:
        """The certificate that a new connection gets."""
        with contextlib.closing(self.connection(name)) as made:
            return made.sock.getpeercert(binary_form=True)


@pytest.fixture
def walk(tmp_path):
    with Session(tmp_path) as session, Walk(session, tmp_path) as walk:
        yield walk


def test_from_nothing_to_a_renewed_certificate(walk):
    walk.go("shop.py", "console")
    asked = walk.asked(0)
    assert len(asked) == 6 and all(" 200 " in line for line in asked)  # three for each name
    first = walk.issued()

    walk.go("console")
    assert walk.shown("shop.example") == walk.shown("www.shop.example") == first
    kept = walk.connection("shop.example")
    assert fetch(kept) == "open, https\n"

    key = walk.authority.files / "live/shop.example/privkey.pem"
    key.chmod(0o640)
    walk.go("console", "text")
    second = walk.issued()
    assert second != first
    assert key.stat().st_mode & 0o777 == 0o640  # as the page says: what may be read before may be read again
    while (shown := walk.shown("shop.example")) != second:  # another worker than the one that has it already
        assert shown == first
    assert fetch(kept) == "open, https\n"
    assert kept.sock.getpeercert(binary_form=True) == first
    kept.close()
    assert walk.left == []


def fetch(connection: http.client.HTTPSConnection) -> str:
    connection.request("GET", "/")
    return connection.getresponse().read().decode()
