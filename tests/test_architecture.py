"""Imports go downward only, the order stands in LINES; and inside a room they make no circle.

Read are `import`, `from`, `cimport` and `include` of every .py, .pyi, .pyx, .pxd and .pxi, inside functions too: Python
by its syntax tree, Cython by a small scanner, since it is not Python. An upward import planted in a copy of the tree
proves for each kind of file that this test can fail.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import greenhttp

HOUSE = Path(greenhttp.__file__).parent

# From the top down. A module may import its own package and whatever stands on a lower line; never its neighbours.
LINES = (
    ("__main__",),
    ("cli",),
    ("gunicorn", "pywsgi"),
    ("doctor", "doors", "testing"),
    ("supervisor",),
    ("program",),
    ("server", "logs"),
    ("hosting", "observe"),
    ("http", "patch"),
    ("wire", "green", "offloading"),
    ("tls",),
    ("process", "settings"),
    ("errors", "traces"),
)
RANK = {name: -number for number, line in enumerate(LINES) for name in line}
PACKAGE_NAMES = {"__version__"}  # what may be taken from greenhttp/__init__.py itself, which fetches all else lazily

# wire is bytes and values: what would give it a socket, a green thread, a clock, a log or an environment
IMPURE = {"asyncio", "gevent", "greenlet", "logging", "os", "posix", "select", "selectors", "signal", "socket", "ssl",
          "subprocess", "sys", "threading", "time", "libc.time", "cpython.time"}  # fmt: skip


# ---- reading


def imports(path: Path, module: str) -> set[str]:
    """The absolute names that a file imports; `from a import b` gives `a.b`."""
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    source = path.read_text(encoding="utf-8")
    found = _python(source) if path.suffix in (".py", ".pyi") else _cython(source)
    return {_absolute(package, level, name) for level, name in found}


def _absolute(package: str, level: int, name: str) -> str:
    if not level:
        return name
    base = package.split(".")
    return ".".join([*base[: len(base) - level + 1], *filter(None, [name])])


def _python(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.level, ".".join(filter(None, [node.module, alias.name]))
        elif isinstance(node, ast.Call):  # import_module("greenhttp.server")
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
                yield 0, str(node.args[0].value)


TOKEN = re.compile(
    r"""
      (?P<skip> \#[^\n]* | \\\r?\n | [ \t\f\r]+ )
    | (?P<text> [A-Za-z]{0,2}(?: \"\"\"(?:\\.|[^\\])*?\"\"\" | '''(?:\\.|[^\\])*?'''
                               | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' ) )
    | (?P<name> [^\W\d]\w* )
    | (?P<end>  \n | ; )
    | (?P<other> \.\.\. | . )
    """,
    re.VERBOSE | re.DOTALL,
)


def _tokens(source: str) -> list[str]:
    """Words and marks; strings as one token with their quotes, a statement's end as "\\n", none inside brackets."""
    tokens, depth = ["\n"], 0
    for match in TOKEN.finditer(source):
        kind, text = match.lastgroup, match.group()
        if kind == "skip":
            continue
        if kind == "other":
            depth += (text in "([{") - (text in ")]}")
            tokens.extend(text)  # "..." is three dots of a relative import
        elif kind == "end":
            if text == ";" or depth <= 0:
                tokens.append("\n")
        else:
            tokens.append(text)
    return [*tokens, "\n"]


def _cython(source: str) -> Iterator[tuple[int, str]]:
    tokens = _tokens(source)
    at = 0

    def dotted() -> str:
        nonlocal at
        parts = []
        while re.fullmatch(r"\w+|\.", tokens[at]) and tokens[at] not in ("import", "cimport", "as"):
            parts.append(tokens[at])
            at += 1
        return "".join(parts)

    while at < len(tokens):
        before, token = tokens[at - 1], tokens[at]
        at += 1
        starts = before in ("\n", ":")
        if token == "from" and starts:
            name = dotted()
            if tokens[at] not in ("import", "cimport"):
                continue
            level = len(name) - len(name.lstrip("."))
            name = name.lstrip(".")
            while tokens[at] != "\n":
                at += 1
                if tokens[at] == "as":
                    at += 1
                elif re.fullmatch(r"\w+|\*", tokens[at]):
                    yield level, ".".join(filter(None, [name, tokens[at]]))
        elif token in ("import", "cimport") and starts:
            while True:
                yield 0, dotted()
                if tokens[at] == "as":
                    at += 2
                if tokens[at] != ",":
                    break
                at += 1
        elif token == "include" and starts and tokens[at][-1] in "\"'":
            yield 0, "include " + tokens[at].strip("\"'")
        elif token in ("import_module", "__import__") and tokens[at] == "(" and tokens[at + 1][-1] in "\"'":
            yield 0, tokens[at + 1].strip("\"'")


# ---- judging


def files(house: Path) -> list[tuple[Path, str]]:
    """Every source file with its module's name."""
    found = []
    for path in sorted(house.rglob("*")):
        if path.suffix in (".py", ".pyi", ".pyx", ".pxd", ".pxi") and "__pycache__" not in path.parts:
            parts = path.relative_to(house.parent).with_suffix("").parts
            found.append((path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)))
    return found


def upward(house: Path) -> list[str]:
    """A line for each import that does not go downward."""
    wrong = []
    for path, module in files(house):
        here = module.split(".")[1] if "." in module else ""
        if not here:
            continue  # greenhttp/__init__.py: what it may load is tested by test_public_names
        assert here in RANK, f"{module} has no place in LINES"
        for name in sorted(imports(path, module)):
            where = f"{path.relative_to(house)} imports {name}"
            if name.startswith("include "):
                wrong.append(f"{where}: include hides what is imported; use cimport")
                continue
            parts = name.split(".")
            if parts[0] != "greenhttp":
                continue
            there = parts[1] if len(parts) > 1 else ""
            if there == here or there in PACKAGE_NAMES:
                continue
            if there not in RANK or RANK[there] >= RANK[here]:
                wrong.append(where)
    return wrong


def inside(house: Path) -> dict[str, set[str]]:
    """For each module what it imports of its own room."""
    modules = {module for _, module in files(house)}
    found: dict[str, set[str]] = {}
    for path, module in files(house):
        room = module.split(".")[:2]
        for name in imports(path, module) if len(room) == 2 else ():
            while name and name not in modules:
                name = name.rpartition(".")[0]
            if name.split(".")[:2] == room and name not in (module, ".".join(room)):
                found.setdefault(module, set()).add(name)
    return found


def circles(house: Path) -> list[str]:
    """`a > b > a` for each set of modules of a room that import each other."""
    graph, seen = inside(house), {}

    def reach(module: str) -> set[str]:
        todo, reached = [module], set()
        while todo:
            for name in graph.get(todo.pop(), ()):
                if name not in reached:
                    reached.add(name)
                    todo.append(name)
        return reached

    for module in sorted(graph):
        if module in (reached := reach(module)):
            circle = sorted(name for name in reached if module in reach(name))
            seen[tuple(circle)] = " > ".join([*circle, circle[0]])
    return list(seen.values())


def floors(house: Path) -> str:
    """The rooms from the top down, each with what it imports directly: printed when the order does not hold."""
    arrows: dict[str, set[str]] = {}
    for path, module in files(house):
        here = module.split(".")[1] if "." in module else ""
        for name in imports(path, module):
            there = name.split(".")[1] if name.startswith("greenhttp.") else ""
            if here and there in RANK and there != here:
                arrows.setdefault(here, set()).add(there)
    count = sum(map(len, arrows.values()))
    lines = [f"{len(RANK)} rooms, {count} arrows"]
    for line in LINES:
        lines += [f"  {name:10} > {', '.join(sorted(arrows.get(name, ())))}" for name in line]
    return "\n".join(lines)


def test_imports_go_downward_only():
    assert upward(HOUSE) == [], floors(HOUSE)


def test_no_room_has_a_circle():
    assert circles(HOUSE) == []


def test_a_circle_is_found(copy):
    (copy / "wire" / "one.pyx").write_text("from greenhttp.wire.two cimport x\n")
    (copy / "wire" / "two.pyx").write_text("def f():\n    from greenhttp.wire import one\n")
    assert circles(copy) == ["greenhttp.wire.one > greenhttp.wire.two > greenhttp.wire.one"]


def test_the_whole_house_is_read():
    names = {module for _, module in files(HOUSE)}
    assert {"greenhttp", "greenhttp.cli", "greenhttp.settings.table", "greenhttp.green.listener"} <= names
    in_functions = {"greenhttp.server.Server", "greenhttp.patch", "greenhttp.program.loading"}
    assert in_functions <= imports(HOUSE / "program" / "boot.py", "greenhttp.program.boot")


def test_wire_knows_no_socket_green_thread_clock_log_or_environment():
    for path, module in files(HOUSE):
        for name in imports(path, module) if module.startswith("greenhttp.wire") else ():
            assert not any((name + ".").startswith(bad + ".") for bad in IMPURE), f"{path.name} imports {name}"


SUPERVISORS = {
    "errors", "traces", "settings", "process", "green.listener", "program.boot", "program.check", "program.hooks",
    "logs", "program.endings", "supervisor",
}  # fmt: skip


@pytest.mark.parametrize("name", ["master", "worker"])
def test_what_a_supervisor_loads_at_once_is_little(name):
    """Only the outermost statements: what stands in functions is for a worker, after the fork."""
    body = ast.parse((HOUSE / "supervisor" / f"{name}.py").read_text()).body
    for node in body:
        if isinstance(node, ast.ImportFrom):
            assert not node.level
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for full in names:
            inner = full.removeprefix("greenhttp.")
            assert inner == full or any((inner + ".").startswith(good + ".") for good in SUPERVISORS), full
            assert full.split(".")[0] not in ("gevent", "greenlet"), full


def test_a_supervisor_loads_neither_gevent_nor_greenlet():
    code = "import sys, greenhttp.supervisor.master; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HOUSE.parent)
    loaded = done.stdout.split()
    assert "greenhttp.supervisor.master" in loaded
    assert [name for name in loaded if name.startswith(("gevent", "greenlet"))] == []


# ---- the proof that it can fail


@pytest.fixture
def copy(tmp_path):
    house = tmp_path / "greenhttp"
    shutil.copytree(HOUSE, house, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.c"))
    return house


PLANTS = [
    ("green/planted.py", "def late():\n    from greenhttp.server import Server", "greenhttp.server.Server"),
    ("green/planted.py", "if True: import greenhttp.http.request as r", "greenhttp.http.request"),
    ("green/planted.py", "from ..wire import head", "greenhttp.wire.head"),
    ("green/planted.py", "import importlib\nimportlib.import_module('greenhttp.cli')", "greenhttp.cli"),
    ("green/planted.py", "from greenhttp import Server", "greenhttp.Server"),
    ("settings/table.py", "from ..green import listener", "greenhttp.green.listener"),
    ("errors.py", "from greenhttp import settings", "greenhttp.settings"),
    ("hosting/planted.py", "import greenhttp.observe", "greenhttp.observe"),
    ("wire/planted.pyx", "cdef int late() except? -1:\n    from greenhttp.server import Server\n    return 0x1FULL",
     "greenhttp.server.Server"),
    ("wire/planted.pyx", "cimport greenhttp.green.stream", "greenhttp.green.stream"),
    ("wire/planted.pyx", "from greenhttp.green.stream cimport (\n    Stream,  # a \"comment\n)",
     "greenhttp.green.stream.Stream"),
    ("wire/planted.pyx", "x = b'\\'' ; from ..green cimport stream as s", "greenhttp.green.stream"),
    ("wire/planted.pyx", "import struct, greenhttp.http.request as r, re", "greenhttp.http.request"),
    ("wire/planted.pyx", "def f():\n    __import__('greenhttp.cli')", "greenhttp.cli"),
    ("wire/planted.pyx", "if x: import greenhttp.cli", "greenhttp.cli"),
    ("wire/planted.pyx", "from greenhttp \\\n    cimport green", "greenhttp.green"),
    ("green/planted.pxd", "from greenhttp.http.connection cimport Connection", "greenhttp.http.connection.Connection"),
    ("green/planted.pxd", "from greenhttp.wire.head cimport Head", "greenhttp.wire.head.Head"),
    ("http/planted.pxd", "cdef class X:\n    pass\ncimport greenhttp.hosting.wsgi", "greenhttp.hosting.wsgi"),
    ("wire/planted.pyi", "from greenhttp.green.stream import Stream", "greenhttp.green.stream.Stream"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "code", "name"), PLANTS)
def test_a_planted_upward_import_is_found(copy, file, code, name):
    path = copy / file
    path.write_text((path.read_text() if path.exists() else "") + code + "\n")
    assert upward(copy) == [f"{file} imports {name}"]


def test_an_include_is_found(copy):
    (copy / "wire" / "planted.pyx").write_text('include "../green/inner.pxi"\n')
    assert upward(copy) == [
        "wire/planted.pyx imports include ../green/inner.pxi: include hides what is imported; use cimport"
    ]


INNOCENT = '''
# from greenhttp.server import Server
"""from greenhttp.server import Server
import greenhttp.cli"""
text = 'import greenhttp.cli'; other = "it's; import greenhttp.cli"
r"""\\\\"""
cdef extern from "greenhttp.h":
    int from_import(int important)
cdef extern from *:
    """
    import greenhttp.cli
    """
from libc.string cimport memchr, memcmp
from greenhttp.errors import WireError
from . cimport head
from .head cimport Head as H, other
cimport cython
def f(x):
    yield from x
    raise ValueError from None
    include = "greenhttp.cli"
    return x if x else None
'''


@pytest.mark.parametrize("suffix", [".pyx", ".pxd"])
def test_what_only_looks_like_an_import_is_not_one(copy, suffix):
    path = copy / "wire" / f"planted{suffix}"
    path.write_text(INNOCENT)
    assert upward(copy) == []
    assert imports(path, "greenhttp.wire.planted") == {
        "libc.string.memchr", "libc.string.memcmp", "greenhttp.errors.WireError", "greenhttp.wire.head",
        "greenhttp.wire.head.Head", "greenhttp.wire.head.other", "cython",
    }  # fmt: skip
