"""TLS servers in this process. What they need is imported late: without a package only its tests are skipped."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from greenhttp.green import tls
from tests.http.conftest import defects  # noqa: F401


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Files of a certificate for example.com and 127.0.0.1, and of its key."""
    from tests.tls import certificates

    return certificates.leaf("example.com", "127.0.0.1").write(tmp_path_factory.mktemp("pair"))


@pytest.fixture(params=["direct", "simple"])
def servers(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str],
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Any]:  # fmt: skip
    """running.Servers: each test runs with both ways to TLS, OpenSSL's functions and SSLObject; no time-out ends
    anything."""
    from tests.tls.running import Servers

    monkeypatch.setattr(tls, "force_simple", request.param == "simple")
    caplog.set_level(logging.INFO, "greenhttp")
    servers = Servers(pair, lambda: [record.getMessage() for record in caplog.records])
    yield servers
    servers.close()


@pytest.fixture
def serve(servers: Any) -> Iterator[Any]:
    """The same, for tests of which each comes to its end within seconds."""
    with gevent.Timeout(10, AssertionError("the test did not come to an end")):
        yield servers
        servers.close()
