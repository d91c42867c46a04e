"""One small start script per rival that has no command of its own: the only places that import them.

Arguments: port, application as MODULE:NAME, and for servers with threads their number.
"""

import importlib
import sys

PORT = int(sys.argv[1]) if len(sys.argv) > 2 else 0
THREADS = int(sys.argv[3]) if len(sys.argv) > 3 else 0


def application():
    """What is to be served. Loaded on demand: after the patching, where there is some."""
    module, _, name = sys.argv[2].partition(":")
    return getattr(importlib.import_module(module), name)
