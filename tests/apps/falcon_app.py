"""The application of exchanges.py in Falcon, which has cookies but no sessions."""

import os
from pathlib import Path

import falcon


def index(request, response):
    response.text = "hello\n"
    response.content_type = falcon.MEDIA_TEXT


def moved(request, response):
    raise falcon.HTTPFound("/")


def login(request, response):
    response.set_cookie("user", request.get_media()["user"], secure=False)
    raise falcon.HTTPSeeOther("/me")


def me(request, response):
    response.text = request.cookies.get("user", "nobody")


def upload(request, response):
    told = {}
    for part in request.get_media():
        if part.name == "file":
            told |= {"name": part.filename, "size": len(part.stream.read())}
        else:
            told[part.name] = part.text
    response.media = told


def from_json(request, response):
    response.media = {"got": request.get_media()}


def echo(request, response):
    response.data = request.bounded_stream.read()
    response.content_type = "application/octet-stream"


def stream(request, response):
    response.content_type = falcon.MEDIA_TEXT
    response.stream = (b"piece %d\n" % number for number in range(5))


def text(request, response, text):
    response.content_type = falcon.MEDIA_TEXT
    response.text = f"{text} {request.get_param('q', default='')}"


def fails(request, response):
    raise RuntimeError("on purpose")


class On:
    """A resource with one method."""

    def __init__(self, method, function):
        setattr(self, f"on_{method}", function)


app = falcon.App()
FILE = Path(os.environ["FILE"])
for method, path, function in (
    ("get", "/", index), ("get", "/moved", moved), ("post", "/login", login), ("get", "/me", me),
    ("post", "/upload", upload), ("post", "/json", from_json), ("post", "/echo", echo), ("get", "/stream", stream),
    ("get", "/text/{text:path}", text), ("get", "/fails", fails),
):  # fmt: skip
    app.add_route(path, On(method, function))
app.add_static_route("/static", FILE.parent)
