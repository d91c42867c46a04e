"""Libraries that serve WebSocket on whatever they find in the environ, unchanged, each with a client of its own world:
flask-sock and simple-websocket, Flask-SocketIO and python-socketio, gevent-websocket.

Nothing falls back to polling, and nothing is logged but what belongs there.
"""

import contextlib
import queue
from importlib.util import find_spec
from urllib.request import ProxyHandler, build_opener

import pytest

from tests.apps.served import OURS, TIMEOUT, Served

GUNICORN = ("-m", "gunicorn", "-c", "async_gunicorn.py")
PYWSGI = ("websocket_pywsgi.py",)
SERVERS = {
    "alone": (OURS, ()),
    "one worker": (OURS, ("-w", "1")),
    "gunicorn": (GUNICORN, ()),
    "pywsgi": (PYWSGI, ()),
}
HANDLED = SERVERS | {"pywsgi with its handler": ((*PYWSGI, "handler"), ())}
MODES = {  # Engine.IO in its mode for gevent takes gevent-websocket where it is installed
    "gevent": {"ASYNC_MODE": "gevent"},
    "gevent by simple-websocket": {"ASYNC_MODE": "gevent", "HIDDEN": "geventwebsocket"},
    "threading": {"ASYNC_MODE": "threading"},
}


def need(*modules):
    missing = [name for name in modules if find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)}")


@contextlib.contextmanager
def served(server, app, **environ):
    """The URL of `app` on a server; at its end the log is looked at."""
    program, options = HANDLED[server]
    if program[0] == PYWSGI[0]:
        program, options = program[:1], (app, *program[1:])
    else:
        options = (*options, app)
    process = Served(*options, server=program, **environ)
    process.clean = 0
    with process as url:
        yield url
    log = "".join(process.said)
    assert "Traceback" not in log and "ERROR" not in log, log


def get(url):
    with build_opener(ProxyHandler({})).open(url, timeout=TIMEOUT) as answer:
        return answer.read().decode()


def until(url, wanted):
    """Ask until the answer is as wanted: what it tells happens on the server by itself, behind the client's end."""
    for _ in range(2000):
        if (answer := get(url)) == wanted:
            return
    raise AssertionError(f"{url} says {answer!r}, not {wanted!r}")


# ---- flask-sock, simple-websocket


@pytest.fixture
def sock_client():
    simple_websocket = pytest.importorskip("simple_websocket")
    clients = []

    def connect(url, **options):
        clients.append(simple_websocket.Client.connect(url.replace("http", "ws", 1), **options))
        return clients[-1]

    yield connect
    for client in clients:
        with contextlib.suppress(simple_websocket.ConnectionClosed):
            client.close()
        client.thread.join(TIMEOUT)


@need("flask_sock", "simple_websocket")
@pytest.mark.parametrize("server", SERVERS)
def test_flask_sock(server, sock_client):
    from simple_websocket import ConnectionClosed

    with served(server, "websocket_sock_app:app") as url:
        ws = sock_client(f"{url}/echo", subprotocols=["other", "chat"])
        assert ws.subprotocol == "chat"
        for message in ("hello", "é" * 10_000, b"\0\xff" * 50_000, ""):
            ws.send(message)
            assert ws.receive(TIMEOUT) == message
        ws.close()
        until(f"{url}/ended", "echo")
        ws = sock_client(f"{url}/three")
        ws.send("begin")
        assert [ws.receive(TIMEOUT) for _ in range(3)] == ["0", "1", "2"]
        with pytest.raises(ConnectionClosed) as closed:
            ws.receive(TIMEOUT)
        assert (closed.value.reason, closed.value.message) == (4001, "that was all")
        many = [sock_client(f"{url}/echo") for _ in range(20)]
        for number, ws in enumerate(many):
            ws.send(str(number))
        assert [ws.receive(TIMEOUT) for ws in many] == [str(number) for number in range(20)]


# ---- Flask-SocketIO, python-socketio


@pytest.fixture
def io_client():
    socketio = pytest.importorskip("socketio")
    clients = []

    def connect(url, *transports):
        client, told = socketio.Client(reconnection=False, handle_sigint=False), queue.SimpleQueue()
        for event in ("told", "uppered"):
            client.on(event, told.put)
        client.connect(url, transports=list(transports) or None, wait_timeout=TIMEOUT)
        clients.append(client)
        return client, told

    yield connect
    for client in clients:
        client.disconnect()


@need("flask_socketio", "simple_websocket", "websocket")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("server", SERVERS)
def test_flask_socketio(server, mode, io_client):
    with served(server, "websocket_socketio_app:app", **MODES[mode]) as url:
        alice, of_alice = io_client(url, "websocket")
        bob, of_bob = io_client(url)  # begins by polling, and changes over
        bob.call("enter", "library", timeout=TIMEOUT)
        assert (alice.transport(), bob.transport()) == ("websocket", "websocket")
        assert get(f"{url}/transports") == "websocket,websocket"
        assert alice.call("sum", [1, 2, 3], timeout=TIMEOUT) == 6
        for data in (b"bytes " * 20_000, "text"):
            alice.emit("upper", data)
            assert of_alice.get(timeout=TIMEOUT) == data.upper()
        for number in range(5):
            alice.emit("tell", ("library", f"page {number}"))
            assert of_bob.get(timeout=TIMEOUT) == f"page {number}"
        assert of_alice.empty()
        gone = bob.get_sid()
        bob.disconnect()
        until(f"{url}/left", gone)
        assert alice.call("sum", [4], timeout=TIMEOUT) == 4


@need("socketio", "simple_websocket", "websocket")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("server", SERVERS)
def test_python_socketio_without_a_framework(server, mode, io_client):
    with served(server, "websocket_bare_app:app", **MODES[mode]) as url:
        client, told = io_client(url)
        assert client.transport() == "websocket"
        assert client.call("sum", [1, 2], timeout=TIMEOUT) == 3
        client.emit("upper", b"bytes")
        assert told.get(timeout=TIMEOUT) == b"BYTES"


# ---- gevent-websocket


@need("geventwebsocket", "websockets")
@pytest.mark.parametrize("server", HANDLED)
def test_gevent_websocket(server):
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with served(server, "websocket_gevent_app:app") as url:
        place = url.replace("http", "ws", 1)
        assert get(f"{url}/plain") == "a page\n"
        with connect(f"{place}/plain", proxy=None, origin=url) as ws:
            assert ws.recv(TIMEOUT) == f"/plain 13 None {url} False"
            for message in ("hello", "é" * 10_000, b"\0\xff" * 50_000, ""):
                ws.send(message)
                assert ws.recv(TIMEOUT) == message
            ws.send("kind")
            assert ws.recv(TIMEOUT) == b"mutable"
            ws.send("close")
            with pytest.raises(ConnectionClosed):
                ws.recv(TIMEOUT)
            assert (ws.close_code, ws.close_reason) == (4000, "as asked")
        until(f"{url}/log", "told that it is closed;closed: True")
        with connect(f"{place}/echo", proxy=None) as ws:
            assert ws.recv(TIMEOUT) == "welcome"
            ws.send("hello")
            assert ws.recv(TIMEOUT) == "hello"
        until(f"{url}/log", "told that it is closed;closed: True;closed the application")
