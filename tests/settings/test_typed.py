"""settings/typed.py: it is what the table says, and what the types allow the parsers take."""

from __future__ import annotations

import subprocess
import sys

import pytest

from greenhttp.settings import typed as written
from greenhttp.settings.kinds import KINDS
from greenhttp.settings.table import OF_THE_COMMAND, SETTINGS
from tests.settings import typed

SAMPLES = {
    "duration": [1, 1.5, "1s"],
    "size": [1, "1k"],
    "rate": [1, "1/s"],
    "count": [1, "1"],
    "bool": [True, "yes"],
    "text": ["a"],
    "path": ["a"],
    "choice": ["a"],
    "word": ["a", 1, 1.2],
    "file": ["a", True, False, None],
    "header": ["a", True, False, None],
    "target": ["/a", False, None],
    "prefix": ["/a", False, None],
    "optional": ["a", 1, False, None],
    "field": ["a", False, None],
    "workers": [1, "auto"],
    "mode": ["660", 0o660, False, None],
    "names": ["a, b", ["a"], ("a",), {"a"}, frozenset("a"), ()],
    "addresses": ["a, b", ["a"], ("a",), {"a"}, frozenset("a")],
    "paths": ["a, b", ["a"], ("a",), [], False, None],
    "secret": ["a", False, None],
    "pairs": ["a=b", ["a=b"], ("a=b",), {"a=b"}, {"a": "b"}, {}],
    "json": ["", "{}", {"a": 1}],
    "fields": ["a=b", ["a=b"], ("a=b",), {"a=b"}, {"a": "b"}, False, None],
}


def test_the_file_is_what_the_table_says() -> None:
    assert typed.PATH.read_text() == typed.text(), "run python -m tests.settings.typed"


def test_every_setting_but_those_of_the_command_is_there_once() -> None:
    names = {setting.name for setting in SETTINGS}
    assert set(written.ServerSettings.__annotations__) == names - OF_THE_COMMAND
    for_serve = set(written.ServeSettings.__annotations__)
    assert names - OF_THE_COMMAND - for_serve == {"bind", "patch", "workers", "timeout"}
    assert for_serve - set(written.StreamSettings.__annotations__) == {"interface"}


def test_types_cost_no_dependency() -> None:
    code = "import sys; sys.modules['typing_extensions'] = None; import greenhttp.testing, greenhttp.cli, greenhttp;"
    code += "greenhttp.serve, greenhttp.Server, greenhttp.Form; import greenhttp.settings.typed"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_parsers_take_what_the_types_allow(kind: str) -> None:
    for value in SAMPLES[kind]:
        KINDS[kind](value)
