"""A Flask application: `greenhttp flask_app:app`. A handler that waits holds up nobody else."""

import time

from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def hello():
    return f"hello {request.args.get('name', 'world')}\n"


@app.get("/slow")
def slow():
    time.sleep(1)  # cooperative, for the command patches the standard library first
    return "slept a second\n"


@app.post("/echo")
def echo():
    return request.get_data(), {"Content-Type": request.content_type or "application/octet-stream"}
