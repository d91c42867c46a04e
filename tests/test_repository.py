"""What is written in two places because two tools insist, and lists that must match the tree."""

import ast
import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

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


def test_the_source_distribution_has_everything_that_is_under_version_control(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    git = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    tracked = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    copy = tmp_path / "copy"
    for name in filter(None, tracked):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():  # else it is being deleted
            shutil.copy(ROOT / name, copy / name)
    making = [sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", tmp_path / "dist"]
    subprocess.run(making, cwd=copy, check=True, capture_output=True, env={**os.environ, "GREENHTTP_ONLY": "none"})
    (packed,) = (tmp_path / "dist").iterdir()
    with tarfile.open(packed) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    there = {name for name in tracked if name and (ROOT / name).exists()}
    assert {name for name in there - inside if not name.startswith(".git")} == set()


def test_every_package_has_a_map_at_its_door():
    for door in (ROOT / "greenhttp").rglob("__init__.py"):
        text = ast.get_docstring(ast.parse(door.read_text()))
        assert text and 4 <= len(text.splitlines()) <= 25, door


def test_the_map_in_architecture_names_every_package_and_module():
    block = re.search(r"The map of the packages.*?\n\n(.*?)\n\n", (ROOT / "ARCHITECTURE.md").read_text(), re.DOTALL)
    named = [name.strip() for line in block[1].splitlines() for name in line[4:24].split(",")]
    house = ROOT / "greenhttp"
    there = [f"{path.name}/" for path in house.iterdir() if (path / "__init__.py").exists()]
    there += [path.stem for path in house.glob("*.py") if path.stem != "__init__"]
    assert sorted(named) == sorted(there)


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


# ---- what only the tests need


def extras():
    spec = importlib.util.spec_from_file_location("extras", ROOT / ".ci" / "extras.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_serving_needs_none_of_the_packages_of_the_tests():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    serving = {re.match(r"[\w.-]+", line)[0] for line in config["options"]["install_requires"].split("\n") if line}
    assert serving == {"gevent", "greenlet", "click", "tomli"}


def test_the_extra_of_the_tests_is_read_with_those_it_refers_to():
    names = {extras().name_of(line) for line in extras().requirements(["test"])}
    assert {"pytest", "sphinx", "django"} <= names
    assert names >= extras().NEEDED
    assert extras().requirements(["docs"]) == ["furo", "myst-parser>=4", "sphinx>=8"]


def test_a_package_that_cannot_be_had_is_named_and_the_rest_is_installed(monkeypatch, capsys):
    module, asked = extras(), []

    def install(lines, quiet):
        asked.append(lines)
        return "Building\nerror: no compiler\nbye" if any(line.startswith("pyuwsgi") for line in lines) else ""

    monkeypatch.setattr(module, "install", install)
    monkeypatch.delenv("REQUIRE_SERVICES", raising=False)
    assert module.main(["test"]) == 0
    assert [line for [line] in asked[1:]] == module.requirements(["test"])
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "cannot be had" in line]
    assert said.startswith("extras: pyuwsgi cannot be had for Python ") and said.endswith("(error: no compiler)")
    monkeypatch.setenv("REQUIRE_SERVICES", "1")
    assert module.main(["test"]) == 1
    monkeypatch.setattr(module, "NEEDED", {"pyuwsgi"})
    monkeypatch.delenv("REQUIRE_SERVICES")
    assert module.main(["test"]) == 1


# ---- make test-all


def interpreter(path, answer):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)


def listed(tmp_path, path):
    environ = {"PATH": os.pathsep.join(map(str, path)), "PYENV_ROOT": str(tmp_path / "pyenv"), "HOME": str(tmp_path)}
    script = ROOT / ".ci" / "versions.py"
    done = subprocess.run([sys.executable, script, "--list"], env=environ, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, [line.split(maxsplit=1) for line in done.stdout.splitlines()]


def test_interpreters_are_found_on_the_path_and_at_pyenvs(tmp_path):
    interpreter(tmp_path / "bin" / "python3.12", "echo 3.12")
    interpreter(tmp_path / "bin" / "python3.13", "echo 'pyenv: not set' >&2; exit 127")  # a shim of pyenv's
    interpreter(tmp_path / "bin" / "python3.10", "true")  # not CPython
    for version in ("3.12.9", "3.13.2", "3.13.11", "3.9.1"):
        minor = ".".join(version.split(".")[:2])
        interpreter(tmp_path / "pyenv" / "versions" / version / "bin" / f"python{minor}", f"echo {minor}")
    assert listed(tmp_path, [tmp_path / "bin", tmp_path / "absent"]) == (0, [
        ["3.12", f"{tmp_path}/bin/python3.12"],
        ["3.13", f"{tmp_path}/pyenv/versions/3.13.11/bin/python3.13"],
        ["not", "found: 3.10, 3.11, 3.14, 3.15"],
    ])  # fmt: skip


def test_no_interpreter_at_all_is_a_failure(tmp_path):
    assert listed(tmp_path, [tmp_path]) == (1, [["not", "found: 3.10, 3.11, 3.12, 3.13, 3.14, 3.15"]])


# ---- continuous integration


def workflows():
    return {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}


def test_the_workflows_use_actions_of_a_stated_version_and_files_that_are_there():
    found = workflows()
    assert set(found) == {"tests.yml", "wheels.yml"}
    for workflow in found.values():
        assert workflow["permissions"] == {"contents": "read"}  # more only for one job
        for job in workflow["jobs"].values():
            assert set(job.get("needs", [])) <= set(workflow["jobs"])
            for step in job["steps"]:
                assert ("uses" in step) != ("run" in step)
                assert re.search(r"@(release/)?v\d+(\.\d+)*$", step.get("uses", "@v1"))
                for name in re.findall(r"\.ci/\w+(?:\.py)?", step.get("run", "")):
                    assert (ROOT / name).exists()


def test_every_version_of_python_is_tested_and_has_wheels():
    versions = re.search(r"^VERSIONS = (.*)$", (ROOT / ".ci" / "versions.py").read_text(), re.MULTILINE)
    versions = list(ast.literal_eval(versions[1]))
    assert workflows()["tests.yml"]["jobs"]["test"]["strategy"]["matrix"]["python"] == versions
    wheels = re.search(r'^build = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert wheels[1].split() == [f"cp{version.replace('.', '')}-*" for version in versions]
