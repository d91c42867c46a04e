"""A program that knows nothing of greenhttp: Flask-SocketIO over gevent. It prints the port when it listens."""

import sys

import gevent
from flask import Flask, request
from flask_socketio import SocketIO

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent")


@app.get("/page")
def page():
    return "a page\n"


@socketio.on("sum")
def add(numbers):
    return sum(numbers)


@socketio.on("tell all")
def tell_all(text):
    socketio.emit("told", {"from": request.sid, "text": text})


@socketio.on("fail")
def fail():
    raise LookupError("no such shelf")


def tell_port():
    while getattr(socketio, "wsgi_server", None) is None or not socketio.wsgi_server.started:
        gevent.sleep(0.01)
    server = socketio.wsgi_server
    print(f"Flask-SocketIO on {type(server).__module__}, port {server.server_port}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    gevent.spawn(tell_port)
    socketio.run(app, "127.0.0.1", 0)
