"""Compile greenhttp and the fuzzer with clang and its sanitizers into build/fuzz; the ordinary build is not touched.

    build/fuzz/lib/greenhttp    the package: its .py files copied, its compiled modules instrumented
    build/fuzz/lib/fuzz_targets targets.pyx
    build/fuzz/fuzzer           libFuzzer's main with Python inside

Only what has changed is compiled again.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from distutils.core import run_setup  # setuptools provides it
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension

from tests.instrumented import ROOT, SANITIZE

HERE = Path(__file__).parent
BUILD = ROOT / "build" / "fuzz"
LIB = BUILD / "lib"
FUZZER = BUILD / "fuzzer"

# Coverage of our functions only: libFuzzer looks at every counter after every execution, and nine in ten of those in a
# compiled module belong to what Cython adds to it. No tracing of comparisons in wire: a quarter of the time there, and
# what it would find, http.dict knows.
OURS = f"-fsanitize-coverage-allowlist={HERE / 'coverage.txt'}"
EDGES = ["-fsanitize-coverage=inline-8bit-counters,pc-table", OURS]
EDGES_AND_COMPARISONS = ["-fsanitize=fuzzer-no-link", OURS]
# greenlet moves pieces of the stack by memcpy, out of which the guards around variables on it would make false reports.
# No function of wire is on a stack that is moved, so there they stay.
NO_STACK_GUARDS = ["-mllvm", "-asan-stack=0"]
NO_FRAMES = ["-DPyFrame_New=fuzz_no_frame"]  # see fuzzer.c


def build() -> Path:
    """Bring everything up to date; returns the program."""
    LIB.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)  # setup.py names its files from there
    for path in (ROOT / "greenhttp").rglob("*.py"):
        there = LIB / path.relative_to(ROOT)
        if stale(there, [path]):
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, there)
    modules = run_setup("setup.py", ["--quiet"], stop_after="init").ext_modules
    (targets,) = cythonize(
        [Extension("fuzz_targets", [str((HERE / "targets.pyx").relative_to(ROOT))])],
        build_dir=str((BUILD / "c").relative_to(ROOT)), language_level=3, quiet=True,
        compiler_directives={"boundscheck": False, "wraparound": False},
    )  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compile_module, [*modules, targets]))
        pool.submit(link).result()
    return FUZZER


def compile_module(module: Extension) -> None:
    extra = NO_STACK_GUARDS
    if module.name.startswith("greenhttp.wire."):
        extra = [*EDGES, *NO_FRAMES]
    elif module.name.startswith("greenhttp."):
        extra = [*EDGES_AND_COMPARISONS, *NO_STACK_GUARDS]
    target = LIB.joinpath(*module.name.split(".")).with_suffix(".so")
    includes = [f"-I{path}" for path in [sysconfig.get_path("include"), *module.include_dirs]]
    clang(target, module.sources, ["-shared", "-fPIC", "-w", *SANITIZE, *extra, *includes])


def link() -> None:
    """libFuzzer's main: Python's library is the ordinary one, not instrumented."""
    library = sysconfig.get_config_var("LDLIBRARY").removeprefix("lib").partition(".so")[0].removesuffix(".a")
    where, static = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LIBPL")
    libraries = shlex.split(" ".join(sysconfig.get_config_var(name) or "" for name in ("LIBS", "SYSLIBS")))
    clang(FUZZER, [str(HERE / "fuzzer.c")], [
        "-fsanitize=fuzzer,address,undefined", *NO_STACK_GUARDS, "-rdynamic", f"-I{sysconfig.get_path('include')}",
        f"-L{where}", f"-L{static}", f"-Wl,-rpath,{where}", f"-l{library}", *libraries,
    ])  # fmt: skip


def clang(target: Path, sources: list[str], options: list[str]) -> None:
    command = [os.environ.get("CLANG", "clang"), "-g", "-O2", "-o", str(target), *sources, *options]
    said = target.with_suffix(".command")
    if said.exists() and said.read_text() == shlex.join(command) and not stale(target, map(Path, sources)):
        return
    subprocess.run(command, check=True)
    said.write_text(shlex.join(command))
    print(f"built {target.relative_to(ROOT)}", file=sys.stderr)


def stale(target: Path, sources: Iterable[Path]) -> bool:
    return not target.exists() or any(path.stat().st_mtime > target.stat().st_mtime for path in sources)
