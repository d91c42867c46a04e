"""python websocket_pywsgi.py MODULE:NAME [gevent|greenhttp] [handler] - behind gevent.pywsgi or ours, if asked for with
gevent-websocket's handler, on a port the kernel picks."""

from gevent import monkey

monkey.patch_all()

import signal  # noqa: E402
import sys  # noqa: E402
from importlib import import_module  # noqa: E402

import gevent  # noqa: E402

given = sys.argv[2:]
WSGIServer = import_module("gevent.pywsgi" if "gevent" in given else "greenhttp.pywsgi").WSGIServer
options = {}
if "handler" in given:
    from geventwebsocket.handler import WebSocketHandler

    options["handler_class"] = WebSocketHandler
module, _, name = sys.argv[1].partition(":")
server = WSGIServer(("127.0.0.1", 0), getattr(import_module(module), name), log=None, **options)
server.start()
gevent.signal_handler(signal.SIGTERM, server.stop)
print(f"http://127.0.0.1:{server.server_port}, Ctrl-C stops", file=sys.stderr, flush=True)
server.serve_forever()
