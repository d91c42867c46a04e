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
                texts.append(re.sub(r"%[-.\d]*[sdf]|\{\}", "...", node.value))
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
