"""The servers of tests/http, in this process; and time enough for ten thousand connections on a busy machine."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest

from tests.http.conftest import defects, serve  # noqa: F401
from tests.tls.conftest import pair, servers  # noqa: F401


@pytest.fixture(autouse=True)
def not_for_ever() -> Iterator[None]:
    """A safety net far beyond what any test takes."""
    with gevent.Timeout(180, AssertionError("the test did not come to an end")):
        yield
