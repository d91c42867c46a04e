"""freastal with its defaults."""

import freastal

from perf.start import PORT, application

freastal.serve(application(), "127.0.0.1", PORT)
