"""The smallest WSGI application: `greenhttp hello:app`."""


def app(environ, start_response):
    body = f"hello from {environ['PATH_INFO']}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
