"""Packages that wait or compute by themselves, where no green thread gives way, and what to do about each.

Only what is known of the package itself stands here; whether it is installed, or imported by the application, `look`
finds out. `blocks`: an imported one holds the hub whenever it is used as usual.
"""

from dataclasses import dataclass

OFFLOAD = "call it with greenhttp.offload"
HEALTHY, BLOCKED, FAILED = 0, 1, 3  # exit codes: nothing blocks; something does; it could not be examined
PATIENCE = 60.0  # seconds for one answer; also for the application to be loaded, and for the hub to turn
WEBSOCKET = "there is no WebSocket here yet: use server-sent events or long polling, or serve that part elsewhere"
COMPUTES = "run computations of more than a few milliseconds with greenhttp.offload"


@dataclass(frozen=True)
class Package:
    """One row.

    Attributes:
        module: by which it is imported.
        why: what it does to the hub.
        advice: what to do.
        blocks: whether it is a finding that blocks once it is imported; others are said only then, as notes.
        calls: functions of it that begin whatever waits: who calls them shows whether that is offloaded.
    """

    module: str
    why: str
    advice: str
    blocks: bool = True
    calls: tuple[str, ...] = ("connect",)


PACKAGES = (
    Package("MySQLdb", "mysqlclient waits for the server in C", f"use PyMySQL, or {OFFLOAD}"),
    Package("psycopg2", "libpq waits for the server in C", "install psycogreen and call"
            " psycogreen.gevent.patch_psycopg() when the application is loaded, or use psycopg 3"),
    Package("pymssql", "FreeTDS waits for the server in C", f"set pymssql.set_wait_callback, or {OFFLOAD}"),
    Package("pyodbc", "the ODBC driver waits for the server in C", OFFLOAD),
    Package("cx_Oracle", "the Oracle client waits for the server in C",
            f"use oracledb in its thin mode, or {OFFLOAD}"),
    Package("ibm_db", "the DB2 client waits for the server in C", OFFLOAD),
    Package("grpc", "its C core has its own sockets, threads and locks",
            "call grpc.experimental.gevent.init_gevent() when the application is loaded, or " + OFFLOAD),
    Package("confluent_kafka", "librdkafka waits in C: poll(), flush(), consume()",
            f"poll(0) in a loop with a sleep, or {OFFLOAD}"),
    Package("pylibmc", "libmemcached waits for the server in C", f"use pymemcache, or {OFFLOAD}"),
    Package("pycurl", "libcurl waits in perform()", f"use requests or urllib3, or {OFFLOAD}"),
    Package("zmq", "libzmq waits in C", "import zmq.green as zmq"),
    Package("oracledb", "its thick mode waits for the server in C; the thin one does not",
            f"do not call init_oracle_client(), or {OFFLOAD}", False),
    Package("h5py", "files are read and written under one lock, in C", OFFLOAD, False),
    Package("numpy", "long computations block the hub", COMPUTES, False),
    Package("torch", "long computations block the hub", COMPUTES, False),
    Package("tensorflow", "long computations block the hub", COMPUTES, False),
    Package("PIL", "decoding and scaling block the hub", COMPUTES, False),
    *(Package(name, "it serves WebSocket", WEBSOCKET, False)
      for name in ("flask_sock", "flask_sockets", "flask_socketio", "geventwebsocket", "simple_websocket", "wsproto")),
)  # fmt: skip
