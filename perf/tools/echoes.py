"""The echo of WebSocket workloads, as greenhttp's two styles have it: a green thread that waits, and a callback."""

from greenhttp import websocket

PLAIN = "hello, world\n"


@websocket
def handler(ws):
    for message in ws:
        ws.send(message)


def on_message(request):
    return request.websocket(on_message=lambda ws, message: ws.send(message))
