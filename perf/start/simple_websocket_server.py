"""simple-websocket, what flask-sock is made of, on gevent's own WSGI server."""

from gevent import monkey

monkey.patch_all()

import simple_websocket  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402

from perf.start import PORT  # noqa: E402


def echo(environ, start_response):
    websocket = simple_websocket.Server.accept(environ)
    try:
        while True:
            websocket.send(websocket.receive())
    except simple_websocket.ConnectionClosed:
        pass
    return []


WSGIServer(("127.0.0.1", PORT), echo, log=None, backlog=4096).serve_forever()
