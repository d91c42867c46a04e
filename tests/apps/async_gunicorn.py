"""Settings for gunicorn with greenhttp's worker, which says where it serves as greenhttp does."""

import sys

bind = "127.0.0.1:0"
worker_class = "greenhttp.gunicorn.Worker"


def when_ready(server):
    host, port = server.LISTENERS[0].sock.getsockname()
    print(f"http://{host}:{port}, Ctrl-C stops", file=sys.stderr, flush=True)
