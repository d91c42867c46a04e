"""The servers that tests ask for by name. One of each serves them all, so each test counts from where it begins."""

import os

import pytest

from tests.apps.services import MariaDB, PostgreSQL, Redis


def started(service):
    if program := service.missing():
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(f"REQUIRE_SERVICES=1, but there is no {program}; .ci/run installs it")
        pytest.skip(f"no {program}")
    with service() as running:
        yield running


@pytest.fixture(scope="session")
def postgresql():
    yield from started(PostgreSQL)


@pytest.fixture(scope="session")
def mariadb():
    yield from started(MariaDB)


@pytest.fixture(scope="session")
def redis_server():
    yield from started(Redis)
