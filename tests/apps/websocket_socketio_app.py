"""Flask-SocketIO in the mode of ASYNC_MODE: answers, binary, rooms, and who has left."""

import os
import sys

from flask import Flask, request
from flask_socketio import SocketIO, join_room

if "HIDDEN" in os.environ:
    sys.modules[os.environ["HIDDEN"]] = None  # as if it were not installed

app = Flask(__name__)
socketio = SocketIO(app, async_mode=os.environ["ASYNC_MODE"])
left = []


@socketio.on("sum")
def add(numbers):
    return sum(numbers)


@socketio.on("upper")
def upper(data):
    socketio.emit("uppered", data.upper(), to=request.sid)


@socketio.on("enter")
def enter(room):
    join_room(room)


@socketio.on("tell")
def tell(room, text):
    socketio.emit("told", text, to=room)


@socketio.on("disconnect")
def disconnected(*_):
    left.append(request.sid)


@app.get("/left")
def gone():
    return ",".join(left)


@app.get("/transports")
def transports():
    return ",".join(sorted("websocket" if one.upgraded else "polling" for one in socketio.server.eio.sockets.values()))
