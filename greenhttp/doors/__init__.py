"""The same server under other people's names.

    worker      gunicorn's worker class; its public name is greenhttp.gunicorn
    translated  gunicorn's configuration as settings

Nothing else of greenhttp imports these.
"""
