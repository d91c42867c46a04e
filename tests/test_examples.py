"""Each example runs."""

import importlib.util
from pathlib import Path

import pytest
from werkzeug.test import Client

EXAMPLES = Path(__file__).parent.parent / "examples"


def client(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Client(module.app)


def hello():
    assert client("hello").get("/x").text == "hello from /x\n"


def flask_app():
    flask = client("flask_app")
    assert flask.get("/?name=you").text == "hello you\n"
    answer = flask.post("/echo", data=b"abc", content_type="text/x")
    assert (answer.data, answer.content_type) == (b"abc", "text/x")


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_example(name):
    globals()[name]()  # an example without a function above fails here
