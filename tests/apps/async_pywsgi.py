"""python async_pywsgi.py MODULE:NAME - behind greenhttp.pywsgi, patched by gevent alone, on a port the kernel picks."""

from gevent import monkey

monkey.patch_all()

import signal  # noqa: E402
import sys  # noqa: E402
from importlib import import_module  # noqa: E402

import gevent  # noqa: E402

from greenhttp.pywsgi import WSGIServer  # noqa: E402

module, _, name = sys.argv[1].partition(":")
server = WSGIServer(("127.0.0.1", 0), getattr(import_module(module), name), log=None)
server.start()
gevent.signal_handler(signal.SIGTERM, server.stop)
print(f"http://127.0.0.1:{server.server_port}, Ctrl-C stops", file=sys.stderr, flush=True)
server.serve_forever()
