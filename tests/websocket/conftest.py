"""A server in this process, and clients of its WebSockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.http.conftest import Serving, defects, not_for_ever, serve
from tests.websocket.client import Talk

__all__ = ["Serving", "defects", "not_for_ever", "serve"]


@pytest.fixture
def talking(serve: Any) -> Callable[..., tuple[Serving, Callable[..., Talk]]]:
    """talking(app, **settings) -> (Serving, a function that opens a WebSocket)"""

    def start(app: Any, **settings: Any) -> tuple[Serving, Callable[..., Talk]]:
        serving = serve(app, **settings)
        return serving, lambda *given, **named: Talk(serving.connect(), *given, **named)

    return start
