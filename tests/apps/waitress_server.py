"""python waitress_server.py MODULE:NAME - the application behind waitress, on a port that the kernel picks."""

import sys
from importlib import import_module

from waitress import create_server

module, _, name = sys.argv[1].partition(":")
server = create_server(getattr(import_module(module), name), host="127.0.0.1", port=0)
print(f"http://127.0.0.1:{server.effective_port}, Ctrl-C stops", file=sys.stderr, flush=True)
server.run()
