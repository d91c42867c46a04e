"""bjoern with its defaults, but a backlog that 10,000 connections at once do not overflow."""

import sys

import bjoern

from perf.apps import app

bjoern.run(app, "127.0.0.1", int(sys.argv[1]), listen_backlog=4096)
