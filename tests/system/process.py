"""Processes that serve, as tests start and stop them, and the programs they are spoken to by."""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from tests.lines import plain


def needs(program):
    """Skip without the program; with REQUIRE_SERVICES=1 in the environment, which says that it is there, fail."""
    required = os.environ.get("REQUIRE_SERVICES") == "1"
    return pytest.mark.skipif(not required and not shutil.which(program), reason=f"no {program}")


# What is set outside must not decide what is tested; of FORCE_COLOR Python 3.13 sees even an empty one.
NOT_INHERITED = "GREENHTTP_", "PORT", "WEB_CONCURRENCY", "SCRIPT_NAME", "FORCE_COLOR"


def address(text):
    """The first URL of the last line that has one: warnings before it may have others."""
    return next(found for line in reversed(text.splitlines()) if (found := re.search(r"https?://[^\s,]+", line)))[0]


class Process(subprocess.Popen):
    """A Python process with its output in pipes; killed at the end of the with block if it still runs."""

    def __init__(self, directory, *arguments, **environ):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(NOT_INHERITED)}
        super().__init__(
            [sys.executable, *arguments],
            cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**clean, "PYTHONDONTWRITEBYTECODE": "1", "PYTHON_COLORS": "0", **environ},
        )  # fmt: skip

    def until(self, word):
        """The lines on stderr up to the one with the word."""
        lines = []
        for line in self.stderr:
            lines.append(line)
            if word in line:
                return "".join(lines)
        raise AssertionError(f"no {word!r} in {''.join(lines)}")

    def url(self, log=None):
        """Where it serves, once it has said so: on stderr, or in this file."""
        if log is None:
            return address(self.until("Ctrl-C"))
        while not (log.exists() and "Ctrl-C" in log.read_text()):
            assert self.poll() is None
            time.sleep(0.01)
        return address(log.read_text())

    def rest(self):
        """Exit code, stdout, what is left of stderr."""
        out, err = self.communicate(timeout=30)
        return self.returncode, out, err

    def __exit__(self, *exc):
        self.kill()
        super().__exit__(*exc)


class Command(Process):
    """`python -m greenhttp ...` in a directory."""

    def __init__(self, directory, *arguments, **environ):
        super().__init__(directory, "-m", "greenhttp", *arguments, **environ)


def ended(process):
    """Exit code, stdout, what is left of the log without time, process and who has sent a signal."""
    code, out, err = process.rest()
    lines = plain(err).splitlines(True)
    return code, out, "".join(line for line in lines if " sent by " not in line and "INFO stopping; " not in line)
