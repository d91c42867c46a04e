"""What clients of all kinds talk to."""

from collections import defaultdict

from gevent.event import AsyncResult

import greenhttp

PAGE = "<!doctype html><title>clients</title>"


@greenhttp.websocket(protocols=["chat.v2", "chat.v1"])
def echo(ws):
    for message in ws:
        ws.send(message)


@greenhttp.websocket
def closing(ws):
    """Closes with the code and the reason that the client says."""
    code, _, reason = ws.receive().partition(" ")
    ws.close(int(code), reason)


@greenhttp.websocket
def listening(ws):
    """Says nothing; with what it was closed can be asked for."""
    try:
        while True:
            ws.receive()
    except greenhttp.WebSocketClosed as error:
        ends[ws.request.query["key"]].set(f"{error.code} {error.reason}")


@greenhttp.websocket
def pinging(ws):
    """A ping before each echo."""
    for message in ws:
        ws.ping(b"are you there")
        ws.send(message)


@greenhttp.websocket
def failing(ws):
    ws.receive()
    raise RuntimeError("of the application")


ends = defaultdict(AsyncResult)
HANDLERS = {"/echo": echo, "/closing": closing, "/listening": listening, "/pinging": pinging, "/failing": failing}


def app(request):
    if request.path in HANDLERS:
        return HANDLERS[request.path](request)
    if request.path == "/end":  # waits for it
        key = request.query["key"]
        try:
            return ends[key].get(timeout=60)
        finally:
            del ends[key]
    return greenhttp.Response(PAGE, headers={"Content-Type": "text/html"})
