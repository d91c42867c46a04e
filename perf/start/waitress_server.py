"""waitress. Its default of 100 connections would decide most rows, and select(), its default, knows no descriptor
above 1,023."""

import logging

import waitress

from perf.start import PORT, THREADS, application

logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a line for each request that finds all threads busy
waitress.serve(
    application(), listen=f"127.0.0.1:{PORT}", threads=THREADS, connection_limit=20000, backlog=4096,
    asyncore_use_poll=True, _quiet=True,
)  # fmt: skip
