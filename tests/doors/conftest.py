"""What gevent's own servers leave behind is not for other tests."""

import gc
import os
from collections.abc import Iterator

import gevent
import pytest


@pytest.fixture(autouse=True)
def no_watcher_of_a_closed_descriptor() -> Iterator[None]:
    """gevent does not close the watchers of its listening sockets. On libuv it would give them to whoever gets the
    descriptor's number next."""
    yield
    watchers = getattr(gevent.get_hub().loop, "_io_watchers", None)
    if watchers:
        gc.collect()
        for fd in list(watchers):
            try:
                os.fstat(fd)
            except OSError:
                watchers.pop(fd, None)
