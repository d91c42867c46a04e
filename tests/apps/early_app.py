"""Answers that do not wait for the content of the request: 401 before any of it, 422 after its first 64 KiB."""

ANSWERS = {"/login": "401 Unauthorized", "/check": "422 Unprocessable Content", "/all": "200 OK"}


def app(environ, start_response):
    path, content = environ["PATH_INFO"], environ["wsgi.input"]
    if path == "/check":
        content.read(64 * 1024)
    elif path == "/all":
        while content.read(64 * 1024):
            pass
    start_response(ANSWERS[path], [("Content-Type", "text/plain")])
    return [b"told early\n"]
