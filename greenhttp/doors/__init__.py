"""The same server under other people's names.

    worker      gunicorn's worker class; its public name is greenhttp.gunicorn
    translated  gunicorn's configuration as settings
    pywsgi      gevent's WSGIServer; its public name is greenhttp.pywsgi

Nothing else of greenhttp imports these.
"""
