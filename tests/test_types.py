"""The stubs: there is one for every compiled module, it says what the source says, and users' programs are held to it.

`make lint` compares them with the modules as built (mypy.stubtest); what that cannot see is compared here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import greenhttp

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "greenhttp"
COMPILED = sorted(HOUSE.rglob("*.pyx"))


def test_every_compiled_module_has_its_stub_and_every_stub_its_module() -> None:
    assert {path.with_suffix(".pyi") for path in COMPILED} == set(HOUSE.rglob("*.pyi"))


def test_that_there_are_types_is_said_and_shipped() -> None:
    assert (HOUSE / "py.typed").exists()
    shipped = re.search(r"\[options.package_data\]\n\* = (.*)\n", (ROOT / "setup.cfg").read_text())
    assert shipped and {"py.typed", "*.pyi"} <= set(shipped[1].split(", "))


# ---- special methods: at run time they have no signature

SPECIAL = ("__init__", "__cinit__", "__call__", "__exit__")
CLASS = re.compile(r"^(?:cdef )?class (\w+)(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
METHOD = re.compile(r"^    def (__\w+__)\((.*?)\)(?: ->[^:]*)?:(?: *#[^\n]*)?$", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"^(?:[\w.\[\]]+ )+(?=\w)")  # a C type before the name
ANNOTATED = re.compile(r"^(\w+): [^=]*?(?= =|$)")


def parameters(text: str) -> list[str]:
    """Names with a mark where there is a default, of what stands between the brackets of a Cython `def`."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, default = ANNOTATED.sub(r"\1", TYPED.sub("", part.replace(" not None", ""))).partition("=")
        found.append(name.strip() + ("=" if default else ""))
    return found


def of_source(path: Path) -> dict[str, list[str]]:
    methods = {}
    for name, body in CLASS.findall(path.read_text()):
        for method, between in METHOD.findall(body):
            if method in SPECIAL and (between != "self" or method == "__call__"):
                methods[f"{name}.{method.replace('__cinit__', '__new__')}"] = parameters(between)[1:]
    return methods


def marked(arguments: list[ast.arg], defaults: Sequence[ast.expr | None]) -> list[str]:
    padded = [None] * (len(arguments) - len(defaults)) + list(defaults)
    return [argument.arg + ("=" if default else "") for argument, default in zip(arguments, padded, strict=True)]


def of_stub(path: Path) -> dict[str, list[str]]:
    methods = {}
    for house in ast.parse(path.read_text()).body:
        for node in house.body if isinstance(house, ast.ClassDef) else ():
            if isinstance(node, ast.FunctionDef) and node.name in (*SPECIAL, "__new__"):
                by_name = marked(node.args.kwonlyargs, node.args.kw_defaults)
                methods[f"{house.name}.{node.name}"] = [
                    *marked(node.args.args, node.args.defaults)[1:], *(["*", *by_name] if by_name else []),
                ]  # fmt: skip
    return methods


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_special_methods_are_those_of_the_source(path: Path) -> None:
    source = of_source(path)
    if "SocketStream.__init__" in source:
        assert source["SocketStream.__init__"] == ["sock="]
        source["SocketStream.__init__"] = ["sock"]  # the default is there only to be refused with a better message
    assert of_stub(path.with_suffix(".pyi")) == source


def test_the_source_is_read_rightly() -> None:
    known = {name: words for path in COMPILED for name, words in of_source(path).items()}
    assert known["Phase.__new__"] == ["name", "duration=", "rate=", "grace=", "setting="]
    assert known["Acceptor.__init__"] == ["loop", "sock", "log", "batch="]
    assert known["MemoryStream.__init__"] == ["incoming=", "*", "keep_open=", "window="]
    assert known["Head.__init__"][:2] == ["*", "limit_request_line="]
    assert known["Stream.__exit__"] == ["kind", "value", "traceback"]


# ---- classes that programs construct: their docstrings begin with a signature, where inspect looks for it

CONSTRUCTED = {
    "greenhttp.hosting.handler": ["Response"],
    "greenhttp.green.transport": ["MemoryStream", "SocketStream"],
    "greenhttp.http.body": ["PythonBody"],
    "greenhttp.http.application": ["PythonExchange"],
}
CLASSES = [(module, name) for module, names in CONSTRUCTED.items() for name in names]


def arguments_of(text: str) -> str:
    """Names and defaults, of a `def` or of a signature: without types, in Python's own spelling."""
    arguments = ast.parse(f"def f{text}: pass").body[0].args  # type: ignore[attr-defined]
    for each in (*arguments.args, *arguments.kwonlyargs):
        each.annotation = None
    return ast.unparse(arguments)


@pytest.mark.parametrize(("module", "name"), CLASSES)
def test_a_class_that_programs_construct_has_the_signature_of_its_stub(module: str, name: str) -> None:
    value = getattr(importlib.import_module(module), name)
    stub = ast.parse((ROOT / module.replace(".", "/")).with_suffix(".pyi").read_text())
    (house,) = [node for node in stub.body if isinstance(node, ast.ClassDef) and node.name == name]
    (start,) = [node for node in house.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    said = arguments_of(f"({ast.unparse(start.args)})").removeprefix("self, ")
    assert arguments_of(str(inspect.signature(value))) == said
    assert "--" not in value.__doc__.partition("\n\n")[0]  # help() shows it as a signature, not as text


def test_every_public_callable_has_a_signature() -> None:
    made_by_the_server = {"Form", "Headers", "Request", "Stream"}
    for name in set(greenhttp.__all__) - made_by_the_server:
        value = getattr(greenhttp, name)
        if callable(value) and not (isinstance(value, type) and issubclass(value, Exception)):
            inspect.signature(value)


# ---- users' programs

GOOD = """
from collections.abc import Callable, Iterable
from typing import Any

import greenhttp
from greenhttp import (
    BodyError, Form, Headers, LineTooLong, Request, Response, Server, Stream, StreamTimeout, Upload, Values, connect,
)
from greenhttp.settings.typed import ServerSettings
from greenhttp.testing import Answer, Client, Outcome, exchange


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    try:
        content: bytes = environ["wsgi.input"].read()
    except BodyError as error:
        status: int = error.status
        return [b"%d" % status]
    start_response("200 OK", [])
    return [content]


def lines(stream: Stream) -> list[bytes]:
    return [line for line in stream]


def ask(address: str) -> tuple[bytes, int]:
    with connect(address, timeout=5) as stream:
        stream.timeout = 2.5
        stream.write(memoryview(b"hello\\n"), timeout=None)
        stream.writelines([b"a", bytearray(b"b")])
        with open("file", "rb") as file:
            sent: int = stream.sendfile(file, 0, 10)
        try:
            first: bytes = stream.readline(1000)
        except (LineTooLong, StreamTimeout):
            first = stream.read_some()
        number: int = stream.fileno()
        return first + stream.readuntil(b"\\0") + b"".join(lines(stream)), sent + number


server = Server(app, bind="127.0.0.1:0", header_timeout=5)
server.start()
finished: bool = server.stop(timeout=1.5)
counts: dict[str, int] = server.statistics()
outcome: Outcome = exchange(app, [b"GET / HTTP/1.1\\r\\n\\r\\n"], keep_open=True)
version: str = greenhttp.__version__


def handler(request: Request) -> Response | dict[str, list[int]]:
    form: Form = request.form()
    upload: Upload | None = form.files.get("file")
    query: Values[str] = request.query
    fields: Headers = request.headers
    if upload is None or "a" in query:
        return Response.json({"sizes": [1], "kind": fields.get("Content-Type")}, 404, {"Vary": ["a", "b"]})
    return {"sizes": [upload.size]}


def tested() -> bytes:
    with Client(handler, raise_errors=False, body_timeout="1s") as client:
        answer: Answer = client.post("/x", json={"a": None}, headers={"X-A": "b"})
        with open("file", "rb") as file:
            client.put("/y", form={"a": "b", "file": file, "more": [("name", b"content")]})
        client.patch("/z", content=[b"a", b"b"])
        names: list[str] = answer.headers.get_all("Set-Cookie")
        return answer.content + answer.headers.get("ETag", "").encode() + str(names).encode()


def configured(more: ServerSettings) -> None:
    Server(handler, **more)
    greenhttp.serve(handler)
    greenhttp.serve(
        handler, bind=["127.0.0.1:0", "unix:/run/x"], header_timeout="5s", body_timeout=2, queue=None, debug=True,
        interface="native", access_logfile=False, secure_scheme_headers={"x-proto": "https"}, allow_methods=("TRACE",),
    )
    greenhttp.serve_stream(lines, bind=":7000", write_timeout=1.5, socket_mode=0o660)
"""

WRONG = {
    "greenhttp.connect(8000)": "arg-type",
    'greenhttp.connect("a:1", True)': "call-arg",
    'greenhttp.connect("a:1").write("text")': "arg-type",
    'greenhttp.connect("a:1").read("10")': "arg-type",
    'greenhttp.connect("a:1").readuntil(separator="x")': "arg-type",
    'greenhttp.connect("a:1").closed = True': "misc",
    'greenhttp.connect("a:1").receive()': "attr-defined",
    'x: str = greenhttp.connect("a:1").read()': "assignment",
    "greenhttp.Server(8000)": "arg-type",
    "greenhttp.Serve": "attr-defined",
    "greenhttp.serve(print, nonsense=1)": "call-arg",
    "greenhttp.serve(print, bind=8000)": "arg-type",
    "greenhttp.serve(print, header_timeout=[])": "arg-type",
    "greenhttp.serve(print, queue=1.5)": "arg-type",
    "greenhttp.serve(print, workers=2)": "call-arg",
    'greenhttp.serve_stream(print, bind=":1", interface="wsgi")': "call-arg",
    "greenhttp.serve_stream(print)": "call-arg",
    "greenhttp.Server(print, max_requests=1)": "call-arg",
    "greenhttp.Server(print, debug=None)": "arg-type",
    "greenhttp.Response(body=1)": "arg-type",
    'Client(print).get("/", body=b"")': "call-arg",
    "Client(print).get(b'/')": "arg-type",
    "Client(print, nonsense=1)": "call-arg",
    "greenhttp.Response.json({}, headers=1)": "arg-type",
}


def complaints(directory: Path, program: str) -> list[str]:
    """What `mypy --strict` says of a program: line and kind of each error."""
    (directory / "program.py").write_text(program)
    command = [
        sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "setup.cfg"), "--cache-dir",
        str(ROOT / ".mypy_cache"), str(directory / "program.py"),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return re.findall(r"program\.py:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)


def test_a_program_of_public_names_passes_mypy_strict(tmp_path: Path) -> None:
    assert complaints(tmp_path, GOOD) == []


def test_wrong_uses_of_them_do_not(tmp_path: Path) -> None:
    program = "import greenhttp\nfrom greenhttp.testing import Client\n" + "\n".join(WRONG)
    expected = [(str(line), kind) for line, kind in enumerate(WRONG.values(), 3)]
    assert complaints(tmp_path, program) == expected
