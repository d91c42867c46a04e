"""POST / with a statement: a database gets it, and the first row comes back as JSON. GET / asks nobody.

The environment says by which driver (DRIVER), where (SERVICE, a URL), and how many seconds a pool may take to give a
connection (PATIENCE). Each driver is used as it is meant to be with green threads: a pool, if it has one, else a
connection for each green thread, looked at before it is used again.
"""

import json
import os
import select
import threading
from urllib.parse import urlsplit

URL = os.environ["SERVICE"]
MOST = 200  # connections of a pool


def psycopg():
    from psycopg_pool import ConnectionPool

    pool = ConnectionPool(
        URL, min_size=1, max_size=MOST, kwargs={"autocommit": True}, check=ConnectionPool.check_connection,
        timeout=float(os.environ["PATIENCE"]), reconnect_timeout=1, open=True,
    )  # fmt: skip

    def ask(statement):
        with pool.connection() as connection:
            return connection.execute(statement).fetchone()

    return ask


def psycopg2():
    import psycopg2
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()  # libpq waits by itself, where no patch of the standard library reaches

    def connect():
        connection = psycopg2.connect(URL)
        connection.autocommit = True
        return connection

    def fit(connection):
        # A server says nothing on a connection that asks nothing: what can be read there is its end.
        return not connection.closed and not select.select([connection], [], [], 0)[0]

    return each_its_own(connect, fit)


def pymysql():
    import pymysql

    def connect():
        place = urlsplit(URL)
        return pymysql.connect(host=place.hostname, port=place.port, user=place.username, autocommit=True)

    def fit(connection):
        connection.ping(reconnect=True)
        return True

    return each_its_own(connect, fit)


def each_its_own(connect, fit):
    here = threading.local()  # patched: of this green thread

    def ask(statement):
        if getattr(here, "connection", None) is None or not fit(here.connection):
            here.connection = connect()
        with here.connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()

    return ask


def redis():
    from redis import Redis

    # It has a pool. A statement may wait for longer than its default time-out.
    client = Redis.from_url(URL, decode_responses=True, max_connections=MOST, socket_timeout=None)
    return lambda statement: client.execute_command(*statement.split())


ask = {"psycopg": psycopg, "psycopg2": psycopg2, "pymysql": pymysql, "redis": redis}[os.environ["DRIVER"]]()


def app(request):
    if request.method == "GET":
        return "alive"
    return json.dumps(ask(request.body.read(1000).decode()), default=str)
