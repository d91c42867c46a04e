"""gevent's own WSGI server, patched as its documentation advises, without the access log."""

from gevent import monkey

monkey.patch_all()

from gevent.pywsgi import WSGIServer  # noqa: E402

from perf.start import PORT, application  # noqa: E402

WSGIServer(("127.0.0.1", PORT), application(), log=None, backlog=4096).serve_forever()
