"""The application of exchanges.py in Pyramid."""

import os

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound, HTTPSeeOther
from pyramid.response import FileResponse, Response
from pyramid.session import SignedCookieSessionFactory


def index(request):
    return Response("hello\n")


def moved(request):
    return HTTPFound("/")


def login(request):
    request.session["user"] = request.POST["user"]
    return HTTPSeeOther("/me")


def me(request):
    return Response(request.session.get("user", "nobody"))


def upload(request):
    file = request.POST["file"]
    told = {"name": file.filename, "size": len(file.file.read()), "note": request.POST["note"]}
    return Response(json_body=told)


def from_json(request):
    return Response(json_body={"got": request.json_body})


def echo(request):
    return Response(request.body, content_type="application/octet-stream")


def stream(request):
    return Response(app_iter=(b"piece %d\n" % number for number in range(5)), content_type="text/plain")


def text(request):
    return Response(f"{'/'.join(request.matchdict['text'])} {request.GET.get('q', '')}", content_type="text/plain")


def file(request):
    return FileResponse(os.environ["FILE"], request, content_type="application/octet-stream")


def fails(request):
    raise RuntimeError("on purpose")


def make():
    # Never issued anew by itself: it is by the second that has begun meanwhile, and two servers are compared.
    sessions = SignedCookieSessionFactory("of a test", reissue_time=None)
    with Configurator(session_factory=sessions) as config:
        for view, path, method in (
            (index, "/", "GET"), (moved, "/moved", "GET"), (login, "/login", "POST"), (me, "/me", "GET"),
            (upload, "/upload", "POST"), (from_json, "/json", "POST"), (echo, "/echo", "POST"),
            (stream, "/stream", "GET"), (text, "/text/*text", "GET"), (file, "/file", "GET"), (fails, "/fails", "GET"),
        ):  # fmt: skip
            config.add_route(view.__name__, path)
            config.add_view(view, route_name=view.__name__, request_method=method)  # GET is HEAD too
        return config.make_wsgi_app()


app = make()
