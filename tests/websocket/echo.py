"""The echo servers that Autobahn's cases are asked of, one in each style."""

from greenhttp import websocket


@websocket
def handler(ws):
    for message in ws:
        ws.send(message)


def on_message(request):
    return request.websocket(on_message=lambda ws, message: ws.send(message))
