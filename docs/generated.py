"""What the guide takes from the code: the settings, and the public names with their signatures and docstrings.

Signatures come from the stubs (`.pyi`) where a module is compiled, since compiled classes have none at run time;
docstrings come from the modules themselves.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import greenhttp
from greenhttp.settings.kinds import LISTS
from greenhttp.settings.table import SETTINGS, Setting

ROOT = Path(greenhttp.__file__).parent.parent

WORDS = {"count": "a whole number", "bool": "yes or no", "file": "a file's name, - or off", "header": "a text or off",
         "target": "a path or off", "optional": "a text or off", "workers": "a whole number, or auto",
         "mode": "octal digits or off"}  # fmt: skip


# ---- settings


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
    default = setting.typed(setting.parse(setting.default)) if setting.default is not None else "derived, see above"
    if isinstance(default, bool):
        default = "yes" if default else "no"
    elif isinstance(default, list):
        default = ", ".join(default) or "none"
    unit = f", in {setting.unit}" if setting.unit else ""
    value = WORDS.get(setting.kind, "texts" if setting.kind in LISTS else f"a {setting.kind}")
    flags = [f"`{flag}`" for flag in setting.flags]
    flags += [f"`--no-{setting.flag[2:]}`"] if setting.kind == "bool" else [f"`{flag}`" for flag, _ in setting.switches]
    yield f"- Default: `{default}`. Takes {value}{unit}."
    yield f"- Command line: {', '.join(flags)}. Environment: `{setting.variable}`. File and Python: `{setting.name}`."


# ---- public names


def reference() -> str:
    """Every name of `greenhttp.__all__` but the version, as Markdown."""
    lines: list[str] = []
    for name in greenhttp.__all__:
        value = getattr(greenhttp, name)
        if not callable(value):
            continue
        lines += [f"## {name}", "", "```python", *_signature(name, value), "```", "", *_prose(value), ""]
        if inspect.isclass(value):
            for member, text in _members(value):
                lines += [f"`{member}`", "", *text, ""]
    return "\n".join(lines)


def _signature(name: str, value: Callable[..., object]) -> list[str]:
    bases = ""
    if inspect.isclass(value):
        if issubclass(value, Exception):
            bases = ", ".join(base.__name__ for base in value.__bases__)
            return [f"class {name}({bases})"]
        stub = _stub(value)
        starts = [n for n in stub.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"] if stub else []
        if starts:
            return [f"{name}({_without_self(starts[0].args)})"]
        if stub:
            return [f"class {name}"]
    return [f"{name}{inspect.signature(value)}"]


def _stub(value: type) -> ast.ClassDef | None:
    path = (ROOT / value.__module__.replace(".", "/")).with_suffix(".pyi")
    if not path.exists():
        return None
    tree = ast.parse(path.read_text())
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == value.__name__)


def _without_self(arguments: ast.arguments) -> str:
    return re.sub(r"^self(, )?", "", ast.unparse(arguments))


def _members(value: type) -> Iterator[tuple[str, list[str]]]:
    """Public methods and properties that have a docstring, each with how it is called."""
    stub = _stub(value)
    signatures = {
        node.name: f"{node.name}({_without_self(node.args)})"
        for node in (stub.body if stub else ())
        if isinstance(node, ast.FunctionDef) and not any("property" in ast.unparse(d) for d in node.decorator_list)
    }
    for name, member in vars(value).items():
        text = inspect.getdoc(member)
        if name.startswith("_") or not text or issubclass(value, Exception):
            continue
        if not stub and inspect.isfunction(member):
            signatures[name] = f"{name}{inspect.signature(member)}".replace("(self, ", "(").replace("(self)", "()")
        yield signatures.get(name, name), _indented(_prose(member))


def _indented(lines: list[str]) -> list[str]:
    return [f": {line}" if number == 0 else f"  {line}".rstrip() for number, line in enumerate(lines)]


def _prose(value: object) -> list[str]:
    """The docstring; `Arguments:` and the like become lists, indented examples code."""
    lines: list[str] = []
    heading = ""
    for line in (inspect.getdoc(value) or "").splitlines():
        if re.fullmatch(r"(Arguments|Attributes|Raises):", line):
            heading = line
            lines += ["", f"**{line[:-1]}**", ""]
        elif heading and (entry := re.match(r"    ([\w, ]+): (.*)", line)):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif heading and line.startswith("     "):
            lines.append(f"  {line.strip()}")
        else:
            heading = heading if line.startswith("    ") else ""
            lines.append(line)
    return lines


PAGES = {"settings": settings, "reference": reference}
