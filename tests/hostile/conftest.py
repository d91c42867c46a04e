"""The servers of tests/http, in this process."""

from tests.http.conftest import defects, not_for_ever, serve  # noqa: F401
