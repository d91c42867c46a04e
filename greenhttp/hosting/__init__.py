"""What a request is handed to.

    handler     native handlers: handler(request) -> Response, str, bytes, an iterator, a file
    wsgi        PEP 3333: environ, start_response, iterables
    interface   which of the two a callable is, and when that is doubtful
    hooks       gunicorn's hooks around a request, in the terms of wsgi.WSGI

Each host turns one kind of application into a response.App, so that http needs to know none of them. Imports http and
what is below it.
"""
