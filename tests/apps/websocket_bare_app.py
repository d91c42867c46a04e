"""python-socketio alone, without a framework, in the mode of ASYNC_MODE."""

import os
import sys

import socketio

if "HIDDEN" in os.environ:
    sys.modules[os.environ["HIDDEN"]] = None  # as if it were not installed

server = socketio.Server(async_mode=os.environ["ASYNC_MODE"])


@server.on("sum")
def add(sid, numbers):
    return sum(numbers)


@server.on("upper")
def upper(sid, data):
    server.emit("uppered", data.upper(), to=sid)


app = socketio.WSGIApp(server)
