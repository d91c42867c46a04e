"""gevent-websocket: its handler for gevent's own WSGI server."""

from gevent import monkey

monkey.patch_all()

from gevent.pywsgi import WSGIServer  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402

from perf.start import PORT  # noqa: E402


def echo(environ, start_response):
    websocket = environ["wsgi.websocket"]
    while (message := websocket.receive()) is not None:
        websocket.send(message)
    return []


WSGIServer(("127.0.0.1", PORT), echo, log=None, backlog=4096, handler_class=WebSocketHandler).serve_forever()
