"""A server with an access log, and what the log has when the server has stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.http.conftest import defects, not_for_ever, serve  # noqa: F401

SHORT = '%(s)s %(B)s "%(r)s"'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def logged(serve: Any, path: Path) -> Callable[..., Any]:  # noqa: F811
    """logged(app, form, **settings) -> Serving, with `entries()`: stops the server and gives the lines of its log."""

    def start(app: Any, form: str = SHORT, **settings: Any) -> Any:
        serving = serve(app, access_logfile=str(path), access_log_format=form, **settings)

        def entries(timeout: float = 30) -> list[str]:
            for client in serving.clients if timeout else ():
                client.close()  # or the server would linger
            serving.server.stop(timeout)
            text = path.read_bytes().decode("ascii")
            assert text == "" or text.endswith("\n")
            return text.splitlines()

        serving.entries = entries
        return serving

    return start
