"""The application of exchanges.py in Flask."""

import os

from flask import Flask, Response, jsonify, redirect, request, send_file, session, url_for

app = Flask(__name__)
app.secret_key = "of a test"


@app.get("/")
def index():
    return "hello\n"


@app.get("/moved")
def moved():
    return redirect("/")


@app.post("/login")
def login():
    session["user"] = request.form["user"]
    return redirect("/me")


@app.get("/me")
def me():
    return session.get("user", "nobody")


@app.get("/links")
def links():
    return jsonify(
        here=request.url, prefix=request.script_root, path=request.path, me=url_for("me"),
        static=url_for("static", filename="a.css"), outside=url_for("me", _external=True),
    )  # fmt: skip


@app.get("/to-me")
def to_me():
    return redirect(url_for("me"))


@app.post("/upload")
def upload():
    file = request.files["file"]
    return jsonify(name=file.filename, size=len(file.read()), note=request.form["note"])


@app.post("/json")
def from_json():
    return jsonify(got=request.get_json())


@app.post("/echo")
def echo():
    return Response(request.get_data(), mimetype="application/octet-stream")


@app.get("/stream")
def stream():
    return Response((f"piece {number}\n" for number in range(5)), mimetype="text/plain")


@app.get("/text/<path:text>")
def text(text):
    return Response(f"{text} {request.args.get('q', '')}", mimetype="text/plain")


@app.get("/file")
def file():
    return send_file(os.environ["FILE"], mimetype="application/octet-stream", conditional=True)


@app.get("/fails")
def fails():
    raise RuntimeError("on purpose")
