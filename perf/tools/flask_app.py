"""A small Flask application as people write them: a route, a template of 20 rows, values that need escaping."""

from flask import Flask, render_template
from jinja2 import DictLoader

from perf.tools.apps import HELLO, ITEMS, TITLE

PAGE = """<!doctype html>
<title>{{ title }}</title>
<table>
{% for name, price in items %}<tr><td>{{ name }}</td><td>{{ "%.2f"|format(price) }}</td></tr>
{% endfor %}</table>"""

app = Flask(__name__)
app.jinja_loader = DictLoader({"table.html": PAGE})  # compiled once, as a file of templates/ is


@app.get("/table")
def table():
    return render_template("table.html", title=TITLE, items=ITEMS)


@app.get("/")
def hello():
    return HELLO
