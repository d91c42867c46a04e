"""Locust: its web UI on greenhttp.pywsgi, and perf/locustfile.py on several processes as on several machines."""

import json
import re
import signal
import socket
import time
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.examples.example import Example
from tests.system.process import Process

HOUSE = Path(__file__).parent.parent.parent
TIMEOUT = 60  # seconds; only a hang takes as long
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

INSTALL = """
import sys
from gevent import monkey
monkey.patch_all()
import greenhttp.pywsgi
greenhttp.pywsgi.install()
from locust.main import main
sys.exit(main())
"""

pytestmark = pytest.mark.skipif(find_spec("locust") is None, reason="no locust")


@pytest.fixture(scope="module")
def hello():
    with Example("-m", "greenhttp", "hello:app", "-b", "127.0.0.1:0", "--no-access-log") as example:
        yield example


def locust(url, *arguments):
    return Process(HOUSE, *arguments, "--skip-log-setup", "--host", url, PYTHONPATH=str(HOUSE))


class UI:
    """The web UI, by http.client, over one connection that is kept."""

    def __init__(self, port):
        self.connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)

    def ask(self, target, method="GET", **form):
        self.connection.request(method, target, urlencode(form), FORM if form else {})
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def statistics(self):
        status, content = self.ask("/stats/requests")
        assert status == 200
        return json.loads(content)

    def until(self, condition):
        """The first statistics of which it holds."""
        end = time.monotonic() + TIMEOUT
        while not condition(found := self.statistics()):
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found


def test_the_web_ui_starts_a_run_shows_it_and_stops_it(hello):
    web = "--web-host", "127.0.0.1", "--web-port", "0"
    with locust(hello.url, "-c", INSTALL, "-f", "tests/doors/locust_ui.py", *web) as process:
        kind, port = re.search(r"web UI on (\S+), port (\d+)", process.until("web UI on")).groups()
        assert kind == "greenhttp.pywsgi"
        ui = UI(int(port))
        status, page = ui.ask("/")
        assert (status, b"<title>Locust" in page) == (200, True)
        asset = re.search(rb'src="\.?(/assets/[^"]+\.js)"', page)[1].decode()
        status, script = ui.ask(asset)
        assert (status, len(script) > 100_000) == (200, True)
        assert ui.statistics()["state"] == "ready"

        status, content = ui.ask("/swarm", "POST", user_count=3, spawn_rate=3, host=hello.url)
        assert (status, json.loads(content)["success"]) == (200, True)
        found = ui.until(lambda now: now["user_count"] == 3 and now["stats"][-1]["num_requests"] >= 10)
        assert found["state"] == "running"
        assert {row["name"] for row in found["stats"]} == {"/", "Aggregated"}

        status, content = ui.ask("/stop", "POST")
        assert (status, json.loads(content)["success"]) == (200, True)
        found = ui.until(lambda now: now["state"] == "stopped")
        assert (found["user_count"], found["total_fail_per_sec"], found["errors"]) == (0, 0, [])
        assert ui.ask("/stats/requests/csv")[1].startswith(b"Type,Name,Request Count,Failure Count")
        ui.connection.close()
        process.send_signal(signal.SIGTERM)
        code, _, err = process.rest()
        assert (code, "Traceback" in err) == (0, False), err


def free_port():
    """One that the kernel has just given away. ZeroMQ has to be told a number, by both sides."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def test_the_locustfile_runs_distributed(hello):
    port = str(free_port())
    program, file = ("-m", "locust", "-f"), "perf/locustfile.py"
    master = f"{file},tests/doors/locust_both.py", "--master", "--expect-workers", "2"
    where = "--master-bind-host", "127.0.0.1", "--master-bind-port", port
    run = "--headless", "-u", "4", "-r", "4", "-t", "25s", "--json"
    worker = file, "--worker", "--master-host", "127.0.0.1", "--master-port", port
    url = hello.url
    with (
        locust(url, *program, *master, *where, *run) as first,
        locust(url, *program, *worker) as second,
        locust(url, *program, *worker) as third,
    ):
        code, out, err = first.rest()
        assert code == 0, err
        assert [process.rest()[0] for process in (second, third)] == [0, 0]
    (entry,) = json.loads(out)
    assert (entry["method"], entry["name"], entry["num_failures"]) == ("GET", "/", 0)
    assert entry["num_requests"] >= 2  # of each worker at least one
