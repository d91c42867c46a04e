"""flask-sock: a chat with itself, a connection that the handler closes, one in which it fails, and a plain page."""

from flask import Flask
from flask_sock import Sock

app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"subprotocols": ["chat"], "ping_interval": 25}  # waits in a selector
sock = Sock(app)
ended = []


@sock.route("/echo")
def echo(ws):
    try:
        while True:
            ws.send(ws.receive())
    finally:
        ended.append("echo")


@sock.route("/three")
def three(ws):
    ws.receive()  # simple-websocket's client does not look at what comes together with the 101
    for number in range(3):
        ws.send(f"{number}")
    ws.close(4001, "that was all")


@sock.route("/fail")
def fail(ws):
    raise LookupError("no such shelf")


@sock.route("/never/<word>")
def never(ws, word):
    ws.send(word)


@app.get("/ended")
def ends():
    return ",".join(ended)
