"""The file of settings: TOML, or Python.

    settings.toml      names at the top level, or all of them in a table [greenhttp]; beside that they are mistakes
    pyproject.toml     the table [tool.greenhttp]
    settings.py        executed; what is assigned to a setting's name is its value

Names are those of settings.table, and other servers' names for them (`worker_connections`). `app = "module:name"` says
what to serve (`wsgi_app` too).

A file whose name begins with `gunicorn` was written for that: what gunicorn sets is taken, ignored in one line, or
refused (foreign.py), and other names are the file's own and named.

In a Python file functions, classes, modules, `_names` and NAMES are the file's own. Any other plain value (a text, a
number, a list ...) must be a setting: what is meant as one but misspelt would be lost otherwise. The file runs with the
standard library patched already, so it cannot decide about `patch` and `loop`.

Every mistake is one line, `file:line: what is wrong`, where the line is known. All mistakes in names, and all that is
refused, are told at once.
"""

import ast
import contextlib
import mmap
import os
import pickle
import re
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from greenhttp.errors import ConfigError
from greenhttp.settings import console
from greenhttp.settings.foreign import (
    BY_FOREIGN_NAME,
    GUNICORNS,
    HOOKS_OF_MASTER,
    HOOKS_OF_NOBODY,
    HOOKS_OF_TLS,
    HOOKS_OF_WORKER,
    TRUSTING,
    ignored,
    ini_line,
)
from greenhttp.settings.peers import UNIX
from greenhttp.settings.signatures import signature
from greenhttp.settings.sources import APP, HOOKS, PLACES, Given, Source
from greenhttp.settings.table import BY_NAME, SETTINGS, nearest
from greenhttp.traces import last_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PLAIN = (str, bytes, int, float, type(None), list, tuple, dict, set, frozenset)
PATIENCE = 30  # seconds that a Python file has: who waits for it, perhaps a supervisor, does nothing else meanwhile
MOST = 1 << 20  # bytes of all that it gives
SIZE = 4  # bytes of the number before these
TOO_LATE = {"patch": "--no-patch", "loop": "--loop"}

NAMES: dict[str, str] = {  # a name in a file -> the setting's
    **{flag[2:].replace("-", "_"): setting.name for setting in SETTINGS for flag in setting.flags if flag[:2] == "--"},
    **{name: name for name in (APP, *PLACES)},
    "wsgi_app": APP,
    "reload_extra_files": "reload_dirs",
}
TABLES = ("pairs", "fields", "json")  # kinds of settings whose values may be tables
OF_THE_COMMAND_LINE = ("config", "check_config", "print_config")  # gunicorn takes them from a file too


def is_python(path: str) -> bool:
    """Whether it is a Python file, or TOML. Raises ConfigError if it is neither."""
    if path.endswith(".py"):
        return True
    if path.endswith(".toml"):
        return False
    said = ini_line(path) or "the name of a settings file must end in .toml or .py"
    raise ConfigError(f"{path}: {said}")


def read_toml(path: str) -> tuple[Source, list[str]]:
    """What a TOML file gives, and lines to say about it. Raises ConfigError."""
    try:
        text = _bytes(path).decode()
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_unreadable(path, text, str(error))) from None
    except RecursionError:
        raise ConfigError(f"{path}: values are nested too deeply") from None
    except ValueError as error:  # int() refuses more than some thousand digits
        raise ConfigError(f"{path}: a number in this file cannot be read: {error}") from None
    header, table = _table(path, document)
    if not isinstance(table, Mapping):
        raise ConfigError(f"{path}: there is no table [{header}]")
    found = _Mistakes(path, _toml_lines(text, header))
    if header == "greenhttp":
        found.take(_beside(path, text, document))
    for name in table:
        if name not in NAMES and name not in BY_FOREIGN_NAME:
            found.add(name, f"there is no such setting{nearest(name, NAMES)}")
        elif name in BY_NAME and BY_NAME[name].kind == "mode" and type(table[name]) is int and table[name]:
            found.add(name, f'give the octal digits in quotes, like "{table[name]:03d}"')  # 660 is the mode 1224
    source, words = _source(table, found)
    found.tell()
    return source, words


_VALUE = 'a text in quotes like "shop:app", a number, true, false, or a list like ["a", "b"]'
EXPECTED = (  # how tomllib's message begins -> what it waits for there
    ("Invalid value", _VALUE),
    ("Expected newline", "the end of the line after the value; a text needs quotes, like \"127.0.0.1:8000\" or \"5s\""),
    ("Expected '=' after a key", "name = value"),
    ("Expected ']'", "a closing ] after the name of the table"),
    ("Invalid statement", "name = value, or a [table]"),
    ("Invalid initial character", "a name of letters, digits, _ and -"),
    ("Unclosed array", "a comma or ] after the value"),
    ("Unclosed inline table", "a comma or } after the value"),
    ("Unterminated string", "a closing quote"),
    ("Expected \"'\"", "a closing quote"),
    ("Illegal character '\\n'", "a closing quote on the same line"),
    ("Found invalid character '\\n'", "a closing quote on the same line"),
    ("Unescaped '\\' in a string", r"\\ for each backslash, or the text in single quotes"),
    ("Invalid hex value", r"\\ for each backslash, or the text in single quotes"),
    ("Cannot overwrite", "each name once"),
    ("Cannot declare", "each table once"),
    ("Duplicate inline table key", "each name once"),
)


def _unreadable(path: str, text: str, said: str) -> str:
    """The line for what is no TOML: where it is, what tomllib says, and what it waits for there."""
    where = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", said, re.DOTALL)
    if where is None:
        return f"{path}: {said}"
    if text.startswith("\ufeff"):
        return f"{path}:1: the file begins with a byte order mark; save it as UTF-8 without one"
    lines = text.rstrip().splitlines() or [""]
    number = int(where[2]) if where[2] else len(lines)
    if not where[2] and where[1].startswith(("Unterminated string", "Expected \"'\"")):  # noticed at the end
        number = max((n for n, line in enumerate(lines, 1) if re.search(r"""=.*["'][^"']*$""", line)), default=number)
    line = lines[number - 1] if number <= len(lines) else ""
    key = re.match(r"\s*([\w.-]+)\s*=", line)
    what = where[1].replace("\n", "\\n")
    waits = next((f"expected {hint}" for begin, hint in EXPECTED if what.startswith(begin)), "")
    if not waits or not what.startswith("Expected"):
        waits = f"{what[0].lower()}{what[1:]}{'; ' if waits else ''}{waits}"
    return f"{path}:{number}: {f'{key[1]}: ' if key else ''}{waits}"


class _Mistakes:
    """What is wrong in a file, gathered so that it is all told in one run.

    Arguments:
        path: of the file.
        lines: name to number of the line it stands in, as far as known.
    """

    def __init__(self, path: str, lines: Mapping[str, int]) -> None:
        self.path, self.lines = path, lines
        self._found: list[tuple[int, str]] = []

    def place(self, name: str) -> str:
        return f"{self.path}:{self.lines[name]}" if name in self.lines else self.path

    def add(self, name: str, what: str) -> None:
        self.add_line(name, f"{self.place(name)}: {name}: {what}")

    def add_line(self, name: str, line: str) -> None:
        self._found.append((self.lines.get(name, 0), line))

    def take(self, others: "_Mistakes") -> None:
        self._found += others._found

    def tell(self) -> None:
        """Raises ConfigError if there is any, in the order of the file."""
        if self._found:
            raise ConfigError("\n".join(line for _, line in sorted(self._found, key=lambda each: each[0])))


def _table(path: str, document: dict[str, Any]) -> tuple[str, Any]:
    """The header of the table that is ours, "" for the top level, and what stands there."""
    if os.path.basename(path) == "pyproject.toml":
        tool = document.get("tool")
        return "tool.greenhttp", tool.get("greenhttp") if isinstance(tool, Mapping) else None
    if "greenhttp" in document:
        return "greenhttp", document["greenhttp"]
    return "", document


def _beside(path: str, text: str, document: dict[str, Any]) -> _Mistakes:
    """Names beside the table [greenhttp] that are meant as settings; others may be those of another program."""
    found = _Mistakes(path, _toml_lines(text, ""))
    for name, value in document.items():
        known, near = name in NAMES or name in BY_FOREIGN_NAME, ""
        if isinstance(value, Mapping):
            known = name in BY_NAME and BY_NAME[name].kind in TABLES
        elif not known:
            near = nearest(name, NAMES, 0.8)
        if known or near:
            found.add(name, f"it stands beside the table [greenhttp], so it is not read; move it there{near}")
    return found


def read_python(path: str, prepare: Callable[[], None]) -> tuple[Source, list[str]]:
    """As `run_python`, in a process of its own, which ends with it: nothing that the file does happens here.

    Arguments:
        prepare: called there first.

    What the file prints on stdout is not shown, since it is going to be run again by whoever serves.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError):  # closed, or nobody reads it any more
            stream.flush()
    with mmap.mmap(-1, SIZE + MOST) as memory:  # no pipe: a process that the file leaves behind would keep it open
        try:
            pid = os.fork()
        except OSError as error:
            raise ConfigError(f"{path}: cannot start a process to run this file: {error.strerror}") from None
        if pid == 0:
            try:
                _run_apart(path, prepare, memory)
            finally:
                os._exit(0)
        _, status = os.waitpid(pid, 0)
        size = int.from_bytes(memory[:SIZE], "little")
        data = memory[SIZE : SIZE + size]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        raise ConfigError(f"{path}: the file did not finish within {PATIENCE} s; it should only set settings")
    if not data:
        raise ConfigError(f"{path}: the process that ran it ended too early; remove calls like os._exit()")
    answer = pickle.loads(data)
    if isinstance(answer, str):
        raise ConfigError(answer)
    given, notices = answer
    return {name: Given(value, origin) for name, value, origin in given}, notices


def _run_apart(path: str, prepare: Callable[[], None], memory: mmap.mmap) -> None:
    """The life of that process, which the system ends after PATIENCE."""
    signal.set_wakeup_fd(-1)  # a supervisor's: its handlers are not for what is sent to this process
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(PATIENCE)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    data = _answer(path, prepare)
    if len(data) > MOST:
        data = pickle.dumps(f"{path}: the values take {len(data)} bytes; give at most {MOST}")
    memory[SIZE : SIZE + len(data)] = data
    memory[:SIZE] = len(data).to_bytes(SIZE, "little")
    sys.stderr.flush()


def _answer(path: str, prepare: Callable[[], None]) -> bytes:
    try:
        prepare()
        source, notices = run_python(path)
        return pickle.dumps(([(name, given.value, given.origin) for name, given in source.items()], notices))
    except ConfigError as error:
        return pickle.dumps(str(error))
    except Exception as error:  # a value that cannot be handed over
        return pickle.dumps(f"{path}: a value in this file cannot be used: {error}")


def run_python(path: str) -> tuple[Source, list[str]]:
    """What a Python file assigns, and lines to say about it. Raises ConfigError, also for what the file raises."""
    tree, names = _executed(path)
    assigned = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    found = _Mistakes(path, {node.id: node.lineno for node in assigned})
    settings: dict[str, Any] = {}
    own: list[str] = []
    for name, value in names.items():
        if isinstance(value, type) and name in BY_FOREIGN_NAME and name.endswith("_class"):
            value = f"{value.__module__}.{value.__qualname__}"
        if name in TOO_LATE and isinstance(value, PLAIN):
            line = f"{name} cannot be set in a Python file, it runs too late; use {TOO_LATE[name]}"
            found.add_line(name, f"{found.place(name)}: {line}")
        elif _is_meant(name, value):
            settings[name] = value
        elif isinstance(value, PLAIN) and not name.startswith("_") and name == name.lower():
            if _is_gunicorns(path):
                if name in OF_THE_COMMAND_LINE:
                    if value and name != "config" or name == "config" and value not in (None, f"./{path}", path):
                        found.add(name, "give it on the command line")
                else:
                    own.append(name)  # it takes any name; one of ours it would not have known
                continue
            near = nearest(name, NAMES)
            found.add(name, f"there is no such setting{near or '; begin names of your own with _'}")
    source, notices = _source(settings, found)
    hooks = tuple(_hooks(names, found))
    found.tell()
    if hooks:
        source[HOOKS] = Given(hooks, path)
    if unused := [name for name in HOOKS_OF_NOBODY if callable(names.get(name))]:
        notices.append(f"{path}: these hooks never run, dirty workers are not supported: {', '.join(unused)}")
    if own:
        notices.append(f"{path}: names that are not settings: {', '.join(own)}")
    return source, notices


def run_hooks(path: str) -> dict[str, Callable[..., Any]]:
    """Run a Python file for what it does: its hooks by name. Raises ConfigError, also for what the file raises."""
    found = _Mistakes(path, {})
    names = _executed(path)[1]
    console.fill()  # what it has closed
    hooks = _hooks(names, found)
    found.tell()
    return hooks


def _executed(path: str) -> tuple[ast.Module, dict[str, Any]]:
    """The file's syntax tree, and the names in it when it has run."""
    code = _bytes(path)
    names: dict[str, Any] = {"__name__": "__config__", "__file__": path}
    try:
        tree = ast.parse(code, path)
        exec(compile(tree, path, "exec"), names)
    except SyntaxError as error:
        raise ConfigError(f"{path}:{error.lineno or 1}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        said = last_line(error)
        raise ConfigError(f"{path}:{frames[-1].lineno}: {said}" if frames else f"{path}: {said}") from None
    return tree, names


def _hooks(names: Mapping[str, Any], found: _Mistakes) -> dict[str, Callable[..., Any]]:
    """Those that run here. One that could not be called as gunicorn calls it is a mistake."""
    hooks = {}
    for name, given in {**HOOKS_OF_MASTER, **HOOKS_OF_WORKER, **HOOKS_OF_TLS}.items():
        hook = names.get(name)
        if isinstance(hook, str) and hook:
            found.add_line(name, f"{found.path}: {name}: give the function itself, not its name")
        if callable(hook):
            fitting = _fitting(hook, given)
            if fitting is None:
                wanted = f"the hook must take the arguments {', '.join(given)}"
                found.add_line(name, f"{found.path}: {name}: {wanted}")
            else:
                hooks[name] = fitting
    return hooks


def _fitting(hook: Callable[..., Any], given: tuple[str, ...]) -> Callable[..., Any] | None:
    """The hook as it can be called, or None; one of post_request may leave out resp, and environ too, as there."""
    try:
        known = signature(hook)
    except (TypeError, ValueError):  # one written in C: nobody knows
        return hook
    for many in (4, 3, 2) if given[-1] == "resp" else (len(given),):
        try:
            known.bind(*given[:many])
        except TypeError:
            continue
        return hook if many == len(given) else lambda *words, many=many: hook(*words[:many])
    return None


def _is_meant(name: str, value: object) -> bool:
    """Whether it is a setting's value; after `import queue` it is not."""
    if NAMES.get(name) == APP:
        return True  # where it is a function, the line that says what to give is worth more
    return (name in NAMES or name in BY_FOREIGN_NAME) and not callable(value) and not isinstance(value, ModuleType)


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def _toml_lines(text: str, table: str) -> dict[str, int]:
    """Name to line number of a table's keys: good enough to point at, for tomllib does not say."""
    lines: dict[str, int] = {}
    here = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([\w.\"' -]+?)\s*\]", line):
            here = re.sub(r"[\s\"']", "", header[1])
            if here.startswith(f"{table}." if table else ""):
                lines.setdefault(here.removeprefix(f"{table}." if table else ""), number)
        elif here == table and (key := re.match(r"\s*[\"']?([\w-]+)[\"']?\s*[.=]", line)):
            lines.setdefault(key[1], number)
    return lines


def _source(given: Mapping[str, Any], found: _Mistakes) -> tuple[Source, list[str]]:
    """What is given for settings, and lines to say about it; mistakes are added to those found."""
    source: Source = {}
    words: list[str] = []
    gunicorns = _is_gunicorns(found.path)
    for name, value in given.items():
        place = found.place(name)
        theirs = GUNICORNS.get(name) if gunicorns else None
        if name not in NAMES or theirs:
            if theirs := theirs or BY_FOREIGN_NAME.get(name):
                try:
                    words.append(theirs.judge(f"{place}: {name}", value))
                except ConfigError as error:
                    found.add_line(name, str(error))
            continue
        if name == "reload_extra_files":
            if not value:
                continue
            value = [".", *([value] if isinstance(value, str) else value)]  # beside the others, as there
        if name == "keepalive" and value in (0, "0"):
            found.add(name, "0 turns the time-out off here; give a short time like '2s'")
            continue
        kept = NAMES[name]
        if kept in source:
            found.add(name, f"given twice; {source[kept].origin} sets {kept} already")
            continue
        if kept == APP and value is None:
            continue
        if kept == APP and not isinstance(value, str):
            found.add(name, "give the application's name, like 'module:app'")
            continue
        if value is None and kept in BY_NAME and BY_NAME[kept].kind != "header":
            continue  # gunicorn's files say None for "the default"; of a field to send it means "off"
        source[kept] = Given(value, place)
    if gunicorns:
        _trust_unix(source)
    return source, ignored(words)


def _is_gunicorns(path: str) -> bool:
    return os.path.basename(path).startswith("gunicorn") and path.endswith(".py")


def _trust_unix(source: Source) -> None:
    """To gunicorn whoever connects over a UNIX socket is trusted, whatever the lists say."""
    if "proxy_protocol" in source:
        usual = BY_NAME["proxy_allow_from"].default
        source.setdefault("proxy_allow_from", Given(usual, source["proxy_protocol"].origin))
    for name in TRUSTING:
        value, origin = source.get(name, (None, ""))
        if isinstance(value, str):
            source[name] = Given(f"{value},{UNIX}", origin)
        elif isinstance(value, (list, tuple)):
            source[name] = Given([*value, UNIX], origin)
