"""The application of exchanges.py in Bottle."""

import os
from pathlib import Path

from bottle import Bottle, redirect, request, response, static_file

app = Bottle()
SECRET = "of a test"


@app.get("/")
def index():
    return "hello\n"


@app.get("/moved")
def moved():
    redirect("/")


@app.post("/login")
def login():
    response.set_cookie("user", request.forms.getunicode("user"), secret=SECRET)
    response.status = 303
    response.set_header("Location", "/me")
    return ""


@app.get("/me")
def me():
    return request.get_cookie("user", "nobody", secret=SECRET)


@app.post("/upload")
def upload():
    file = request.files.get("file")
    return {"name": file.raw_filename, "size": len(file.file.read()), "note": request.forms.getunicode("note")}


@app.post("/json")
def from_json():
    return {"got": request.json}


@app.post("/echo")
def echo():
    response.content_type = "application/octet-stream"
    return request.body.read()


@app.get("/stream")
def stream():
    response.content_type = "text/plain"
    for number in range(5):
        yield f"piece {number}\n"


@app.get("/text/<text:path>")
def text(text):
    response.content_type = "text/plain; charset=utf-8"
    return f"{text} {request.query.getunicode('q', '')}"


@app.get("/file")
def file():
    path = Path(os.environ["FILE"])
    return static_file(path.name, root=path.parent, mimetype="application/octet-stream")


@app.get("/fails")
def fails():
    raise RuntimeError("on purpose")
