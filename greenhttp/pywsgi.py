"""gevent's WSGI server by its own name, served by greenhttp: see `greenhttp.doors.pywsgi`."""

from greenhttp.doors.pywsgi import WSGIServer, install

__all__ = ["WSGIServer", "install"]
