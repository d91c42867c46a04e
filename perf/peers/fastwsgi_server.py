"""FastWSGI with its defaults, but a backlog that 10,000 connections at once do not overflow."""

import sys

import fastwsgi

from perf.apps import app

fastwsgi.server.backlog = 4096
fastwsgi.run(app, "127.0.0.1", int(sys.argv[1]))
