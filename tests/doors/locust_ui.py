"""The locustfile of test_locust: the user of perf/locustfile.py, and a word on what serves the web UI, and where."""

import sys

import gevent
from locust import events

from perf.locustfile import Visitor

__all__ = ["Visitor"]


@events.init.add_listener
def tell(environment, **_):
    def wait():
        while (server := environment.web_ui.server) is None or not server.started:
            gevent.sleep(0.01)
        print(f"web UI on {type(server).__module__}, port {server.server_port}", file=sys.stderr, flush=True)

    gevent.spawn(wait)
