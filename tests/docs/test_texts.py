"""What the pages say in passing: options, settings and messages are those of the program."""

import ast
import re

import pytest

from greenhttp.cli import command
from greenhttp.settings.table import BY_NAME
from tests.docs.session import ROOT

# Pages in which options of other programs have a place.
FOREIGN = ("moving-from-", "deploy", "front", "more-than-", "install")
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if not page.stem.startswith(FOREIGN)]
TABLE = ROOT / "docs" / "messages.md"


def inline(page):
    """What stands between two backticks in a line, fenced blocks left out."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_are_those_of_the_command(page):
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    named = {word for code in inline(page) for word in re.findall(r"(?<![\w-])--[a-z][\w-]*", code)}
    assert named <= known | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_settings_are_those_of_the_table(page):
    """Whatever looks like a setting is one: a word that ends as settings do."""
    looks = re.compile(r"(?:limit_\w+|\w+_timeout|max_\w+|\w+_min_rate)")
    named = {code for code in inline(page) if looks.fullmatch(code)}
    assert named <= set(BY_NAME)


def said():
    """Every text of the program, with `...` where it puts something in."""
    texts = []
    for path in (ROOT / "greenhttp").rglob("*.pyx"):
        texts += re.findall(r'"((?:[^"\\\n]|\\.)*)"', path.read_text())
    texts = [re.sub(r"\{[^{}]*\}", "...", text) for text in texts]
    for path in (ROOT / "greenhttp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "..." for part in node.values]
                texts.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"%[-.\d]*[sdfg]|\{\}", "...", node.value))
    return "\n".join(texts)


def unknown(messages):
    """Those that the program cannot say: a message is a part of one of its texts."""
    texts = said()
    return [message for message in messages if message.rstrip(". ") not in texts]


def test_messages_are_those_of_the_program():
    messages = re.findall(r"^\| `([^`]+ [^`]+)` \|", TABLE.read_text(), re.MULTILINE)
    assert len(messages) >= 10
    assert unknown(messages) == []
    assert unknown(["the hub is blocked for ... minutes at ..."]) != []


# ---- and all that the program says stands in the table

LOGGING = ("info", "warning", "error", "critical", "exception")
TELLING = ("announce", "cry", "keep", "_say", "report", "_report", "noise")
PASSED_ON = re.compile(r"[\s.:,;()]*")  # a text of others, such as an error's
DOORS = "doors"  # what they log is gunicorn's, or gevent's
PYX = re.compile(r"""(?:report|noise)\(\s*"\w+",\s*((?:f?"(?:[^"\\\n]|\\.)*"\s*)+)""")


def logged(path):
    """What a module logs, with `...` where it puts something in."""
    if path.suffix == ".pyx":
        for texts in PYX.findall(path.read_text()):
            joined = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', texts))
            yield re.sub(r"\{[^{}]*\}", "...", joined)
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        if name in LOGGING and ast.unparse(called).startswith("log.") and node.args:
            yield from texts_of(node.args[0])
        elif name in TELLING:
            yield from (text for argument in node.args for text in texts_of(argument) if " " in text)


def texts_of(node):
    if isinstance(node, ast.IfExp):
        yield from texts_of(node.body)
        yield from texts_of(node.orelse)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield re.sub(r"%[-.\d]*[sdfg]", "...", node.value)


def rows():
    """The messages of the tables, as patterns that a text of the program may be a part of, or have as a part."""
    return re.findall(r"^\| `([^`]+)` \|", TABLE.read_text(), re.MULTILINE)


def stands(text, table):
    """Whether a row is about that text: what is fixed in the one is in the other, in that order."""
    return any(_within(row, text) or _within(text, row) for row in table)


def _within(inner, outer):
    parts = [re.escape(part.strip(" .:;,()")) for part in inner.split("...") if part.strip(" .:;,()")]
    return bool(parts) and re.search(".*".join(parts), outer, re.DOTALL) is not None


def test_every_message_of_the_program_is_explained():
    table = rows()
    missing = []
    for path in sorted([*(ROOT / "greenhttp").rglob("*.py"), *(ROOT / "greenhttp").rglob("*.pyx")]):
        if DOORS not in path.parts:
            texts = (text.partition("\n")[0] for text in logged(path))
            missing += [(path.name, t) for t in texts if not PASSED_ON.fullmatch(t) and not stands(t, table)]
    assert missing == []


def test_a_message_that_is_not_explained_is_found():
    assert not stands("a line that nobody has written down", rows())
    assert not stands("worker ... has a cold", rows())
