"""Load from many machines, with Locust: https://locust.io (how to: perf/README.md, "Load from many machines").

    locust -f perf/locustfile.py --host http://192.0.2.1:8000 --headless -u 100 -r 100 -t 10s

Each user keeps one connection and asks for PATHS (in the environment, commas between; by default "/") in turn, one
request after the other. WAIT is the pause between two of them, in seconds, by default none: then a worker sends as fast
as it can, and its own processor is the bound, as Locust says in a warning.
"""

import os

from locust import FastHttpUser, constant, task

PATHS = os.environ.get("PATHS", "/").split(",")
WAIT = float(os.environ.get("WAIT", "0"))


class Visitor(FastHttpUser):
    """A client that asks again and again. Any status from 400 on, and any broken connection, counts as a failure."""

    wait_time = constant(WAIT)

    @task
    def visit(self) -> None:
        for path in PATHS:
            self.client.get(path)
