"""Flask-SocketIO on greenhttp.pywsgi, by long polling, with python-socketio's own client."""

import queue
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.system.process import Process

HERE = Path(__file__).parent
TIMEOUT = 30  # seconds; only a hang takes as long

pytestmark = pytest.mark.skipif(find_spec("flask_socketio") is None, reason="no Flask-SocketIO")

INSTALL = """
import runpy, sys
from gevent import monkey
monkey.patch_all()
import greenhttp.pywsgi
greenhttp.pywsgi.install()
sys.argv = ["socketio_app.py"]
runpy.run_path("socketio_app.py", run_name="__main__")
"""


@pytest.fixture
def program():
    with Process(HERE, "-c", INSTALL, PYTHONPATH=str(HERE.parent.parent)) as process:
        kind, port = re.search(r"on (\S+), port (\d+)", process.until("Flask-SocketIO on")).groups()
        assert kind == "greenhttp.pywsgi"
        process.where = f"http://127.0.0.1:{port}"
        yield process


@pytest.fixture
def connect(program):
    """connect(transports) -> (client, queue of what it was told)"""
    import socketio

    clients = []

    def make(*transports):
        client, told = socketio.Client(reconnection=False, handle_sigint=False), queue.SimpleQueue()
        client.on("told", told.put)
        client.connect(program.where, transports=list(transports) or None, wait_timeout=TIMEOUT)
        clients.append(client)
        return client, told

    yield make
    for client in clients:
        client.disconnect()


def test_events_are_exchanged_by_long_polling(connect):
    (alice, of_alice), (bob, of_bob) = connect("polling"), connect("polling")
    assert (alice.transport(), bob.transport()) == ("polling", "polling")
    assert alice.call("sum", [1, 2, 3], timeout=TIMEOUT) == 6
    for number in range(5):  # each way, one waiting poll after the other
        bob.emit("tell all", f"hello {number}")
        expected = {"from": bob.get_sid(), "text": f"hello {number}"}
        assert of_alice.get(timeout=TIMEOUT) == of_bob.get(timeout=TIMEOUT) == expected


def test_a_client_that_tries_a_websocket_stays_with_polling(program, connect):
    client, told = connect()
    assert client.transport() == "polling"
    client.emit("tell all", "still here")
    assert told.get(timeout=TIMEOUT)["text"] == "still here"
    assert "GET /socket.io/: refused with 501: WebSocket is not supported yet" in program.until("501")


def test_what_fails_is_said_and_the_rest_goes_on(program, connect):
    client, _ = connect("polling")
    client.emit("fail")
    assert client.call("sum", [4], timeout=TIMEOUT) == 4
    program.until("LookupError: no such shelf")  # by the green thread that Socket.IO runs handlers in


def test_its_pages_are_served_too(program):
    import requests

    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{program.where}/page", timeout=TIMEOUT)
        assert (answer.status_code, answer.text) == (200, "a page\n")
        missing = session.get(f"{program.where}/socket.io/?EIO=4&transport=polling&sid=none", timeout=TIMEOUT)
        assert missing.status_code == 400
