"""The blocks of docs/databases.md, each as the application that it is, against the real server."""

import pytest

from tests.apps.served import Crowd, Served
from tests.docs.blocks import blocks_of
from tests.docs.session import ROOT

PAGE = ROOT / "docs" / "databases.md"
MOST = 20  # connections, as the page has it
CLIENTS = 2 * MOST
ROUNDS = 5

DJANGO = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
from django.core.cache import cache
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpResponse
from django.urls import path

def answer(request):
    with connection.cursor() as cursor:
        cursor.execute("select 1 + 1")
        cache.set("answer", cursor.fetchone()[0])
    return HttpResponse(str(cache.get("answer")))

urlpatterns = [path("", answer)]
app = get_wsgi_application()
"""
SITE = 'from shop_settings import *\nSECRET_KEY = "of a test"\nALLOWED_HOSTS = ["*"]\nROOT_URLCONF = "site_app"\n'


@pytest.fixture(autouse=True)
def page(tmp_path):
    """A directory with the files of the page."""
    for block in blocks_of(PAGE):
        (tmp_path / block.title).write_text(block.body)
    return tmp_path


def asked(page, service, name, *arguments, **environ):
    """The connections that it takes to answer twice as many clients as there may be connections, again and again."""
    before = service.connections_made()
    with Served("--chdir", str(page), *arguments, f"{name}:app", **environ) as url, Crowd(url, CLIENTS) as crowd:
        for _ in range(ROUNDS):
            assert crowd.ask() == [(200, b"2")] * CLIENTS
    return service.connections_made() - before


def test_every_block_is_a_file_that_is_tested_here():
    titles = ["psycopg_app", "psycopg2_app", "pymysql_app", "redis_app", "shop_settings", "shared_pool"]
    assert [block.title for block in blocks_of(PAGE)] == [f"{title}.py" for title in titles]


def test_psycopg(page, postgresql):
    assert 1 <= asked(page, postgresql, "psycopg_app", DATABASE_URL=postgresql.url) <= MOST


def test_psycopg2(page, postgresql):
    bound = ("--concurrency", str(MOST))
    assert 1 <= asked(page, postgresql, "psycopg2_app", *bound, DATABASE_URL=postgresql.url) <= MOST


def test_pymysql(page, mariadb):
    bound = ("--concurrency", str(MOST))
    assert 1 <= asked(page, mariadb, "pymysql_app", *bound, DATABASE_URL=mariadb.url) <= MOST


def test_redis(page, redis_server):
    assert 1 <= asked(page, redis_server, "redis_app", REDIS_URL=redis_server.url) <= MOST


def test_django_with_its_cache(page, postgresql, redis_server):
    (page / "site_app.py").write_text(DJANGO)
    (page / "site_settings.py").write_text(SITE)
    before = redis_server.connections_made()
    places = {"POSTGRESQL_PORT": str(postgresql.port), "REDIS_URL": redis_server.url}
    assert 1 <= asked(page, postgresql, "site_app", "--concurrency", str(MOST), **places) <= MOST
    assert 1 <= redis_server.connections_made() - before <= MOST
