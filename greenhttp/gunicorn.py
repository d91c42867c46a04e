"""gunicorn's master with greenhttp's workers: `gunicorn -k greenhttp.gunicorn.Worker app:app`.

The master, its configuration, its signals and its logs stay gunicorn's; connections, requests, limits and time-outs are
those of greenhttp. See `Worker`. Needs gunicorn to be installed; loads no gevent before a worker is forked.
"""

from greenhttp.doors.worker import Worker

__all__ = ["Worker"]
