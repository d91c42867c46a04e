"""patch.py in processes of its own: what came too early is named, once, and gevent says nothing on top."""

import os
import subprocess
import sys

import pytest

MODULE = """
import sys, types
def early(name, code):
    module = sys.modules[name] = types.ModuleType(name)
    exec(code, vars(module))
"""

HOLDING = [
    "from socket import socket",
    "from time import sleep as wait",
    "from ssl import SSLContext",
    "import ssl\nclass Context(ssl.SSLContext): pass",
    "import ssl\ncontext = ssl.create_default_context()",
    "from threading import Lock",
    "import threading\nlock = threading.Lock()",
    "import threading\nlock = threading.RLock()",
    "from select import poll",
    "from subprocess import Popen",
    "from os import fork",
    "from queue import SimpleQueue",
]

HARMLESS = [
    "import socket, ssl, threading, time, select, subprocess, os, queue",  # used through the module: replaced there
    "from socket import AF_INET, timeout\nfrom subprocess import PIPE\nfrom os import path\nfrom time import time",
    "from threading import local\nclass Mine(local): pass\nmine = Mine()",  # makes nobody wait
    "from threading import RLock",  # makes whatever kind there is when it is called
    "from logging import getLogger\nlog = getLogger('bird')",
]


def run(code):
    program = [sys.executable, "-W", "error", "-c", MODULE + code]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_modules_that_hold_on_to_what_blocks_are_named_once_and_others_are_not():
    modules = [*((f"nest{n:02}", code) for n, code in enumerate(HOLDING)),
               *((f"tree{n:02}", code) for n, code in enumerate(HARMLESS))]  # fmt: skip
    names = [name for name, _ in modules if name.startswith("nest")]
    done = run(
        "".join(f"early({name + '.inner'!r}, {code!r})\n" for name, code in modules)
        + f"import greenhttp.patch\nassert greenhttp.patch.early == {tuple(names)!r}, greenhttp.patch.early\n"
        "import importlib; importlib.reload(greenhttp.patch)"
    )
    said = f"imported before the patch: {', '.join(names)}; their calls block."
    assert done.stderr == f'greenhttp.patch: {said} Make "import greenhttp.patch" the first line\n'
    assert done.returncode == 0


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


def test_ctrl_c_while_patching_comes_when_all_is_patched():
    """In the middle it would leave `threading` with locks of two kinds, and the process waiting at its end."""
    code = """
import os, signal
from gevent import monkey
plain = monkey.patch_all
def patch_all():
    os.kill(os.getpid(), signal.SIGINT)
    plain()
monkey.patch_all = patch_all
try:
    import greenhttp.patch
except KeyboardInterrupt:
    print(monkey.is_module_patched("threading"), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""
    restore = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", restore + code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "True set()\n"


def test_what_gevents_libuv_leaves_undone_is_done_where_the_environment_names_it():
    pytest.importorskip("cffi")
    kind = "from gevent import get_hub\nassert type(get_hub().loop).__module__ == 'gevent.libuv.loop'\n"
    for loop, code in (
        ("libuv-cffi", f"{kind}from gevent.libuv.watcher import child\nassert child.tells_who_waits_late"),
        ("", f"import os\nos.environ['GEVENT_LOOP'] = 'libuv-cffi'\n{kind}"),  # there is no choice yet
        ("libuv-nonsense", "import os\nos._exit(0)"),  # whoever makes the hub is told, also the end of the program
    ):
        kept = {key: value for key, value in os.environ.items() if key != "GEVENT_LOOP"}
        environ = {**kept, "GEVENT_LOOP": loop} if loop else kept
        program = [sys.executable, "-W", "error", "-c", f"import greenhttp.patch\n{code}"]
        done = subprocess.run(program, env=environ, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
