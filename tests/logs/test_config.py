"""logs/config.py: logging set up by a file as gunicorn takes it, in the log process as far as that is possible."""

import json
import os
import signal
import subprocess
import textwrap
from pathlib import Path

import pytest

from greenhttp.errors import ConfigError
from greenhttp.logs.config import read
from greenhttp.settings.values import Settings
from tests.lines import plain
from tests.reload import children
from tests.system.served import serve

__all__ = ["serve"]  # a fixture

INI = """
[loggers]
keys = root, ours
[handlers]
keys = file, {handler}
[formatters]
keys = short
[logger_root]
level = WARNING
handlers =
[logger_ours]
level = INFO
handlers = file
qualname = {logger}
[handler_file]
class = FileHandler
formatter = short
args = ("{file}",)
[handler_{handler}]
class = {handler}
args = ()
[formatter_short]
format = %(levelname)s %(process)d | %(message)s
"""


def dictionary(file, logger="greenhttp", handler="logging.FileHandler", **more):
    return {
        "formatters": {"short": {"format": "%(levelname)s %(process)d | %(message)s"}},
        "handlers": {"file": {"class": handler, "formatter": "short", "filename": str(file), **more}},
        "loggers": {logger: {"level": "INFO", "handlers": ["file"]}},
    }


def toml(value, name=""):
    """As much of TOML as these need."""
    lines, tables = [], []
    for key, entry in value.items():
        if isinstance(entry, dict):
            tables.append((f'{name}."{key}"'.lstrip("."), entry))
        else:
            lines.append(f"{key} = {json.dumps(entry)}")
    head = [f"[{name}]"] if name and lines else []
    return "\n".join([*head, *lines, *(toml(entry, key) for key, entry in tables)])


@pytest.fixture(params=["ini", "json", "toml", "dict"])
def written(request, tmp_path):
    """written(logger, handler): a configuration in this form, which logs into `log`; the options for it."""

    def write(logger="greenhttp", handler="StreamHandler", **more):
        log = tmp_path / "log"
        if request.param == "ini":
            (tmp_path / "log.ini").write_text(INI.format(file=log, logger=logger, handler=handler))
            return ["--log-config", "log.ini"]
        content = dictionary(log, logger, "logging.FileHandler" if handler == "StreamHandler" else handler, **more)
        if request.param == "json":
            (tmp_path / "log.json").write_text(json.dumps(content))
            return ["--log-config-json", "log.json"]
        if request.param == "toml":
            (tmp_path / "log.toml").write_text(toml(content))
            return ["--log-config", "log.toml"]
        (tmp_path / "settings.py").write_text(f"logconfig_dict = {content!r}\n")
        return ["-c", "settings.py"]

    return write


@pytest.mark.parametrize("logger", ["greenhttp", "gunicorn.error"])
@pytest.mark.parametrize("workers", [["-w", "1"], []], ids=["supervised", "alone"])
def test_it_says_where_the_log_goes_and_how_each_line_looks(serve, tmp_path, written, logger, workers):
    with open(tmp_path / "err", "wb") as stderr:
        served = serve(stderr, *workers, *written(logger))
    worker = served.asked(path="/odd")
    while "Ctrl-C" not in (tmp_path / "log").read_text():
        served.ask()
    served.send("USR1")
    assert served.stop() == 0
    lines = (tmp_path / "log").read_text().splitlines()
    master = served.process.pid
    assert any(line.startswith(f"INFO {master} | serving web:app at unix:") for line in lines)
    assert lines[-1].startswith(f"INFO {master} | stopped")
    if workers:
        assert any(line.startswith(f"ERROR {worker} | ") and line.endswith("something odd") for line in lines)
        assert (tmp_path / "err").read_text() == ""
    else:  # an application's own handlers are never asked: one of them may have written it
        assert plain((tmp_path / "err").read_text()).endswith("something odd\n")


@pytest.mark.skipif(not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="/proc lists no children")
def test_a_log_process_that_is_made_again_has_its_handlers_too(serve, tmp_path):
    content = dictionary(tmp_path / "log")
    content["root"] = content.pop("loggers")["greenhttp"]
    (tmp_path / "log.json").write_text(json.dumps(content))
    with open(tmp_path / "err", "wb") as stderr:
        served = serve(stderr, "-w", "1", "--log-config", "log.json")
    served.asked()
    (scribe,) = children(served.process.pid, log=True)
    os.kill(scribe, signal.SIGKILL)
    while (fresh := children(served.process.pid, log=True)) in ([], [scribe]):
        served.asked()
    served.asked(path="/odd")
    assert served.stop() == 0 and fresh
    said = (tmp_path / "log").read_text()
    assert "something odd\n" in said and " | stopped" in said


APP_WITH_HANDLER = """
import logging, os
class Mine(logging.FileHandler):
    pass
def app(environ, start_response):
    logging.getLogger("greenhttp").warning("from the worker")
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""


def test_what_would_import_the_application_into_the_supervisor_is_left_out_there(serve, tmp_path):
    (tmp_path / "log.json").write_text(json.dumps(dictionary(tmp_path / "log", handler="web.Mine")))
    with open(tmp_path / "err", "wb") as stderr:
        served = serve(stderr, "-w", "1", "--log-config", "log.json", app=APP_WITH_HANDLER)
    worker = served.asked()
    while "Ctrl-C" not in (tmp_path / "err").read_text():
        served.ask()
    assert served.stop() == 0
    assert f"WARNING {worker} | from the worker" in (tmp_path / "log").read_text()
    said = plain((tmp_path / "err").read_text())
    why = "because web.Mine is not of the standard library"
    assert f"WARNING log_config: log.json: the supervisor logs without it, {why}\n" in said
    assert "INFO serving web:app" in said


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("x.json", "{", "Expecting property name"),
        ("x.json", "[]", "it holds no dictionary for logging.config.dictConfig"),
        ("x.toml", "a = ", "Invalid value"),
        ("x.ini", "[loggers]\n", "no section [handlers]; give a file for logging.config.fileConfig, or .json"),
        ("x.ini", "loggers", "File contains no section headers"),
        ("x.ini", b"\xff\xfe", "codec can't decode"),
        ("none", None, "No such file or directory"),
    ],
)
def test_a_file_that_is_none_is_one_line(tmp_path, name, text, why):
    if text is not None:
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        read(Settings(log_config=str(tmp_path / name)))
    assert str(caught.value).startswith(f"log_config: {tmp_path / name}: ")
    assert why in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [["-w", "1"], []], ids=["supervised", "alone"])
def test_one_that_cannot_be_applied_ends_the_start(serve, tmp_path, options):
    content = {"handlers": {"h": {"class": "logging.FileHandler", "filename": "none/x"}}, "root": {"handlers": ["h"]}}
    (tmp_path / "log.json").write_text(json.dumps(content))
    with open(tmp_path / "err", "wb") as stderr:
        served = serve(stderr, *options, "--log-config", "log.json")
    assert served.process.wait(60) == 1
    (line,) = (tmp_path / "err").read_text().splitlines()
    assert line.startswith("greenhttp: log_config: log.json: [Errno 2] No such file or directory")


def test_both_at_once_are_refused():
    with pytest.raises(ConfigError, match="both are given; leave one out"):
        read(Settings(log_config="x", log_config_dict={"version": 1}))
    with pytest.raises(ConfigError, match="give names of classes and streams as texts"):
        Settings(log_config_dict={"version": object()})


def test_loggers_that_exist_are_not_disabled(tmp_path):
    code = """
        import logging, sys
        from greenhttp.logs.config import read
        from greenhttp.settings.values import Settings
        there = logging.getLogger("shop")
        read(Settings(log_config_dict={"root": {"level": "INFO"}})).apply()
        print(there.disabled, logging.getLogger("greenhttp").level)
        """
    command = ["-c", textwrap.dedent(code)]
    done = subprocess.run([__import__("sys").executable, *command], capture_output=True, text=True, check=True)
    assert done.stdout == "False 20\n"
