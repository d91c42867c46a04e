"""The access log of a real process: the command, real clients, signals."""

import http.client
import json
import re
import signal
import time
from pathlib import Path

import pytest

from tests.system.process import Command

HERE = Path(__file__).parent
LINE = r'127\.0\.0\.1 - - \[[^]]+\] "(\S+) (\S+) HTTP/1\.1" (\d+) (\S+) "-" "me/1"'


def ask(url, *paths):
    client = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    for path in paths:
        client.request("GET", path, headers={"User-Agent": "me/1"})
        client.getresponse().read()
    client.close()


def command(*arguments):
    return Command(HERE, "-b", "127.0.0.1:0", *arguments, "busy_app:app")


def test_a_file_has_an_entry_for_each_request_when_the_process_has_ended(tmp_path):
    path = tmp_path / "access.log"
    paths = [f"/{n}" for n in range(500)]
    with command("--access-logfile", str(path)) as process:
        ask(process.url(), *paths)
        process.send_signal(signal.SIGTERM)
        assert process.rest()[0] == 0
    entries = [re.fullmatch(LINE, line).groups() for line in path.read_text().splitlines()]
    assert [entry[:3] for entry in entries] == [("GET", path, "200") for path in paths]


def test_ctrl_c_writes_what_there_is(tmp_path):
    path = tmp_path / "access.log"
    with command("--access-logfile", str(path), "--access-log-format", "%(U)s") as process:
        ask(process.url(), "/a", "/b")
        process.send_signal(signal.SIGINT)
        assert process.rest()[0] == 0
    assert path.read_text() == "/a\n/b\n"


def test_usr1_opens_the_file_anew(tmp_path):
    path = tmp_path / "access.log"
    with command("--access-logfile", str(path), "--access-log-format", "%(U)s") as process:
        url = process.url()
        ask(url, "/a")
        old = path.rename(tmp_path / "access.log.1")
        process.send_signal(signal.SIGUSR1)
        while not path.exists():
            time.sleep(0.001)
        ask(url, "/b")
        process.send_signal(signal.SIGTERM)
        assert process.rest()[0] == 0
    assert old.read_text() + path.read_text() == "/a\n/b\n"
    assert path.read_text().endswith("/b\n")


def test_standard_output():
    with command("--access-logfile", "-", "--access-log-format", "json") as process:
        ask(process.url(), "/a")
        process.send_signal(signal.SIGTERM)
        code, out, _ = process.rest()
    assert code == 0
    assert json.loads(out)["target"] == "/a"


def test_standard_output_that_nobody_reads_any_more():
    with command("--access-logfile", "-") as process:
        url = process.url()
        process.stdout.close()
        ask(url, "/a")
        assert "Broken pipe" in process.until("access log")
        ask(url, "/b")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_standard_output_that_is_full_lets_the_process_end():
    with command("--access-logfile", "-", "--access-log-format", "%(s)s " + "x" * 1000) as process:
        ask(process.url(), *["/"] * 200)  # three times what the pipe holds; nobody reads
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "the last batch of the access log and " in process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["--access-logfile", "-", "--access-log-format", "%(S)s"], 2, "there is no atom %(S)s; did you mean %(s)s?"),
        (["--access-logfile", "/"], 1, "access_logfile: '/' cannot be opened: Is a directory"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, exit_code, says):
    with command(*arguments) as process:
        code, _, err = process.rest()
    assert code == exit_code
    (line,) = err.splitlines()
    assert says in line
