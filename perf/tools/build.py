"""Compiles the floor (C) and the Go peer into perf/build/, once, and again when their source is newer."""

import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent.parent
BUILD = HERE / "build"


def _fresh(target: Path, source: Path) -> bool:
    return target.exists() and target.stat().st_mtime >= source.stat().st_mtime


def _compile(source: Path, target: Path, command: list[str], **environment: str) -> Path:
    if not _fresh(target, source):
        BUILD.mkdir(exist_ok=True)
        subprocess.run(command, check=True, env={**os.environ, **environment})
    return target


def floor() -> Path:
    source, target = HERE / "floor.c", BUILD / "floor"
    return _compile(source, target, ["cc", "-O2", "-Wall", "-o", str(target), str(source)])


def go_hello() -> Path:
    source, target = HERE / "start" / "hello.go", BUILD / "go-hello"
    cache = str(BUILD / "go-cache")
    return _compile(source, target, ["go", "build", "-o", str(target), str(source)], GOCACHE=cache, GO111MODULE="off")


def missing_compiler(name: str, package: str) -> str | None:
    return None if shutil.which(name) else f"install the Debian package `{package}`"
