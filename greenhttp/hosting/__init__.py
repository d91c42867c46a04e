"""What a request is handed to: app(request) -> Response.

    wsgi        PEP 3333: environ, start_response, iterables

Each host turns one kind of application into a callable that takes an http.Request and gives an http.Response, so that
http needs to know none of them. Imports http and what is below it.
"""
