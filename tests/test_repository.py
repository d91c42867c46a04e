"""What is written in two places because two tools insist, and lists that must match the tree."""

import ast
import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import greenhttp

ROOT = Path(__file__).parent.parent


def hot() -> list[str]:
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "HOT":
            return ast.literal_eval(node.value)
    raise AssertionError("setup.py has no HOT")


def test_setup_builds_exactly_the_compiled_modules_of_the_tree():
    there = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "greenhttp").rglob("*.pyx")}
    assert sorted(hot()) == sorted(there)
    assert len(hot()) == len(set(hot()))


def test_every_compiled_module_has_a_micro_benchmark():
    for name in hot():
        path = ROOT / "perf" / "micro" / ("_".join(name.split(".")[1:]) + ".py")
        functions = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
        assert "run" in functions, path


def test_the_build_requirements_in_the_makefile_are_those_of_pyproject():
    required = re.search(r"^requires = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    for requirement in ast.literal_eval(required[1]):
        assert f"'{requirement}'" in makefile


def test_the_version_is_said_once():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["metadata"]["version"] == "attr: greenhttp.__version__"
    assert f"## {greenhttp.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_package_has_a_map_at_its_door():
    for door in (ROOT / "greenhttp").rglob("__init__.py"):
        text = ast.get_docstring(ast.parse(door.read_text()))
        assert text and 4 <= len(text.splitlines()) <= 25, door


def test_the_scripts_are_well_formed():
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)


make = pytest.mark.skipif(not shutil.which("make"), reason="no make")


def tools(**variables):
    arguments = [f"{name}={value}" for name, value in variables.items()]
    return subprocess.run(["make", "-s", "tools", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@make
def test_make_finds_the_tools_that_are_there():
    done = tools(PYTHON=sys.executable)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@make
def test_make_says_in_one_line_each_what_is_missing(tmp_path):
    python = tmp_path / "python"  # an interpreter of the right age that lacks everything else
    python.write_text('#!/bin/sh\ncase "$2" in *version_info*) exit 0;; *) exit 1;; esac\n')
    python.chmod(0o755)
    done = tools(PYTHON=python, CC=tmp_path / "cc")
    assert done.returncode
    lines = [line for line in done.stderr.splitlines() if "***" not in line]
    assert [re.search("venv is missing|Python.h is missing|no working C compiler", line)[0] for line in lines] == [
        "venv is missing", "Python.h is missing", "no working C compiler",
    ]  # fmt: skip
    assert all("apt-get install" in line for line in lines)


@make
def test_make_says_that_the_interpreter_is_too_old_or_not_there(tmp_path):
    done = tools(PYTHON=tmp_path / "python")
    assert done.returncode
    assert done.stderr.splitlines()[0].startswith("make: Python 3.10 or newer is needed")
