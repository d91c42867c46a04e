"""Database drivers in green threads, against real servers: many wait together, connections are kept, and an end of the
server is an end of nothing else."""

import contextlib
import json
import time
from dataclasses import dataclass

import pytest

from tests.apps.served import TIMEOUT, Crowd, Served

TOGETHER = 200
GATE = 7  # the number of the lock that statements wait for
ALIVE = (200, b"alive")


@dataclass(frozen=True)
class Driver:
    """How a driver is tested.

    Attributes:
        name: what drivers_app.py calls it.
        service: the fixture with its server.
        quick, answer: a statement and what it gives.
        waits: a statement that waits until the outside lets it go on.
    """

    name: str
    service: str
    quick: str
    answer: object
    waits: str


# In PostgreSQL and MariaDB a second long, once the lock is there: nobody gets done before all have been seen.
SQL_WAITS = f"select pg_advisory_xact_lock_shared({GATE}), pg_sleep(1)"
DRIVERS = [
    Driver("psycopg", "postgresql", "select 1 + 1", [2], SQL_WAITS),
    Driver("psycopg2", "postgresql", "select 1 + 1", [2], SQL_WAITS),
    Driver("pymysql", "mariadb", "select 1 + 1", [2], f"select get_lock('{GATE}', 600), release_lock('{GATE}')"),
    Driver("redis", "redis_server", "ECHO 2", "2", f"BLPOP {GATE} 600"),
]


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.name)
def driver(request):
    return request.param


@pytest.fixture
def service(driver, request):
    return request.getfixturevalue(driver.service)


@pytest.fixture
def url(request, driver, service):
    # Long, since 200 connections take their time on a busy machine; 5 where the end of it is what is tested.
    environ = {"DRIVER": driver.name, "SERVICE": service.url, "PATIENCE": str(getattr(request, "param", TIMEOUT))}
    with Served("--concurrency", "300", "drivers_app:app", **environ) as url:
        yield url


@contextlib.contextmanager
def gate(driver, service):
    """From the outside: statements that wait do so until `release(how_many)`. Yields that, and what counts them."""
    with service.connect() as outside:
        if driver.service == "redis_server":
            yield lambda count: outside.rpush(GATE, *range(count)), lambda: outside.info("clients")["blocked_clients"]
            return
        cursor = outside.cursor()

        def one(statement, *arguments):
            cursor.execute(statement, arguments)
            return cursor.fetchone()[0]

        if driver.service == "postgresql":
            one("select pg_advisory_lock(%s)", GATE)
            yield (
                lambda _: one("select pg_advisory_unlock(%s)", GATE),
                lambda: one(
                    "select count(*) from pg_stat_activity where state = 'active' and wait_event_type = 'Lock'"
                    " and query = %s", driver.waits,
                ),
            )  # fmt: skip
        else:
            one("select get_lock(%s, 600)", str(GATE))
            yield (
                lambda _: one("select release_lock(%s)", str(GATE)),
                lambda: one(
                    "select count(*) from information_schema.processlist where state = 'User lock' and info = %s",
                    driver.waits,
                ),
            )  # fmt: skip


def most(waiting, wanted, meanwhile):
    """How many wait, as soon as it is as many as wanted, or when it has not become so many."""
    until = time.monotonic() + TIMEOUT
    while (seen := waiting()) != wanted and time.monotonic() < until:
        assert meanwhile()
    return seen


def test_200_statements_are_seen_waiting_in_the_server_together(driver, service, url):
    with gate(driver, service) as (release, waiting), Crowd(url, TOGETHER) as crowd, Crowd(url, 1) as other:
        crowd.send(content=driver.waits)
        seen = most(waiting, TOGETHER, lambda: other.ask() == [ALIVE])  # one process, and nobody else is held up
        release(TOGETHER)
        assert [status for status, _ in crowd.answers()] == [200] * TOGETHER
    assert seen == TOGETHER


def test_1000_requests_need_no_more_connections_than_run_together(driver, service, url):
    before = service.connections_made()
    with Crowd(url, 10) as crowd:
        for _ in range(100):
            assert [(status, json.loads(content)) for status, content in crowd.ask(content=driver.quick)] == [
                (200, driver.answer)
            ] * 10
    made = service.connections_made() - before
    assert 1 <= made <= 10


@pytest.mark.parametrize("url", [5], indirect=True, ids=["5s"])
def test_a_server_that_goes_away_and_comes_back_costs_errors_only_meanwhile(driver, service, url):
    with gate(driver, service) as (release, waiting), Crowd(url, 10) as crowd:
        # Ten connections of the driver, by statements that run together.
        crowd.send(content=driver.waits)
        assert most(waiting, 10, lambda: True) == 10
        release(10)
        assert [status for status, _ in crowd.answers()] == [200] * 10
    with Crowd(url, 10) as crowd, Crowd(url, 1) as other:
        service.stop()
        other.send(content=driver.quick)
        assert crowd.ask() == [ALIVE] * 10  # while that fails
        assert [status for status, _ in other.answers()] == [500]
        assert [status for status, _ in other.ask(content=driver.quick)] == [500]
        service.start()
        for _ in range(3):
            assert [status for status, _ in crowd.ask(content=driver.quick)] == [200] * 10
