"""The package's public names, and that importing it does nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import greenhttp
from greenhttp import errors

ELSEWHERE = {
    "Form": "greenhttp.http.form",
    "Headers": "greenhttp.http.request",
    "Request": "greenhttp.http.request",
    "Response": "greenhttp.hosting.handler",
    "Server": "greenhttp.server",
    "Stream": "greenhttp.green.stream",
    "Trace": "greenhttp.http.trace",
    "Upload": "greenhttp.http.form",
    "Values": "greenhttp.http.values",
    "connect": "greenhttp.green.transport",
    "offload": "greenhttp.offloading.offload",
    "offloaded": "greenhttp.offloading.offload",
    "serve": "greenhttp.program.running",
    "serve_stream": "greenhttp.program.running",
}

IMPORT = """
import os, sys, threading
before, descriptors = set(sys.modules), len(os.listdir("/dev/fd"))
import greenhttp
greenhttp.__version__, greenhttp.GreenError, dir(greenhttp)
new = set(sys.modules) - before
assert {m for m in new if m.startswith("greenhttp")} == {"greenhttp", "greenhttp.errors"}, new
assert not {m for m in new if m.split(".")[0] in ("gevent", "greenlet", "click", "socket", "ssl")}, new
assert threading.active_count() == 1
assert len(os.listdir("/dev/fd")) == descriptors
"""


def test_importing_the_package_loads_no_gevent_and_opens_nothing():
    subprocess.run([sys.executable, "-W", "error", "-c", IMPORT], check=True)


def test_the_names_are_these():
    assert greenhttp.__all__ == [
        "BodyError", "BodyTimeout", "ConfigError", "Form", "GreenError", "HTTPError", "Headers", "LineTooLong",
        "OffloadError", "OffloadTimeout", "Request", "RequestTimeout", "Response", "ResponseError", "Server", "Stream",
        "StreamClosed", "StreamTimeout", "StreamTruncated", "TLSError", "Trace", "Upload", "Values", "__version__",
        "connect", "offload", "offloaded", "serve", "serve_stream",
    ]  # fmt: skip
    assert set(greenhttp.__all__) <= set(dir(greenhttp))


@pytest.mark.parametrize("name", [name for name in greenhttp.__all__ if name not in ELSEWHERE])
def test_a_name_is_what_it_says(name):
    value = getattr(greenhttp, name)
    assert value is (greenhttp.__dict__["__version__"] if name == "__version__" else getattr(errors, name))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_name_of_another_module(name):
    assert getattr(greenhttp, name).__module__ == ELSEWHERE[name]


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = greenhttp.nothing
    with pytest.raises(ImportError):
        from greenhttp import nothing  # noqa: F401


def test_help_begins_with_what_a_user_needs():
    text = greenhttp.__doc__
    missing = [name for name in greenhttp.__all__ if not re.search(rf"\b{name}\b", text)]
    errors_but_the_root = {name for name in vars(errors) if not name.startswith("_")} - {"GreenError", "HTTPError"}
    assert set(missing) - errors_but_the_root == {"__version__"}
    assert set(re.findall(r"\b(docs/[\w-]+\.md|[A-Z]+\.md)\b", text)) == {"docs/first-steps.md", "ARCHITECTURE.md"}
    assert (Path(__file__).parent.parent / "docs" / "first-steps.md").exists()


PATCH = """
import sys
import greenhttp.patch
from gevent import monkey
import socket, time
assert monkey.is_module_patched("socket") and monkey.is_module_patched("threading")
assert not [m for m in sys.modules if m.startswith("greenhttp.")
            and m[10:] not in ("patch", "errors", "green", "green.loop", "green.nap", "green.running_loop")]
first = socket.socket
del sys.modules["greenhttp.patch"]
import greenhttp.patch
assert socket.socket is first
"""

PATCHED_BY_HAND = """
from gevent import monkey
monkey.patch_all(subprocess=False)
import greenhttp.patch
assert not monkey.is_module_patched("subprocess")
"""


@pytest.mark.parametrize("code", [PATCH, PATCHED_BY_HAND])
def test_patch_patches_once_and_loads_nothing_else(code):
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_free_threaded_python_is_refused_in_one_line():
    script = "import sys; sys.abiflags = 't'; import greenhttp"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: greenhttp does not run on the free-threaded build of Python" in done.stderr.splitlines()[-1]
