"""Runs the blocks of one page, in order, in a directory of its own.

    python          run as a file, must end with 0; a block of text behind it is what it prints
    title="NAME"    written to that file, whatever its language; a later block must name it
    console         `$ command`, then what it prints. `> ` goes on with the command. One that ends in ` &` goes on in
                    the background; %1, %2 ... are the jobs, as in a shell
    text from="%1"  what the job says from there on: waited for
    toml            without a title: a file of settings, which greenhttp must accept

`...` stands for anything in a line, alone in a line for any number of lines. A foreground command must print exactly
what is shown, stderr included; one that fails must print something. A background command is waited for until it has
said what is shown, and where nothing is shown, until it says how it is stopped. At the end of the page each job gets
TERM and must end with 0.

A program that a command calls and that is missing skips the page. With REQUIRE_SERVICES=1 in the environment, which
says that all are there, the page is wrong.

Ports written as 7000, 8000 or 9000 and some (`:8000`), or as 8443, are free ones when the page is run.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.blocks import Block, programs_of

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where a page finds those it names
TIMEOUT = 60  # seconds; only a hang takes as long
PORT = re.compile(r"""(?:(?<=:|=)|(?<=--port )|(?<=", ))(?:[789]0\d\d|8443)\b""")
READY = re.compile(r"^.* Ctrl-C stops at once.*\n", re.MULTILINE)
NOT_INHERITED = "GREENHTTP_", "PORT", "WEB_CONCURRENCY", "FORCE_COLOR", "PYTHONWARNINGS"
# A worker that could not be started leaves its listeners to the end of its process; Python alone says nothing of it.
STRICT = "error,ignore:libuv only supports millisecond timer resolution,ignore::ResourceWarning"
STOPPING = re.compile(r"kill (-(TERM|INT|QUIT|KILL) )?%")


class Wrong(AssertionError):
    """What the page says is not what happens."""


def pattern(expected: str) -> "re.Pattern[str]":
    """What is shown, as an expression: see the module about `...`."""
    parts = []
    for line in expected.splitlines():
        if line.strip() == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(re.escape(line.rstrip()).replace(re.escape("..."), r"[^\n]*") + r"[^\S\n]*\n")
    return re.compile("".join(parts))


class Job:
    """A command in the background, and the lines it has said so far on stdout and stderr."""

    def __init__(self, command: str, directory: Path, environ: dict[str, str]) -> None:
        self.command = command
        assigning = "env " if re.match(r"\w+=", command) else ""
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {assigning}{command}"], cwd=directory, env=environ, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        self.lines: list[str] = []
        self.read = 0  # how many of them the page has shown
        self.ended = False
        self.told = False  # whether the page has sent it a signal to stop
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line)
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    @property
    def unread(self) -> str:
        return "".join(self.lines[self.read :])

    def wait_for(self, find: Callable[[str], "re.Match[str] | None"], shown: Callable[[str], str]) -> bool:
        """Until `find` finds something in what it has said since the last time; False if that does not happen."""
        until = time.monotonic() + TIMEOUT
        with self.news:
            while not (match := find(text := shown(self.unread))):
                if self.ended or not self.news.wait(max(0.0, until - time.monotonic())):
                    return False
            self.read += text[: match.end()].count("\n")
        return True

    def end(self) -> None:
        """Ask it to stop, unless the page has done so. Raises Wrong if it does not come to a good end."""
        if self.process.poll() is None and not self.told:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Wrong(f"{self.command} does not end:\n{''.join(self.lines)}") from None
        if code and not (self.told and code == -signal.SIGKILL):
            self.reader.join(TIMEOUT)
            raise Wrong(f"{self.command} ended with {code}:\n{''.join(self.lines)}")

    def discard(self) -> None:
        """Nothing of it is left: neither it nor what it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: nothing but zombies
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join(TIMEOUT)
        self.process.stdout.close()


class Session:
    """`with Session(directory) as session: session.run(blocks)`. Raises Wrong, with the place of the block."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "page"
        self.directory.mkdir()
        self.jobs: list[Job] = []
        self.ports: dict[str, str] = {}
        self.kept: list[socket.socket] = []
        self.unused: dict[str, Block] = {}  # files that no later block has named
        self.code = 0  # of the last command
        self.printed: str | None = None  # by the last block of Python
        self.environ = self._environ(directory / "bin")

    def _environ(self, programs: Path) -> dict[str, str]:
        programs.mkdir()
        for name, arguments in (("python", ""), ("greenhttp", " -m greenhttp")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{arguments} "$@"\n')
            program.chmod(0o755)
        clean = {name: text for name, text in os.environ.items() if not name.startswith(NOT_INHERITED)}
        return {
            **clean, "PATH": f"{programs}:{PROGRAMS}", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": STRICT, "PYTHONUNBUFFERED": "1", "PYTHON_COLORS": "0", "NO_COLOR": "1", "no_proxy": "*",
            "FORCE_COLOR": "1",  # the pages show what is seen at a terminal; NO_COLOR counts more
            "LC_ALL": "C.UTF-8",
        }  # fmt: skip

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind, *_: object) -> None:
        try:
            if kind is None:
                for job in self.jobs:
                    job.end()
        finally:
            for job in self.jobs:
                job.discard()
            for sock in self.kept:
                sock.close()

    # ---- blocks

    def require(self, programs: list[str]) -> None:
        """Skip the test if one of them is missing. Raises Wrong with REQUIRE_SERVICES=1."""
        if missing := [name for name in programs if not shutil.which(name, path=self.environ["PATH"])]:
            reason = f"not installed: {', '.join(missing)}"
            if os.environ.get("REQUIRE_SERVICES") == "1":
                raise Wrong(reason)
            pytest.skip(reason)

    def run(self, blocks: list[Block]) -> None:
        """All of them, and then whether there is a file that nothing has used."""
        self.require(["bash", *programs_of(blocks)])
        for block in blocks:
            if block.not_run or block.elsewhere or block.language.startswith("{"):
                continue
            try:
                self._run(block)
            except Wrong as error:
                raise Wrong(f"{block.place}: {error}") from None
        if self.unused:
            block = next(iter(self.unused.values()))
            raise Wrong(f"{block.place}: no later block uses {block.title}")

    def _run(self, block: Block) -> None:
        printed, self.printed = self.printed, None
        for name in [name for name in self.unused if _names(block.body, name)]:
            del self.unused[name]
        if block.job:
            self._says(block)
        elif block.language == "console":
            self._console(block.body)
        elif block.title:
            path = self.directory / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._real(block.body))
            self.unused[block.title] = block
        elif block.language == "python":
            (self.directory / "block.py").write_text(self._real(block.body))
            self.printed = self._command("python block.py")
            if self.code:
                raise Wrong(f"it ends with {self.code}:\n{self.printed}")
        elif block.language == "toml":
            (self.directory / "block.toml").write_text(self._real(block.body))
            said = self._command("greenhttp --config block.toml --print-config")
            if self.code:
                raise Wrong(said)
        elif block.language == "text" and printed is not None:
            if not pattern(block.body).fullmatch(printed):
                raise Wrong(f"it prints\n{printed}")
        else:
            what = block.language or "this"
            raise Wrong(f"nobody knows how to run {what}; say `<!-- not run NAME: why -->` before it")

    def _says(self, block: Block) -> None:
        job = self._job(block.job[1:])
        if not job.wait_for(re.compile("^" + pattern(block.body).pattern, re.MULTILINE).search, self._shown):
            raise Wrong(f"job {block.job} does not say that, but\n{self._shown(job.unread)}")

    def _console(self, body: str) -> None:
        for command, expected in _commands(body):
            if command.endswith(" &"):
                job = Job(self._real(command[:-2]), self.directory, self.environ)
                self.jobs.append(job)
                find = pattern(expected).match if expected else READY.search
                if not job.wait_for(find, self._shown):
                    raise Wrong(f"{command}\nsays\n{self._shown(job.unread)}")
                continue
            printed = self._command(command)
            if not pattern(expected).fullmatch(printed):
                raise Wrong(f"{command}\nprints\n{printed}")
            if self.code and not printed:
                raise Wrong(f"{command}\nends with {self.code}")

    # ---- commands

    def _command(self, command: str) -> str:
        """What it prints. `$?` is the code of the command before."""
        stopping = STOPPING.match(command) is not None
        real = re.sub(r"(?<![\w%])%(\d)\b", lambda job: self._pid(job[1], stopping), self._real(command))
        process = subprocess.Popen(
            ["bash", "-c", f"(exit {self.code})\n{real}"], cwd=self.directory, env=self.environ, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        try:
            printed, _ = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
            raise Wrong(f"{command}\ndoes not end; it has printed\n{self._shown(printed)}") from None
        self.code = process.returncode
        printed = self._shown(printed)
        return printed if not printed or printed.endswith("\n") else printed + "\n"

    def _pid(self, number: str, stopping: bool) -> str:
        job = self._job(number)
        job.told = job.told or stopping
        return str(job.process.pid)

    def _job(self, number: str) -> Job:
        if int(number) > len(self.jobs):
            raise Wrong(f"there is no job %{number}")
        return self.jobs[int(number) - 1]

    # ---- ports

    def _real(self, text: str) -> str:
        """With free ports in the place of those that are written."""
        return PORT.sub(lambda port: self.ports.get(port[0]) or self._free(port[0]), text)

    def _shown(self, text: str) -> str:
        """With the ports that are written again."""
        for written, real in self.ports.items():
            text = re.sub(rf"\b{real}\b", written, text)
        return text

    def _free(self, written: str) -> str:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        self.ports[written] = real = str(sock.getsockname()[1])
        if sys.platform == "linux":  # bound and not listening, it keeps the port from all but those who ask for it
            self.kept.append(sock)
        else:
            sock.close()
        return real


def _commands(body: str) -> "list[tuple[str, str]]":
    """Each command of a console block with what it prints."""
    found: list[list[str]] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append([line[2:], ""])
        elif not found:
            raise Wrong(f"the block begins with {line!r}; a command begins with `$ `")
        elif line.startswith("> ") and not found[-1][1]:
            found[-1][0] += "\n" + line[2:]
        else:
            found[-1][1] += line + "\n"
    return [(command, expected) for command, expected in found]


def _names(body: str, file: str) -> bool:
    """Whether a block names a file, or the module that it is."""
    stem = re.escape(Path(file).stem)
    module = rf"|\b{stem}:\w|\bimport {stem}\b|\bfrom {stem} import" if file.endswith(".py") else ""
    return re.search(rf"(?<![\w./-]){re.escape(file)}\b{module}", body) is not None
