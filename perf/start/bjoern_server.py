"""bjoern with its defaults, but a backlog that 10,000 connections at once do not overflow."""

import bjoern

from perf.start import PORT, application

bjoern.run(application(), "127.0.0.1", PORT, listen_backlog=4096)
