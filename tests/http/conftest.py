"""A server in this process, clients that suspend one green thread each, and an eye on what must never happen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from greenhttp.server import Server
from tests.http.carriers import Conversation, over_http1, over_messages
from tests.http.client import Client

Talk = Callable[..., Conversation]


@pytest.fixture(autouse=True)
def defects(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What reaches sys.excepthook or the hub's error handler is a defect of the server: there must be none."""
    found: list[str] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, traceback: found.append(repr(value)))
    hub = gevent.get_hub()
    monkeypatch.setattr(hub, "print_exception", lambda context, *info: found.append(f"{context!r}: {info!r}"))
    yield found
    assert found == []


@pytest.fixture(autouse=True)
def not_for_ever() -> Iterator[None]:
    """A safety net far beyond what any test takes."""
    with gevent.Timeout(180, AssertionError("the test did not come to an end")):
        yield


@pytest.fixture(params=[over_http1, over_messages])
def talk(request: pytest.FixtureRequest) -> Talk:
    """talk(app, *requests, **settings) -> Conversation. For rules that are not about HTTP/1's bytes: tried on both."""
    carry: Talk = request.param
    return carry


class Serving:
    """A started server and its clients."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.clients: list[Client] = []

    def connect(self, **options: Any) -> Client:
        client = Client(self.server.address, **options)
        self.clients.append(client)
        return client

    def ask(self, data: bytes, method: str = "GET") -> Any:
        """One answer on a connection of its own."""
        return self.connect().ask(data, method)

    def count(self, name: str) -> int:
        return self.server.statistics()[name]

    def until(self, condition: Callable[[], Any]) -> None:
        """Let the loop go on until `condition` holds: an event inside the server that is seen from outside only."""
        while not condition():
            gevent.sleep(0.001)


@pytest.fixture
def serve() -> Iterator[Callable[..., Serving]]:
    """serve(app, **settings) -> Serving"""
    started: list[Serving] = []

    def start(app: Any, **settings: Any) -> Serving:
        server = Server(app, bind="127.0.0.1:0", **settings)
        server.start()
        started.append(Serving(server))
        return started[-1]

    yield start
    for serving in started:
        for client in serving.clients:
            client.close()
        serving.server.stop(0)
    gevent.idle()
