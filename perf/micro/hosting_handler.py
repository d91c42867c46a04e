"""What a native handler costs: the same small request as in hosting_wsgi, whose environ is what to compare with."""

from greenhttp import Response
from perf.micro import best_of
from perf.micro.wire_head import BROWSER
from perf.tools.served import requests

SMALL = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n"


def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [b"hello\n"]


def text(request):
    return "hello\n"


def response(request):
    return Response("hello\n", 200, [("Cache-Control", "no-store")])


def looks(request):
    return f"{request.method} {request.path} {request.query.get('b')} {request.headers.get('host')}\n"


def run() -> list[tuple[str, float]]:
    measured = []
    for label, app, request in (
        ("(the same from WSGI)", wsgi, SMALL),
        ("a str", text, SMALL),
        ("a Response with a field", response, SMALL),
        ("path, query and a field looked at", looks, SMALL),
        ("(a browser's request to WSGI)", wsgi, BROWSER),
        ("a browser's request, a str", text, BROWSER),
    ):
        with requests(app, request, 16) as operation:
            measured.append((label, best_of(operation, 3_200)))
    return measured
