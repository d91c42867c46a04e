"""Every example has a test and a line in the list, says how it is run, and is as short as it says."""

import ast
import re
from pathlib import Path

import pytest

from tests.examples.example import EXAMPLES

NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_tested_and_explained(name):
    assert (Path(__file__).parent / f"test_{name}.py").exists()
    text = (EXAMPLES / f"{name}.py").read_text()
    says = ast.get_docstring(ast.parse(text))
    assert re.search(rf"python {name}\.py|greenhttp {name}:", says)


def test_the_list_of_examples_is_complete():
    listed = re.findall(r"^\| \[(\w+)\.py\]\(\1\.py\) \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == NAMES
