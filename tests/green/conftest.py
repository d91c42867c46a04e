"""Every test of green threads ends, and nothing goes wrong unseen inside a callback of the loop."""

import gevent
import pytest


@pytest.fixture(autouse=True)
def bounded():
    with gevent.Timeout(30):
        yield


@pytest.fixture(autouse=True)
def hub_errors(monkeypatch):
    """What was raised in callbacks of the hub, where no test can see it: a list, which must be empty at the end."""
    errors = []
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda context, *error: errors.append((context, error)))
    yield errors
    assert errors == []
