"""async_views.py in Flask: /async/PART as an `async def` view, /run/PART and /runner/PART as an ordinary one."""

import async_views
from async_views import PARTS, WAYS, both
from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def plain():
    return "plain"


@app.get("/async/<name>")
async def view(name):
    async_views.here = request.host_url
    return await both(PARTS[name])


@app.get("/<way>/<name>")
def ordinary(way, name):
    return WAYS[way](PARTS[name])
