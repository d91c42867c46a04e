"""Django's connections to databases and caches, counted by the servers, and what --context has to do with it."""

import pytest

from tests.apps.served import Crowd, Served

AT_ONCE = 10
ROUNDS = 100


@pytest.fixture
def serve(postgresql, redis_server):
    def serve(*arguments, pool=""):
        places = {"POSTGRESQL": str(postgresql.port), "REDIS": redis_server.url, "POOL": pool}
        return Served(*arguments, "django_services_app:app", **places)

    return serve


def made(service, url, target, says):
    """The connections that a thousand requests have cost, ten at a time."""
    before = service.connections_made()
    with Crowd(url, AT_ONCE) as crowd:
        for _ in range(ROUNDS):
            assert crowd.ask(target) == [(200, says)] * AT_ONCE
    return service.connections_made() - before


@pytest.mark.parametrize("context", ["request", "thread"])
def test_persistent_connections_to_a_database_belong_to_green_threads(serve, postgresql, context):
    with serve("--context", context) as url:
        assert 1 <= made(postgresql, url, "/database", b"2") <= AT_ONCE


def test_the_redis_cache_makes_a_connection_for_each_request_since_it_lives_in_a_context_variable(serve, redis_server):
    with serve() as url:
        assert made(redis_server, url, "/cache", b"value") == AT_ONCE * ROUNDS


def test_the_redis_cache_keeps_its_connections_in_the_context_of_a_green_thread(serve, redis_server):
    with serve("--context", "thread") as url:
        assert 1 <= made(redis_server, url, "/cache", b"value") <= AT_ONCE


def test_with_a_pool_that_all_share_the_redis_cache_keeps_them_in_any_context(serve, redis_server):
    with serve(pool="shared_pool.SharedPool") as url:
        assert 1 <= made(redis_server, url, "/cache", b"value") <= AT_ONCE


@pytest.mark.parametrize(("context", "next_one"), [("request", b"en"), ("thread", b"de")])
def test_what_a_view_leaves_in_a_context_variable_reaches_the_next_client_only_where_it_is_kept(
    serve, context, next_one
):
    with serve("--context", context) as url:
        with Crowd(url, 1) as one:
            assert one.ask("/german") == [(200, b"de")]
        with Crowd(url, 1) as other:
            assert other.ask("/language") == [(200, next_one)]
