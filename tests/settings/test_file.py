"""settings/file.py: files of settings, and one line for each way in which they can be wrong."""

import os
import re
import signal
import subprocess
import sys

import pytest

from greenhttp.errors import ConfigError
from greenhttp.settings import file as settings_file
from greenhttp.settings.file import is_python, read_python, read_toml, run_python


@pytest.fixture
def file(tmp_path, monkeypatch):
    """file("s.toml", text) reads the text as that file of the current directory: values by name, lines to say."""
    monkeypatch.chdir(tmp_path)

    def read(name, text):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        source, said = (run_python if is_python(name) else read_toml)(name)
        return {key: (given.value, given.origin) for key, given in source.items()}, said

    return read


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("s.toml", "", {}),
        ("s.toml", 'queue = 7\napp = "web:app"', {"queue": (7, "s.toml:1"), "app": ("web:app", "s.toml:2")}),
        ("s.toml", 'x = 1\n[greenhttp]\n\n"queue" = "7"', {"queue": ("7", "s.toml:4")}),
        ("s.toml", "title = 'x'\n[app]\nport = 1\n[limits]\n[greenhttp]\nqueue = 7", {"queue": (7, "s.toml:6")}),
        ("s.toml", "[greenhttp.env]\nA = 1", {"env": ({"A": 1}, "s.toml:1")}),
        ("s.toml", "greenhttp.patch = false", {"patch": (False, "s.toml")}),
        ("s.toml", 'host = "::"\nport = 80', {"host": ("::", "s.toml:1"), "port": (80, "s.toml:2")}),
        ("pyproject.toml", "[project]\nqueue = 1\n[tool.greenhttp]\nqueue = 2", {"queue": (2, "pyproject.toml:4")}),
        ("s.py", "bind = ['a:1']\nqueue = 1\nqueue = 2", {"bind": (["a:1"], "s.py:1"), "queue": (2, "s.py:3")}),
        ("s.py", "keep_alive = worker_connections = 5",
         {"keepalive_timeout": (5, "s.py:1"), "connections": (5, "s.py:1")}),
        ("s.py", "loglevel = 'debug'\naccesslog = '-'\nerrorlog = 'e'\nkeepalive = 2\nwsgi_app = 'web'\nraw_env = []",
         {"log_level": ("debug", "s.py:1"), "access_logfile": ("-", "s.py:2"), "error_logfile": ("e", "s.py:3"),
          "keepalive_timeout": (2, "s.py:4"), "app": ("web", "s.py:5"), "env": ([], "s.py:6")}),
        ("s.py", "import os, queue\n_x = 1\nSIZE = 2\ndef helper(): pass\nclass patch: pass\nf = object()", {}),
        ("s.py", "accesslog = None\nworker_class = 'gevent'", {}),
        ("s.py", "preload_app = False\nmax_requests = 9\nlimit_max_requests_jitter = 2\nworkers_lifetime = '1h'",
         {"preload": (False, "s.py:1"), "max_requests": (9, "s.py:2"), "max_requests_jitter": (2, "s.py:3"),
          "max_age": ("1h", "s.py:4")}),
        ("s.py", "pidfile = 'p'\nuser = 'www-data'\ngroup = 33\numask = 0o27\ntimeout = 9\nworkers = 'auto'",
         {"pid": ("p", "s.py:1"), "user": ("www-data", "s.py:2"), "group": (33, "s.py:3"), "umask": (0o27, "s.py:4"),
          "timeout": (9, "s.py:5"), "workers": ("auto", "s.py:6")}),
    ],
)  # fmt: skip
def test_what_is_read(file, name, text, found):
    assert file(name, text) == (found, [])


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("s.toml", "queue = ", r"^s\.toml:1: queue: invalid value; expected a text in quotes like"),
        ("s.toml", "a = 1\nqueue 7\n", r"^s\.toml:2: expected name = value$"),
        ("s.toml", "\nbind = 127.0.0.1:8000\n", r"^s\.toml:2: bind: expected the end of the line after the"),
        ("s.toml", "app = shop:app\n\n", r"^s\.toml:1: app: invalid value; expected a text in quotes like"),
        ("s.toml", "patch = True", r"^s\.toml:1: patch: invalid value; expected .*, a number, true, false, or a list"),
        ("s.toml", "header_timeout = 5s", r"^s\.toml:1: header_timeout: expected the end of the line after the value"),
        ("s.toml", "bind = ['a:1'\nqueue = 1", r"^s\.toml:2: queue: unclosed array; expected a comma or \] after the"),
        ("s.toml", "app = \"web\nqueue = 1", r"^s\.toml:1: app: illegal character .*; expected a closing quote on the"),
        ("s.toml", "app = 'web\nqueue = 1", r"^s\.toml:1: app: expected a closing quote$"),
        ("s.toml", "app = 'web\npid = 'x'", r"^s\.toml:1: app: found invalid character .*; expected a closing quote"),
        ("s.toml", "queue = 1\napp = \"web", r"^s\.toml:2: app: unterminated string; expected a closing quote$"),
        ("s.toml", "queue = 1\n\nqueue = 2\n\n", r"^s\.toml:3: queue: cannot overwrite a value; expected each"),
        ("s.toml", "[greenhttp\nqueue = 1", r"^s\.toml:1: expected a closing \] after the name of the table$"),
        ("s.toml", "[a]\n[a]\n", r"^s\.toml:2: cannot declare .* twice; expected each table once$"),
        ("s.toml", 'chdir = "C:\\d"', r"^s\.toml:1: chdir: unescaped .* in a string; expected .* for each backslash"),
        ("s.toml", "\ufeffqueue = 1", r"^s\.toml:1: the file begins with a byte order mark; save it as UTF-8 without"),
        ("s.toml", b"queue = '\xff'", r"^s\.toml: not UTF-8 \(invalid start byte at byte 9\)$"),
        ("s.toml", f"queue = {'[' * 5000}{']' * 5000}", r"^s\.toml: values are nested too deeply$"),
        ("s.toml", f"queue = {'9' * 5000}", r"^s\.toml: a number in this file cannot be read: Exceeds the limit"),
        ("s.py", f"queue = {'9' * 5000}", r"^s\.py:1: Exceeds the limit"),
        ("s.py", f"queue = {'-' * 100000}1", r"^s\.py: "),
        ("s.py", "queue = 1\0", r"^s\.py(:1)?: .*null bytes"),
        ("s.toml", "\nqeueu = 7", r"^s\.toml:2: qeueu: there is no such setting; did you mean queue\?$"),
        ("s.toml", "zzzz = 7", r"^s\.toml:1: zzzz: there is no such setting$"),
        ("s.toml", "a = 1\nqueue = 7\n[greenhttp]\npatch = false",
         r"^s\.toml:2: queue: it stands beside the table \[greenhttp\], so it is not read; move it there$"),
        ("s.toml", "\nqeueu = 7\n[greenhttp]", r"^s\.toml:2: qeueu: it stands .* there; did you mean queue\?$"),
        ("s.toml", "worker_class = 'sync'\n[greenhttp]", r"^s\.toml:1: worker_class: it stands beside the table"),
        ("s.toml", "[greenhttp]\nqueue = 1\n[env]\nA = 'b'", r"^s\.toml:3: env: it stands beside the table"),
        ("s.toml", "greenhttp = 3", r"^s\.toml: there is no table \[greenhttp\]$"),
        ("pyproject.toml", "[project]", r"^pyproject\.toml: there is no table \[tool\.greenhttp\]$"),
        ("pyproject.toml", "tool = 3", r"^pyproject\.toml: there is no table \[tool\.greenhttp\]$"),
        ("s.toml", "app = 3", r"^s\.toml:1: app: give the application's name, like 'module:app'$"),
        ("s.toml", "connections = 3\nworker_connections = 4",
         r"^s\.toml:2: worker_connections: given twice; s\.toml:1 sets connections already$"),
        ("s.toml", "spew = true", r"^s\.toml:1: spew: tracing is not supported; use python -m trace$"),
        ("s.py", "x = (", r"^s\.py:1: '\(' was never closed$"),
        ("s.py", "import os\n\nos.nothing", r"^s\.py:3: AttributeError: module 'os' has no attribute 'nothing'$"),
        ("s.py", "import json\njson.loads('{')", r"^s\.py:2: json\.decoder\.JSONDecodeError: "),
        ("s.py", "raise SystemExit(3)", r"^s\.py:1: SystemExit: 3$"),
        ("s.py", "\nqeueu = 7", r"^s\.py:2: qeueu: there is no such setting; did you mean queue\?$"),
        ("s.py", "for i in (1, 2): pass", r"^s\.py:1: i: there is no such setting; begin names of your own with _$"),
        ("s.py", "patch = False", r"^s\.py:1: patch cannot be set in a Python file, it runs too late; use --no-patch$"),
        ("s.py", "loop = 'libuv'", r"^s\.py:1: loop cannot be set in a Python file, it runs too late; use --loop$"),
        ("s.py", "def app(environ, start_response): pass", r"^s\.py: app: give the application's name"),
        ("s.py", "worker_class = 'sync'", r"^s\.py:1: worker_class sync: the only worker class is gevent"),
        ("s.py", "workers_max_rss = 300", r"^s\.py:1: workers_max_rss( 300)?: use --max-rss with a unit"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(file, name, text, line):
    with pytest.raises(ConfigError, match=line) as caught:
        file(name, text)
    assert "\n" not in str(caught.value)


def test_what_means_nothing_here_is_said(file):
    found, said = file("s.py", "threads = 4\ndef dirty_post_fork(arbiter, worker): pass\n")
    assert found == {}
    assert said == [
        "ignored (no effect): s.py:1: threads (requests run in green threads; see --concurrency)",
        "s.py: these hooks never run, dirty workers are not supported: dirty_post_fork",
    ]


def test_a_file_that_cannot_be_read(tmp_path):
    for name, read in (("none.toml", read_toml), ("none.py", run_python)):
        path = str(tmp_path / name)
        with pytest.raises(ConfigError, match=f"^{path}: No such file or directory$"):
            read(path)
    with pytest.raises(ConfigError, match="Is a directory$"):
        run_python(str(tmp_path))


# ---- in a process of its own


@pytest.fixture
def apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text, prepare=lambda: None):
        (tmp_path / "s.py").write_text(text)
        source, said = read_python("s.py", prepare)
        return {key: (given.value, given.origin) for key, given in source.items()}, said

    return read


def test_a_python_file_read_apart_gives_the_same_and_leaves_nothing_behind(apart):
    text = "import os, sys\nos.environ['LEFT'] = sys.left = 'x'\nqueue = 7\nthreads = 4\n"
    said = "ignored (no effect): s.py:4: threads (requests run in green threads; see --concurrency)"
    assert apart(text) == ({"queue": (7, "s.py:3")}, [said])
    assert "LEFT" not in os.environ and not hasattr(sys, "left")


def test_what_a_file_read_apart_prints_is_not_shown_and_what_was_printed_before_is_shown_once(tmp_path):
    (tmp_path / "s.py").write_text("import os\nprint('hello', flush=True)\nos.write(1, b'hello')\n")
    code = "from greenhttp.settings.file import read_python\nprint('before')\nread_python('s.py', lambda: None)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("before\n", "")


def test_what_is_prepared_comes_before_the_file_and_happens_there_too(apart):
    assert apart("import sys\nqueue = sys.left", lambda: setattr(sys, "left", 3)) == ({"queue": (3, "s.py:2")}, [])
    assert not hasattr(sys, "left")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\nqeueu = 7", r"^s\.py:2: qeueu: there is no such setting; did you mean queue\?$"),
        ("raise SystemExit(3)", r"^s\.py:1: SystemExit: 3$"),
        ("import os\nos._exit(0)", r"^s\.py: the process that ran it ended too early; remove calls like os"),
        ("queue = 1\nbind = (a for a in ())", r"^s\.py: a value in this file cannot be used: cannot pickle 'generator"),
    ],
)
def test_what_is_wrong_apart_is_one_line_here(apart, text, line):
    with pytest.raises(ConfigError, match=line):
        apart(text)


def test_a_file_that_does_not_come_to_its_end_is_ended(apart, monkeypatch):
    monkeypatch.setattr(settings_file, "PATIENCE", 1)
    with pytest.raises(ConfigError, match=r"^s\.py: the file did not finish within 1 s; it should only set"):
        apart("while True: pass")


def test_a_process_that_the_file_leaves_behind_is_not_waited_for(apart, tmp_path):
    text = "import os, time\n_pid = os.fork()\nif not _pid:\n    time.sleep(60)\n    os._exit(0)\n"
    said, _ = apart(f"{text}pid = str(_pid)")
    os.kill(int(said["pid"][0]), signal.SIGKILL)  # it lives: else this raises


def test_signals_are_not_those_of_the_process_that_reads(apart, monkeypatch):
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with pytest.raises(ConfigError, match="the process that ran it ended too early"):
            apart("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nqueue = 7")
    finally:
        signal.signal(signal.SIGTERM, before)


def test_too_many_values_are_refused(apart):
    with pytest.raises(ConfigError, match=r"^s\.py: the values take \d+ bytes; give at most 1048576$"):
        apart("env = {'A': 'x' * 2_000_000}")


def test_what_cannot_be_prepared_is_said(apart):
    def prepare():
        raise ConfigError("loop: there is no libuv")

    with pytest.raises(ConfigError, match="^loop: there is no libuv$"):
        apart("queue = 7", prepare)


@pytest.mark.parametrize("name", ["umask", "socket_mode"])
def test_a_mode_in_toml_is_a_text_for_a_number_would_be_decimal(tmp_path, name):
    path = tmp_path / "s.toml"
    path.write_text(f"{name} = 660\n")
    with pytest.raises(ConfigError, match=rf':1: {name}: give the octal digits in quotes, like "660"$'):
        settings_file.read_toml(str(path))
    path.write_text(f'{name} = "660"\n')
    assert settings_file.read_toml(str(path))[0][name].value == "660"


GUNICORNS = """
spew = True
bind = ":8000"
def post_fork(server): pass
statsd_host = "stats:8125"
keepalive = 0
threads = 4
daemon = True
print_config = True
wsgi_app = lambda: None
worker_class = "sync"
"""


def test_all_that_is_refused_in_gunicorns_file_is_told_in_one_run(file):
    with pytest.raises(ConfigError) as caught:
        file("gunicorn.conf.py", GUNICORNS)
    lines = str(caught.value).splitlines()
    said = [re.match(r"gunicorn\.conf\.py(?::(\d+))?: (\w+)", line).groups() for line in lines]
    assert said == [
        (None, "post_fork"),
        ("2", "spew"),
        ("5", "statsd_host"),
        ("6", "keepalive"),
        ("8", "daemon"),
        ("9", "print_config"),
        ("10", "wsgi_app"),
        ("11", "worker_class"),
    ]


def test_all_mistakes_in_a_file_of_toml_are_told_in_one_run(file):
    with pytest.raises(ConfigError) as caught:
        file("s.toml", 'quue = 1\nspew = true\nworkers = 2\numask = 27\n')
    assert str(caught.value).splitlines() == [
        "s.toml:1: quue: there is no such setting; did you mean queue?",
        "s.toml:2: spew: tracing is not supported; use python -m trace",
        's.toml:4: umask: give the octal digits in quotes, like "027"',
    ]
