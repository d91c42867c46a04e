"""FastWSGI with its defaults, but a backlog that 10,000 connections at once do not overflow."""

import fastwsgi

from perf.start import PORT, application

fastwsgi.server.backlog = 4096
fastwsgi.run(application(), "127.0.0.1", PORT)
