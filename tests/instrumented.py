"""The compiled modules built a second time, with other flags, in a copy of the tree: the ordinary build is not touched.

    tests/cover.py        build/coverage: with the C compiler's counters of lines
    tests/asan.py         build/asan: with gcc's sanitizers
    tests/fuzz/build.py   takes the flags of the sanitizers from here; clang and libFuzzer need a build of their own

The copy is a whole tree, so that tests run in it as they are and find their files beside them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
COPIED = ("greenhttp", "tests", "perf", "examples", ".ci", ".github")

SANITIZE = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-sanitize=pointer-overflow",  # Cython adds 0 to NULL where a call has no arguments; ASan sees the accesses
    "-fno-wrapv",  # Python's flags have -fwrapv, under which a signed overflow would not be reported
    "-fno-omit-frame-pointer",
)
ASAN_OPTIONS = (
    "detect_leaks=0",  # Python frees little of what it made at its start: every run would end in a report
    "detect_stack_use_after_return=0",  # false after greenlet has moved a stack
)


def made(path: Path) -> bool:
    """Whether a build made this file, or Python did. C beside a .pyx of its name is Cython's; other C is source."""
    if path.suffix == ".c":
        return path.with_suffix(".pyx").exists()
    return path.suffix in {".so", ".o", ".html", ".pyc"} or path.name == "__pycache__"


def copy_tree(root: Path, tree: Path) -> None:
    """Bring the copy up to date; times of change are kept, so that only what has changed is compiled again."""
    wanted = {path for path in root.iterdir() if path.is_file() and not path.name.startswith((".coverage", ".git"))}
    for top in COPIED:
        for folder, folders, names in os.walk(root / top):
            folders[:] = [name for name in folders if not made(Path(folder, name))]
            wanted |= {path for name in names if not made(path := Path(folder, name))}
    for path in wanted:
        copied = tree / path.relative_to(root)
        if not copied.exists() or copied.stat().st_mtime != path.stat().st_mtime:
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copied)
    for top in COPIED:  # what is no longer there must not be tested any more
        for copied in (tree / top).rglob("*"):
            if copied.is_file() and root / copied.relative_to(tree) not in wanted and not made(copied):
                copied.unlink()


def environment(tree: Path) -> dict[str, str]:
    """In which Python finds the copy first."""
    return {**os.environ, "PYTHONPATH": str(tree)}


def build(tree: Path, flags: Sequence[str]) -> None:
    """Copy, then compile and link with these flags what has changed, or everything where the flags have.

    subprocess.CalledProcessError where it cannot be compiled; the compiler has told why.
    """
    copy_tree(ROOT, tree)
    said, now = tree / "build" / "flags", " ".join(flags)
    anew = [] if said.exists() and said.read_text() == now else ["--force"]
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace", "--parallel", str(os.cpu_count())]
    subprocess.run([*command, *anew], cwd=tree, env={**environment(tree), "GREENHTTP_FLAGS": now}, check=True)
    said.write_text(now)
