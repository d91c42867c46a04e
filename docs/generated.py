"""The lists in docs/settings.md and docs/reference.md, made from the code.

    python docs/generated.py          writes them between the markers of both pages
    python docs/generated.py --check  names the pages whose list is out of date; exit code 1

Signatures are read from the source, or from the stub (`.pyi`) of a compiled module, so that they are the same with
every version of Python. Docstrings come from the modules.
"""

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the list is that of this checkout

import greenhttp  # noqa: E402
from greenhttp.settings.kinds import LISTS  # noqa: E402
from greenhttp.settings.table import SETTINGS, Setting  # noqa: E402
from greenhttp.settings.typed import ServeSettings  # noqa: E402

COMMAND = "python docs/generated.py"
BEGIN = "<!-- generated: {page}; do not edit, run `" + COMMAND + "` -->"
END = "<!-- generated: end -->"

WORDS = {"count": "a whole number", "bool": "yes or no", "file": "a file's name, - or off", "header": "a text or off",
         "target": "a path or off", "prefix": "a path or off", "optional": "a text or off",
         "field": "a field name or off",
         "word": "a word", "secret": "a text or off",
         "workers": "a whole number, or auto", "mode": "octal digits or off"}  # fmt: skip


# ---- settings


IN_PYTHON = {"bind", *ServeSettings.__annotations__}  # the others are about the command, and workers


def settings() -> str:
    """Every setting under its heading, as Markdown."""
    lines: list[str] = []
    group = ""
    for setting in SETTINGS:
        if setting.group != group:
            group = setting.group
            lines += [f"## {group}", ""]
        lines += [f"### {setting.name}", "", _sentence(setting), "", *_facts(setting), ""]
    return "\n".join(lines)


def _sentence(setting: Setting) -> str:
    """The help text; options in it as code, so that nothing makes dashes of their hyphens."""
    return re.sub(r"(?<![\w`-])--?[a-z][a-z-]*", lambda option: f"`{option[0]}`", setting.help)


def _facts(setting: Setting) -> Iterator[str]:
    default = setting.typed(setting.parse(setting.default)) if setting.default is not None else None
    if isinstance(default, bool):
        default = "yes" if default else "no"
    elif isinstance(default, list):
        default = ", ".join(default) or "none"
    unit = f" ({setting.unit})" if setting.unit else ""
    value = WORDS.get(setting.kind, "a list" if setting.kind in LISTS else f"a {setting.kind}")
    if setting.kind in ("choice", "word"):
        value = _choices(setting)
    flags = [f"`{flag}`" for flag in setting.flags]
    flags += [f"`--no-{setting.flag[2:]}`"] if setting.kind == "bool" else [f"`{flag}`" for flag, _ in setting.switches]
    yield f"- Default: {'see above' if default is None else f'`{default}`'}. Value: {value}{unit}."
    if setting.bare:
        flags[0] += f" (without a value: {setting.bare})"
    by_name = "File and Python" if setting.name in IN_PYTHON else "File (not in `serve()`)"
    yield f"- Command line: {', '.join(flags)}. Environment: `{setting.variable}`. {by_name}: `{setting.name}`."


def _choices(setting: Setting) -> str:
    """As the error for another value names them."""
    try:
        setting.parse("?")
    except ValueError as error:
        return str(error).partition("; give ")[2]
    raise AssertionError(f"{setting.name} takes any choice")


# ---- public names


def reference() -> str:
    """Every name of `greenhttp.__all__` but the version, as Markdown."""
    lines: list[str] = []
    for name in greenhttp.__all__:
        value = getattr(greenhttp, name)
        if not callable(value):
            continue
        lines += [f"## {name}", "", "```python", _signature(name, value), "```", "", *_prose(value), ""]
        if inspect.isclass(value):
            for call, member in _members(value):
                lines += _entry(call, _prose(member)) + [""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def _signature(name: str, value: Callable[..., object]) -> str:
    if not inspect.isclass(value):
        return _call(_source(value))
    if issubclass(value, Exception):
        return f"class {name}({', '.join(base.__name__ for base in value.__bases__)})"
    starts = [method for method in _methods(value) if method.name == "__init__"]
    return f"{name}({_arguments(starts[0])})" if starts else f"class {name}"


def _source(value: Callable[..., object]) -> ast.ClassDef | ast.FunctionDef:
    """Its definition: the last, since overloads come first."""
    path = ROOT / value.__module__.replace(".", "/")
    stub = path.with_suffix(".pyi")
    tree = ast.parse((stub if stub.exists() else path.with_suffix(".py")).read_text())
    found = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return [node for node in found if node.name == value.__name__][-1]


def _methods(value: type) -> list[ast.FunctionDef]:
    return [node for node in _source(value).body if isinstance(node, ast.FunctionDef)]


def _arguments(function: ast.FunctionDef) -> str:
    return re.sub(r"^(self|cls)(, )?", "", ast.unparse(function.args))


def _call(function: ast.FunctionDef) -> str:
    """How it is called. What it returns is said where the source says it."""
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"{function.name}({_arguments(function)}){returns}"


def _members(value: type) -> Iterator[tuple[str, object]]:
    """Public methods and properties that have a docstring, each with how it is called."""
    calls = {
        method.name: _call(method)
        for method in _methods(value)
        if not any("property" in ast.unparse(decorator) for decorator in method.decorator_list)
    }
    for name, member in vars(value).items():
        if isinstance(member, classmethod | staticmethod):
            member = getattr(value, name)  # before CPython 3.13 the wrapper's own docstring is that of classmethod
        if name.startswith("_") or name in getattr(value, "_fields", ()):  # those of a NamedTuple: in its own docstring
            continue
        if inspect.getdoc(member) and not issubclass(value, Exception):
            yield calls.get(name, name), member


def _entry(call: str, lines: list[str]) -> list[str]:
    """One of a list."""
    return [f"- `{call}`: {lines[0]}", *(f"  {line}".rstrip() for line in lines[1:])]


def _prose(value: object) -> list[str]:
    """The docstring; `Arguments:` and the like become lists, indented examples and decorators code."""
    lines: list[str] = []
    heading = ""
    code = False
    for line in (inspect.getdoc(value) or "").splitlines():
        code = line.startswith("@") or (code and bool(line))
        if code:
            lines.append(f"    {line}")
        elif re.fullmatch(r"(Arguments|Attributes|Raises):", line):
            heading = line
            lines += ["", f"**{line[:-1]}**", ""]
        elif heading and (entry := re.match(r"    ([\w, ]+): (.*)", line)):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif heading and line.startswith("     "):
            lines.append(f"  {line.strip()}")
        elif heading and line.startswith("    "):
            lines.append(f"- {line.strip()}")
        else:
            heading = ""
            lines.append(line)
    return lines


# ---- the pages

PAGES = {"settings": settings, "reference": reference}


def filled(page: str) -> str:
    """The text of docs/PAGE.md with the list as it is now."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    begin = BEGIN.format(page=page)
    if text.count(begin) != 1 or text.count(END) != 1:
        raise SystemExit(f"docs/{page}.md: the lines {begin!r} and {END!r} must be there once")
    before, after = text.split(begin)[0], text.split(END)[1]
    return f"{before}{begin}\n\n{PAGES[page]().strip()}\n\n{END}{after}"


def main(arguments: list[str]) -> int:
    stale = [page for page in PAGES if (ROOT / "docs" / f"{page}.md").read_text() != filled(page)]
    for page in stale:
        if arguments == ["--check"]:
            print(f"docs/{page}.md: its list is not that of the code; run {COMMAND}")
        else:
            (ROOT / "docs" / f"{page}.md").write_text(filled(page))
            print(f"docs/{page}.md: written")
    return 1 if stale and arguments == ["--check"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
