"""freastal with its defaults."""

import sys

import freastal

from perf.apps import app

freastal.serve(app, "127.0.0.1", int(sys.argv[1]))
