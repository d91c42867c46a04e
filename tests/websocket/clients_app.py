"""What clients of all kinds talk to."""

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
def told(ws):
    """With what the last one was closed, as text; then with what this one was."""
    ws.send(told.last)
    try:
        while True:
            ws.receive()
    except greenhttp.WebSocketClosed as error:
        told.last = f"{error.code} {error.reason}"


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


told.last = ""
HANDLERS = {"/echo": echo, "/closing": closing, "/told": told, "/pinging": pinging, "/failing": failing}


def app(request):
    if request.path in HANDLERS:
        return HANDLERS[request.path](request)
    return greenhttp.Response(PAGE, headers={"Content-Type": "text/html"})
