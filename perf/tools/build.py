"""Makes in perf/build/ what the repository does not hold. Compiled once, and again when their source is newer: the
floor and what is added to wrk (C), the Go peer. For each run: a certificate, and nginx's configuration."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

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


def fresh() -> Path:
    """What keeps wrk from resuming sessions: see perf/wrk/fresh.c."""
    source, target = HERE / "wrk" / "fresh.c", BUILD / "fresh.so"
    return _compile(source, target, ["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(target), str(source), "-ldl"])


class Pair(NamedTuple):
    certfile: Path
    keyfile: Path


@cache
def certificate() -> Pair:
    """That of this run."""
    BUILD.mkdir(exist_ok=True)
    return make_certificate(BUILD)


def make_certificate(directory: Path) -> Pair:
    """A new P-256 certificate, signed by itself. The key is PKCS #8 (granian reads no other form)."""
    pair = Pair(directory / "certificate.pem", directory / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-out", str(pair.certfile), "-keyout", str(pair.keyfile)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return pair


def nginx_configuration(port: int) -> Path:
    """perf/start/nginx.conf for that port and this run's certificate."""
    pair, target = certificate(), BUILD / "nginx.conf"
    text = (HERE / "start" / "nginx.conf").read_text()
    values = {"directory": BUILD, "port": port, **{name: path for name, path in pair._asdict().items()}}
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    target.write_text(text)
    return target


def missing_program(name: str, package: str) -> str | None:
    return None if shutil.which(name) else f"install the Debian package `{package}`"
