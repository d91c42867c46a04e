"""Whether what was just installed works: the command says its version, and serves one request.

    python .ci/smoke.py         from a directory in which there is no greenhttp
"""

import os
import subprocess
import sys
import tempfile
import urllib.request
from importlib.metadata import version
from pathlib import Path

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"it works"]
"""

COMMAND = [sys.executable, "-m", "greenhttp"]

said = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True).stdout.strip()
assert said == f"greenhttp {version('greenhttp')}", said

with tempfile.TemporaryDirectory() as directory:
    Path(directory, "web.py").write_text(APP)
    server = subprocess.Popen(
        [*COMMAND, "--bind", "127.0.0.1:0", "web:app"], cwd=directory, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert server.stderr is not None
        introduction = server.stderr.readline()  # greenhttp: serving web:app at http://127.0.0.1:41234
        url = introduction.split(" at ")[1].strip()
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert (answer.status, answer.read()) == (200, b"it works")
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert server.returncode == 0, server.returncode

print(f"{said} works: {introduction.strip()}")
