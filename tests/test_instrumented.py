"""tests/instrumented.py: the copy in which the compiled modules are built a second time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import instrumented
from tests.instrumented import build, copy_tree, environment


def test_the_copy_follows_the_tree_and_copies_only_what_has_changed(tmp_path: Path) -> None:
    root, tree = tmp_path / "root", tmp_path / "tree"
    (root / "greenhttp").mkdir(parents=True)
    for name in ("greenhttp/a.pyx", "greenhttp/b.py", "greenhttp/a.so", "setup.py"):
        (root / name).write_text(name)
    copy_tree(root, tree)
    files = sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())
    assert files == ["greenhttp/a.pyx", "greenhttp/b.py", "setup.py"]
    built = tree / "greenhttp" / "a.c"
    for path in (built, tree / "greenhttp" / "a.pyx"):
        path.write_text("kept")
    os.utime(tree / "greenhttp" / "a.pyx", (then := (root / "greenhttp" / "a.pyx").stat().st_mtime, then))
    (root / "greenhttp" / "b.py").unlink()
    (root / "setup.py").write_text("changed")
    os.utime(root / "setup.py", (then + 10, then + 10))
    copy_tree(root, tree)
    assert not (tree / "greenhttp" / "b.py").exists()
    assert (built.read_text(), (tree / "greenhttp" / "a.pyx").read_text()) == ("kept", "kept")
    assert (tree / "setup.py").read_text() == "changed"


def test_c_is_copied_unless_cython_made_it(tmp_path: Path) -> None:
    root, tree = tmp_path / "root", tmp_path / "tree"
    (root / "tests").mkdir(parents=True)
    for name in ("world.c", "targets.pyx", "targets.c", "targets.so"):
        (root / "tests" / name).write_text(name)
    copy_tree(root, tree)
    assert sorted(path.name for path in (tree / "tests").iterdir()) == ["targets.pyx", "world.c"]
    (tree / "tests" / "targets.c").write_text("made there")
    (root / "tests" / "world.c").unlink()
    copy_tree(root, tree)
    assert sorted(path.name for path in (tree / "tests").iterdir()) == ["targets.c", "targets.pyx"]


def test_other_flags_build_everything_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[list[str], str]] = []

    def run(command: list[str], cwd: Path, env: dict[str, str], check: bool) -> None:
        assert (cwd, env["PYTHONPATH"], check) == (tmp_path, environment(tmp_path)["PYTHONPATH"], True)
        (tmp_path / "build").mkdir(exist_ok=True)
        ran.append((command[-1:], env["GREENHTTP_FLAGS"]))

    monkeypatch.setattr(instrumented, "copy_tree", lambda root, tree: None)
    monkeypatch.setattr(subprocess, "run", run)
    for flags in (("-O1", "-g"), ("-O1", "-g"), ("-O1",)):
        build(tmp_path, flags)
    forced = [last == ["--force"] for last, _ in ran]
    assert (forced, [flags for _, flags in ran]) == ([True, False, True], ["-O1 -g", "-O1 -g", "-O1"])
