"""Beside perf/locustfile.py at the master: the run is over as soon as each of two workers has reported requests."""

import gevent
from locust import events

reported = set()


@events.worker_report.add_listener
def count(client_id, data, **_):
    if data["stats_total"]["num_requests"]:
        reported.add(client_id)


@events.init.add_listener
def watch(environment, **_):
    def wait():
        while len(reported) < 2:
            gevent.sleep(0.05)
        environment.runner.quit()

    gevent.spawn(wait)
