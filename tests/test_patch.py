"""patch.py in processes of its own: what came too early is named, once, and gevent says nothing on top."""

import subprocess
import sys

import pytest

MODULE = """
import sys, types
def early(name, code):
    module = sys.modules[name] = types.ModuleType(name)
    exec(code, vars(module))
"""


def run(code, *options):
    program = [sys.executable, "-W", "error", *options, "-c", MODULE + code]
    return subprocess.run(program, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "code",
    [
        "from socket import socket",
        "from time import sleep as wait",
        "from ssl import SSLContext",
        "import ssl\nclass Context(ssl.SSLContext): pass",
        "import ssl\ncontext = ssl.create_default_context()",
        "from threading import Lock",
        "import threading\nlock = threading.RLock()",
        "import threading\nlock = threading.Lock()",
        "from threading import local\nclass Mine(local): pass",
        "from select import poll",
        "from subprocess import Popen",
        "from os import fork",
        "from queue import SimpleQueue",
    ],
)
def test_a_module_that_holds_on_to_what_blocks_is_named(code):
    done = run(f"early('bird.nest', {code!r})\nimport greenhttp.patch\nassert greenhttp.patch.early == ('bird',)")
    assert (done.returncode, done.stderr) == (
        0,
        "greenhttp.patch: imported too early: bird; they keep blocking calls."
        ' Make "import greenhttp.patch" the first line\n',
    )


@pytest.mark.parametrize(
    "code",
    [
        "import socket, ssl, threading, time, select, subprocess, os, queue",  # used through the module: replaced there
        "from socket import AF_INET, timeout\nfrom subprocess import PIPE\nfrom os import path\nfrom time import time",
        "from logging import getLogger\nlog = getLogger('bird')",
        "from threading import RLock",  # makes whatever kind there is when it is called
    ],
)
def test_what_is_harmless_is_not_named(code):
    done = run(f"early('bird', {code!r})\nimport greenhttp.patch\nassert greenhttp.patch.early == ()")
    assert (done.returncode, done.stderr) == (0, "")


def test_several_are_one_line_and_the_script_is_named_by_its_file(tmp_path):
    (tmp_path / "script.py").write_text("from time import sleep\nimport requests\nimport greenhttp.patch\n")
    done = subprocess.run(
        [sys.executable, "-W", "error", tmp_path / "script.py"], capture_output=True, text=True, check=True
    )
    assert done.stderr.count("\n") == 1
    assert "requests" in done.stderr and "urllib3" in done.stderr and str(tmp_path / "script.py") in done.stderr


def test_nothing_is_early_in_a_process_that_starts_with_it():
    done = run("import greenhttp.patch\nimport requests\nassert greenhttp.patch.early == ()")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_that_is_patched_already_is_left_alone():
    done = run(
        "early('bird', 'from time import sleep')\nfrom gevent import monkey\nmonkey.patch_all()\n"
        "import greenhttp.patch\nassert greenhttp.patch.early == ()"
    )
    assert (done.returncode, done.stderr) == (0, "")
