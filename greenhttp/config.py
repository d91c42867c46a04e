"""Every setting once: its name, kind, default, unit, meaning and check.

The command line, the environment, the file of settings, the help and the server derive from `SETTINGS`; nothing is said
twice.
Data only: this module opens no file, reads no environment and imports nothing of the package but its errors.

A value may come as Python says it (`header_timeout=2.5`) or as a person types it (`"2s500ms"`, `"64k"`):

    kind        accepted                                            kept as
    duration    90, 1.5, "90", "90s", "1m30s", "250ms", "2h"        float, seconds
    size        65536, "65536", "64k", "1m", "1.5GiB" (of 1024)     int, bytes
    rate        like size, also "500/s"                             int, bytes a second
    count       100, "100"                                          int
    bool        True, "yes", "off", "1" ...                         bool
    text        "greenhttp"                                         str
    path        "logs/error.log", "-" where its help says so        str
    choice      "wsgi", "WSGI"                                      str, in lower case
    file        "access.log", "-", "off", False                     str, or None for off
    header      "greenhttp", "off", False                           str, or None for off
    target      "/healthz", "off", False                            str, or None for off
    optional    "www-data", "off", False                            str, or None for off
    workers     4, "4", "auto"                                      int, or "auto"
    mode        "660", "0o660", 0o660, "off"                        int, or None for off
    names       ["A", "B"], "A, B"                                  tuple of str
    addresses   ["127.0.0.1:8000", "unix:/run/x,y.sock"], "a, b"    tuple of str; a list is not split at commas
    pairs       ["A=1", "B=2"], {"A": "1", "B": "2"}, "A=1"         tuple of str; commas belong to the value
    fields      like pairs, "off"                                   tuple of str, names in small letters

A duration of 0 turns that time-out off, unless its help says otherwise. Limits are meant literally: 0 allows nothing.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from greenhttp.errors import ConfigError

LONGEST = 366 * 86400.0  # seconds. A longer time-out is a slip, and timers must be able to hold the value
LARGEST = 1 << 62  # bytes. Sizes are signed 64-bit numbers in the compiled modules, with room for one addition
MOST = (1 << 31) - 1  # counts are C ints there
MOST_RUNNING = 1 << 20  # requests; each has a line of 128 bytes on a worker's board
LARGEST_HEAD = 1 << 30  # bytes, fields. The head parser keeps offsets into line and fields in 32 bits

DESCRIPTORS_KEPT = 128  # descriptors left to the application, its databases and logs when `connections` is derived
FEWEST_CONNECTIONS = 64  # derived `connections` never falls below this, however small the file limit

# ---- kinds: value as given -> value as kept, or raises ValueError("what is wrong; what to do")

_DURATION = re.compile(
    r"(?:([0-9]+(?:\.[0-9]+)?)d)?(?:([0-9]+(?:\.[0-9]+)?)h)?(?:([0-9]+(?:\.[0-9]+)?)m(?!s))?"
    r"(?:([0-9]+(?:\.[0-9]+)?)s)?(?:([0-9]+(?:\.[0-9]+)?)ms)?"
)
_DURATION_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(?:([kmgt])(?:i?b)?|b)?")
_SIZE_UNITS = {None: 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_PATH = re.compile(r"/[!-\"$->@-~]*")  # neither # nor ?
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TRUE = frozenset(("1", "true", "yes", "on"))
_FALSE = frozenset(("0", "false", "no", "off"))


def parse_duration(value: object) -> float:
    """Seconds as a float, from a number or a text such as `90`, `1.5`, `90s`, `1m30s`, `250ms`, `2h`."""
    how = "give seconds, or a text like 90s, 1m30s, 250ms"
    if isinstance(value, str):
        text = value.strip().lower()
        if _PLAIN.fullmatch(text):
            seconds = float(text)
        elif text and (match := _DURATION.fullmatch(text)):
            parts = zip(match.groups(), _DURATION_UNITS, strict=True)
            seconds = math.fsum(float(part) * unit for part, unit in parts if part)
        else:
            raise ValueError(f"{value!r} is not a duration; {how}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if not value >= 0 or value == math.inf:  # written so that NaN is refused too
            raise ValueError(f"{value!r} is not a duration; {how}, 0 for none")
        seconds = float(min(value, 2 * LONGEST))
    else:
        raise ValueError(f"{value!r} is not a duration; {how}")
    if seconds > LONGEST:
        raise ValueError(f"{value!r} is more than a year; give fewer seconds, or 0 for none")
    return seconds


def parse_size(value: object) -> int:
    """Bytes as an int, from a whole number or a text such as `65536`, `64k`, `1m`, `1.5GiB`; k, m, g, t are of 1024."""
    how = "give bytes, or a text like 64k, 1m, 2g"
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip().lower())
        if not match:
            raise ValueError(f"{value!r} is not a size; {how}")
        number, unit = match.groups()
        if "." in number:
            exact = float(number) * _SIZE_UNITS[unit]
            if exact != int(exact):
                raise ValueError(f"{value!r} is not a whole number of bytes; {how}")
            size = int(exact)
        else:
            size = _whole(number) * _SIZE_UNITS[unit]
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        raise ValueError(f"{value!r} is not a size; {how}")
    if size < 0:
        raise ValueError(f"{value!r} is negative; {how}")
    if size > LARGEST:
        raise ValueError(f"{value!r} is too large; the most is 4194304t")
    return size


def parse_rate(value: object) -> int:
    """Bytes a second as an int: a size, with or without `/s`."""
    try:
        return parse_size(value.strip().removesuffix("/s") if isinstance(value, str) else value)
    except ValueError:
        raise ValueError(f"{value!r} is not a rate; give bytes a second, or a text like 500, 2k, 0 for none") from None


def parse_count(value: object) -> int:
    """A whole number from 0 on."""
    how = "give a whole number"
    if isinstance(value, str):
        text = value.strip()
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"{value!r} is not a number from 0 on; {how}")
        number = _whole(text)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise ValueError(f"{value!r} is not a number from 0 on; {how}")
    if number < 0:
        raise ValueError(f"{value!r} is negative; {how}, 0 or more")
    if number > MOST:
        raise ValueError(f"{value!r} is too large; the most is {MOST}")
    return number


def _whole(digits: str) -> int:
    """The number, or one that is too large for every setting where there are too many digits to bother."""
    return int(digits) if len(digits) <= 30 else 1 << 100


def parse_bool(value: object) -> bool:
    """True or False, from a bool or one of yes/no, on/off, true/false, 1/0."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, (str, int)) else ""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"{value!r} is neither yes nor no; give yes or no")


def parse_text(value: object) -> str:
    """A text that is not empty, without NUL, which no path and no line can hold."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is not a text; give one that is not empty")
    if "\0" in value:
        raise ValueError(f"{value!r} has a NUL character in it; leave it out")
    return value.strip()


def parse_choice(value: object) -> str:
    """One word out of several; upper and lower case are the same."""
    return parse_text(value).lower()


def parse_file(value: object) -> str | None:
    """The name of a file, `-` for the standard stream, or None for none: off/no/False/None; on/yes/True is `-`."""
    if value is None or value is False or str(value).strip().lower() in _FALSE:
        return None
    if value is True or str(value).strip().lower() in _TRUE:
        return "-"
    return parse_text(value)


def parse_header(value: object) -> str | None:
    """A field value to send, or None for none: a text, off/no/False/None, or on/yes/True for the server's own name."""
    if value is None or value is False or str(value).strip().lower() in _FALSE:
        return None
    if value is True or str(value).strip().lower() in _TRUE:
        return "greenhttp"
    if not isinstance(value, str) or not value.strip() or not (value.isascii() and value.isprintable()):
        raise ValueError(f"{value!r} cannot be sent; give printable ASCII, or off")
    return value.strip()


def parse_target(value: object) -> str | None:
    """The path of a request as it is sent, or None for none: a text that begins with /, off/no/False/None."""
    if value is None or value is False or str(value).strip().lower() in _FALSE:
        return None
    if not isinstance(value, str) or not _PATH.fullmatch(value.strip()):
        raise ValueError(f"{value!r} is no path; give one like /healthz, without a query, or off")
    return value.strip()


def parse_optional(value: object) -> str | None:
    """A text, or None for none: off/no/False/None."""
    if value is None or value is False or str(value).strip().lower() in ("", "off", "no", "none", "false"):
        return None
    return parse_text(str(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def parse_workers(value: object) -> int | str:
    """A whole number from 0 on, or `auto`."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    try:
        return parse_count(value)
    except ValueError as error:
        raise ValueError(str(error).replace("give a whole number", "give a whole number, or auto")) from None


def parse_mode(value: object) -> int | None:
    """Permissions as a number, from octal digits or a number; None for off/no/False/None."""
    if value is None or value is False or str(value).strip().lower() in ("", "off", "no", "none", "false"):
        return None
    if isinstance(value, str) and re.fullmatch(r"(0o?)?[0-7]{1,4}", value.strip().lower()):
        value = int(value.strip().lower().replace("o", ""), 8)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 0o7777:
        raise ValueError(f"{value!r} is not a mode; give octal digits like 660")
    return value


def parse_names(value: object) -> tuple[str, ...]:
    """A tuple of texts, from a list or a text with commas; empty entries are left out, repeated ones kept once."""
    parts: list[str] = []
    for entry in (value,) if isinstance(value, str) else _entries(value):
        parts.extend(part.strip() for part in _text(entry).split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def _text(entry: object) -> str:
    if not isinstance(entry, str):
        raise ValueError(f"{entry!r} is not a text; give a list of texts, or one text with commas")
    if "\0" in entry:
        raise ValueError(f"{entry!r} has a NUL character in it; leave it out")
    return entry


def _entries(value: object) -> Iterator[object]:
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise ValueError(f"{value!r} is not a list; give a list of texts, or one text with commas")
    return iter(sorted(value) if isinstance(value, (set, frozenset)) else value)


def parse_addresses(value: object) -> tuple[str, ...]:
    """A tuple of at least one address, from a list or a text with commas; in a list a comma belongs to the path.

    What an address looks like is `green.listener`'s business.
    """
    if isinstance(value, str):
        value = value.split(",")
    texts = [_text(entry).strip() for entry in _entries(value)]
    addresses = tuple(dict.fromkeys(text for text in texts if text))
    if not addresses:
        raise ValueError("no address; give one like 127.0.0.1:8000 or unix:/run/app.sock")
    return addresses


def parse_pairs(value: object) -> tuple[str, ...]:
    """A tuple of texts NAME=VALUE, from one, a list of them, or a mapping; the last one of a name counts.

    What is wrong is not quoted: it may be a secret.
    """
    if isinstance(value, Mapping):
        value = [f"{name}={text}" for name, text in value.items()]
    pairs: dict[str, str] = {}
    for entry in (value,) if isinstance(value, str) else _entries(value):
        name, equals, text = entry.partition("=") if isinstance(entry, str) else ("", "", "")
        if not name.strip() or not equals or "\0" in name + text:
            raise ValueError("an entry, not shown here, is not an assignment; give NAME=VALUE")
        pairs[name.strip()] = text
    return tuple(f"{name}={text}" for name, text in pairs.items())


def parse_fields(value: object) -> tuple[str, ...]:
    """A tuple of texts name=value, from one, a list of them, or a mapping of field names to values; `off` for none."""
    if value is None or value is False or isinstance(value, str) and value.strip().lower() in ("", *_FALSE):
        return ()
    fields: dict[str, str] = {}
    for pair in parse_pairs(value):
        name, _, text = pair.partition("=")
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not a field name; give names like X-Forwarded-Proto")
        if not (text.isascii() and text.isprintable()) or text != text.strip():
            raise ValueError(f"{text!r} cannot be a field's value; give printable ASCII, no space around it")
        fields[name.lower()] = text
    return tuple(f"{name}={text}" for name, text in fields.items())


KINDS: dict[str, Callable[[object], Any]] = {
    "duration": parse_duration,
    "size": parse_size,
    "rate": parse_rate,
    "count": parse_count,
    "bool": parse_bool,
    "text": parse_text,
    "path": parse_text,
    "choice": parse_choice,
    "file": parse_file,
    "header": parse_header,
    "target": parse_target,
    "optional": parse_optional,
    "workers": parse_workers,
    "mode": parse_mode,
    "names": parse_names,
    "addresses": parse_addresses,
    "pairs": parse_pairs,
    "fields": parse_fields,
}
LISTS = ("names", "addresses", "pairs", "fields")  # kinds that keep several texts

# ---- checks: each takes the value its kind has produced and returns the one to keep, or raises ValueError


def _at_least(least: int, why: str = "", most: int = LARGEST) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value < least:
            raise ValueError(f"{value} is too small; give {least} or more" + (f" ({why})" if why else ""))
        if value > most:
            raise ValueError(f"{value} is too large; give {most} or less")
        return value

    return check


def _not_too_many(value: int | str) -> int | str:
    if value != "auto" and int(value) > 1000:
        raise ValueError(f"{value} is too large; give 1000 or less")
    return value


def _one_of(*choices: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is not known; give {', '.join(choices[:-1])} or {choices[-1]}")
        return value

    return check


def _field_names(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not a field name; give names like X_Forwarded_For")
    return tuple(dict.fromkeys(name.lower() for name in value))


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    from ipaddress import ip_network  # only for this: it is no small module

    for text in value:
        try:
            if text != "*":
                ip_network(text)
        except ValueError as error:
            raise ValueError(f"{error}; give addresses like 10.0.0.1, networks like 10.0.0.0/8, or *") from None
    return value


def _methods(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if name not in ("CONNECT", "TRACE"):
            raise ValueError(f"{name!r} cannot be allowed here; only CONNECT and TRACE need it, in capitals")
    return value


# ---- the table


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: the Python name, also the attribute of `Settings`; `GREENHTTP_<NAME>` in the environment.
        kind: a key of `KINDS`: how a value is read.
        default: the value as kept, or as a person would type it; None where it is derived from others.
        unit: what a number counts, for people: "seconds", "bytes", "bytes/s"; "" where there is none.
        help: one or two sentences: what it bounds, and what happens beyond it.
        group: the heading it stands under in the help.
        flags: command line names, its own among them; other servers' names where they mean the same. The long ones,
            with `_` for `-`, are also names in a file of settings.
        check: called with the value of the right kind; returns the one to keep or raises ValueError.
        switches: flags that take no value, each with the value it stands for.
    """

    name: str
    kind: str
    default: Any
    unit: str
    help: str
    group: str
    flags: tuple[str, ...]
    check: Callable[[Any], Any] | None = None
    switches: tuple[tuple[str, str], ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"GREENHTTP_{self.name.upper()}"

    @property
    def flag(self) -> str:
        """Its own long name on the command line; the other flags are short for it, or other servers' names."""
        return "--" + self.name.replace("_", "-")

    def parse(self, value: object) -> Any:
        """The value to keep.

        Raises:
            ValueError: "what is wrong; what to do", without the setting's name.
        """
        if self.default is None and (value is None or str(value).strip().lower() == "auto"):
            return None
        kept = KINDS[self.kind](value)
        return kept if self.check is None else self.check(kept)

    def typed(self, value: Any) -> str | int | bool | list[str]:
        """A kept value as a person would type it; `parse` makes the same of it again."""
        if value is None:
            return "auto" if self.default is None else "off"
        if self.kind == "mode":
            return f"{value:03o}"
        if self.kind == "duration":
            return _typed_duration(value)
        if self.kind == "size":
            return _typed_size(value)
        return list(value) if self.kind in LISTS else value


def _typed_duration(seconds: float) -> str:
    if 0 < seconds < 1 and (seconds * 1000).is_integer():
        return f"{seconds * 1000:.0f}ms"
    return f"{Decimal(repr(seconds)):f}".removesuffix(".0") + "s" if seconds else "0"


def _typed_size(size: int) -> str:
    unit = 0
    while size and size % 1024 == 0 and unit < 4:
        size, unit = size // 1024, unit + 1
    return f"{size}{' kmgt'[unit]}".strip()


def nearest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean NAME?` for the most similar of the names, or nothing."""
    near = difflib.get_close_matches(name, list(names), 1, cutoff)
    return f"; did you mean {near[0]}?" if near else ""


_SERVE, _APP, _WORK, _LIMITS, _TIME = "Serving", "The application", "Work", "Limits", "Time"
_PROCESSES = "Processes"
_ANSWERS, _LOGS = "Requests and answers", "Logs"

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "bind", "addresses", "127.0.0.1:8000", "",
        "Where to listen: host:port, :port (every IPv4 address), [::]:port, unix:/path or fd://N. May be repeated.",
        _SERVE, ("-b", "--bind", "--listen"),
    ),
    Setting(
        "socket_mode", "mode", "off", "",
        "Permissions of a UNIX socket's file, like 660. off: what the umask leaves.",
        _SERVE, ("--socket-mode", "--uds-permissions", "--unix-socket-perms"),
    ),
    Setting(
        "socket_owner", "optional", "off", "",
        "Who is to have that file: user:group, user or :group. off: who --user and --group name.",
        _SERVE, ("--socket-owner", "--chown-socket"),
    ),
    Setting(
        "reuse_port", "bool", False, "",
        "Let other programs that say the same listen on the same port (SO_REUSEPORT). The workers of one share its"
        " queue in any case.",
        _SERVE, ("--reuse-port",),
    ),
    Setting(
        "backlog", "count", 2048, "connections",
        "Connections the kernel holds until they are accepted, per address. The kernel's own limit may be lower.",
        _SERVE, ("--backlog",), _at_least(1),
    ),
    Setting(
        "loop", "choice", "auto", "",
        "The event loop: auto, libev or libuv.",
        _SERVE, ("--loop",), _one_of("auto", "libev", "libuv"),
    ),
    Setting(
        "interface", "choice", "auto", "",
        "What the application speaks: wsgi, native, stream, or auto: wsgi or native, told from its signature.",
        _APP, ("--interface",), _one_of("auto", "wsgi", "native", "stream"),
    ),
    Setting(
        "patch", "bool", True, "",
        "Make the standard library's sockets, sleeps and locks cooperative (gevent) before the application is loaded.",
        _APP, ("--patch",),
    ),
    Setting(
        "chdir", "path", ".", "",
        "The directory to go to first.",
        _APP, ("--chdir", "--working-dir"),
    ),
    Setting(
        "pythonpath", "names", (), "",
        "Directories to look for modules in, before the current one. Commas between.",
        _APP, ("--pythonpath", "--app-dir"),
    ),
    Setting(
        "env", "pairs", (), "",
        "NAME=VALUE for the environment of the application. May be repeated.",
        _APP, ("-e", "--env", "--raw-env"),
    ),
    Setting(
        "warm_up", "optional", "off", "",
        "module:function, called in each process after the application is loaded, before it says that it is ready.",
        _APP, ("--warm-up",),
    ),
    Setting(
        "concurrency", "count", 1000, "requests",
        "Requests that run at the same time. More wait in the queue; idle connections do not count.",
        _WORK, ("--concurrency", "--limit-concurrency", "--backpressure"), _at_least(1, "", MOST_RUNNING),
    ),
    Setting(
        "queue", "count", None, "requests",
        "Requests that may wait for their turn; beyond it 503 at once. 0: none waits. Default: --concurrency.",
        _WORK, ("--queue",),
    ),
    Setting(
        "queue_timeout", "duration", 10.0, "seconds",
        "The longest wait for a turn; then 503.",
        _WORK, ("--queue-timeout",),
    ),
    Setting(
        "offload_threads", "count", 16, "threads",
        "Calls that `greenhttp.offload` makes on threads at the same time; more wait.",
        _WORK, ("--offload-threads",), _at_least(1),
    ),
    Setting(
        "offload_processes", "count", 0, "processes",
        "The same for `process=True`, in processes of each worker. 0: one for each processor.",
        _WORK, ("--offload-processes",),
    ),
    Setting(
        "health_path", "target", "off", "",
        "Requests for exactly this path, such as /healthz, never wait in the queue: without content, they run although"
        " --concurrency others do. off: none.",
        _WORK, ("--health-path",),
    ),
    Setting(
        "context", "choice", "request", "",
        "Where context variables live: request: each starts with an empty context; thread: with what earlier requests"
        " in its green thread have left, values of other people among it.",
        _WORK, ("--context",), _one_of("request", "thread"),
    ),
    Setting(
        "connections", "count", None, "connections",
        "Open connections, idle ones included. Beyond it the longest idle one is closed to make room."
        f" Default: the file limit less {DESCRIPTORS_KEPT}.",
        _WORK, ("--connections", "--worker-connections", "--connection-limit"), _at_least(1),
    ),
    Setting(
        "workers", "workers", 0, "processes",
        "Processes that serve, under a supervisor that replaces them, or auto: one for each processor. 0: this process"
        " serves alone, unless another setting under this heading asks for a supervisor.",
        _PROCESSES, ("-w", "--workers"), _not_too_many,
    ),
    Setting(
        "preload", "bool", False, "",
        "Load the application once, before the workers are forked, which then share its memory.",
        _PROCESSES, ("--preload", "--preload-app"),
    ),
    Setting(
        "max_requests", "count", 0, "requests",
        "Replace a worker after that many. 0: never.",
        _PROCESSES, ("--max-requests", "--limit-max-requests"),
    ),
    Setting(
        "max_requests_jitter", "count", 0, "requests",
        "Up to so many are added to --max-requests, for each worker by chance, so that not all leave together.",
        _PROCESSES, ("--max-requests-jitter", "--limit-max-requests-jitter"),
    ),
    Setting(
        "max_rss", "size", 0, "bytes",
        "Replace a worker that has more resident memory. 0: never.",
        _PROCESSES, ("--max-rss",),
    ),
    Setting(
        "max_age", "duration", 0.0, "seconds",
        "Replace a worker after that time, less up to a tenth by chance. 0: never.",
        _PROCESSES, ("--max-age", "--workers-lifetime"),
    ),
    Setting(
        "timeout", "duration", 30.0, "seconds",
        "A worker whose loop does not turn for so long says where it is, is killed and replaced. 0: never.",
        _PROCESSES, ("-t", "--timeout", "--timeout-worker-healthcheck"),
    ),
    Setting(
        "boot_timeout", "duration", 300.0, "seconds",
        "A worker that is not ready by then is killed. 0: as long as it takes.",
        _PROCESSES, ("--boot-timeout",),
    ),
    Setting(
        "reload", "bool", False, "",
        "Replace the workers when a file changes that the application may be made of; for development.",
        _PROCESSES, ("--reload",),
    ),
    Setting(
        "reload_dirs", "names", ".", "",
        "What is watched then: directories, with all below them, and files.",
        _PROCESSES, ("--reload-dirs", "--reload-dir", "--reload-paths", "--reload-extra-file"),
    ),
    Setting(
        "pid", "optional", "off", "",
        "The file to write the supervisor's process number to.",
        _PROCESSES, ("-p", "--pid", "--pidfile", "--pid-file"),
    ),
    Setting(
        "user", "optional", "off", "",
        "The user to become, after the addresses are bound.",
        _PROCESSES, ("-u", "--user"),
    ),
    Setting(
        "group", "optional", "off", "",
        "The group to become; with --user the default is the user's.",
        _PROCESSES, ("-g", "--group"),
    ),
    Setting(
        "umask", "mode", "off", "",
        "The umask of the workers, like 027. off: as it was.",
        _PROCESSES, ("-m", "--umask"),
    ),
    Setting(
        "limit_request_line", "size", 8 << 10, "bytes",
        "Request line; beyond it 414.",
        _LIMITS, ("--limit-request-line",), _at_least(64, "a line like GET / HTTP/1.1 must fit", LARGEST_HEAD),
    ),
    Setting(
        "limit_request_head", "size", 64 << 10, "bytes",
        "All fields of a request together, without the request line; beyond it 431.",
        _LIMITS, ("--limit-request-head", "--max-request-header-size"),
        _at_least(256, "a Host field must fit", LARGEST_HEAD),
    ),
    Setting(
        "limit_request_fields", "count", 100, "fields",
        "Fields of a request; beyond it 431.",
        _LIMITS, ("--limit-request-fields",), _at_least(1, "HTTP/1.1 requires Host", LARGEST_HEAD),
    ),
    Setting(
        "limit_request_body", "size", 1 << 30, "bytes",
        "Request content; beyond it 413, before any is read where the length is announced. 0: requests have none.",
        _LIMITS, ("--limit-request-body", "--max-request-body-size"),
    ),
    Setting(
        "limit_chunk_extensions", "size", 4 << 10, "bytes",
        "Chunk extensions of one request together; beyond it 400.",
        _LIMITS, ("--limit-chunk-extensions",),
    ),
    Setting(
        "limit_trailers", "size", 8 << 10, "bytes",
        "Trailer fields of one request together; beyond it 431.",
        _LIMITS, ("--limit-trailers",),
    ),
    Setting(
        "limit_pipeline", "size", 64 << 10, "bytes",
        "Read ahead on one connection while a request runs; beyond it reading stops until there is room.",
        _LIMITS, ("--limit-pipeline",), _at_least(16 << 10, "that much is received at once"),
    ),
    Setting(
        "limit_buffers", "size", 256 << 20, "bytes",
        "Unfinished heads and read-ahead of all connections together; beyond it the largest goes (431 or close).",
        _LIMITS, ("--limit-buffers",),
    ),
    Setting(
        "header_timeout", "duration", 10.0, "seconds",
        "To the end of a request head, total: from accept for the first, then from the head's first byte; then 408.",
        _TIME, ("--header-timeout", "--read-timeout"),
    ),
    Setting(
        "keepalive_timeout", "duration", 75.0, "seconds",
        "Idle between two requests; then close. Keep it longer than the load balancer's (often 60 s).",
        _TIME, ("--keepalive-timeout", "--keep-alive", "--keepalive", "--timeout-keep-alive", "--channel-timeout"),
    ),
    Setting(
        "body_timeout", "duration", 30.0, "seconds",
        "Silence of the client while the application waits for content; then its read raises, 408.",
        _TIME, ("--body-timeout",),
    ),
    Setting(
        "body_min_rate", "rate", 500, "bytes/s",
        "Slowest content accepted, on average after --min-rate-after; 0: any.",
        _TIME, ("--body-min-rate",),
    ),
    Setting(
        "write_timeout", "duration", 60.0, "seconds",
        "A client that reads nothing while bytes wait for it; then abort.",
        _TIME, ("--write-timeout",),
    ),
    Setting(
        "write_min_rate", "rate", 500, "bytes/s",
        "Slowest reading accepted while bytes wait, on average after --min-rate-after; 0: any.",
        _TIME, ("--write-min-rate",),
    ),
    Setting(
        "min_rate_after", "duration", 10.0, "seconds",
        "How long a transfer runs before its rate is judged. 0: from the start.",
        _TIME, ("--min-rate-after",),
    ),
    Setting(
        "request_timeout", "duration", 0.0, "seconds",
        "One request in the application; then RequestTimeout is raised in it, 503. 0: no limit.",
        _TIME, ("--request-timeout",),
    ),
    Setting(
        "linger_timeout", "duration", 2.0, "seconds",
        "Reading on after the last answer, so that the client sees it instead of a reset. 0: close at once.",
        _TIME, ("--linger-timeout",),
    ),
    Setting(
        "graceful_timeout", "duration", 30.0, "seconds",
        "How long running requests may take to finish, on TERM and in a worker that is replaced. 0: none of them may.",
        _TIME, ("--graceful-timeout", "--timeout-graceful-shutdown", "--workers-kill-timeout"),
    ),
    Setting(
        "drain_linger", "duration", 2.0, "seconds",
        "When a process stops: idle connections are closed in the course of so many seconds, the longest idle first;"
        " requests on them are answered meanwhile. 0: all at once.",
        _TIME, ("--drain-linger",),
    ),
    Setting(
        "hub_warn", "duration", 0.5, "seconds",
        "A call that blocks the whole process for longer is logged, with its stack. 0: never.",
        _TIME, ("--hub-warn",),
    ),
    Setting(
        "debug", "bool", False, "",
        "Answer an error of the application with its traceback. Never where strangers can see it.",
        _ANSWERS, ("--debug",),
    ),
    Setting(
        "server_header", "header", "greenhttp", "",
        "Text of the Server field of answers, or off.",
        _ANSWERS, ("--server-header",), None, (("--no-server-header", "off"),),
    ),
    Setting(
        "allow_headers", "names", (), "",
        "Request fields to let through that are dropped otherwise: names with _ in them, and Proxy. Commas between.",
        _ANSWERS, ("--allow-headers",), _field_names,
    ),
    Setting(
        "forwarded_allow_ips", "names", "127.0.0.1,::1", "",
        "Addresses and networks of the proxies in front that may say by --secure-scheme-headers that a request came by"
        " https; *: everybody. Who connects over a UNIX socket always may. Commas between.",
        _ANSWERS, ("--forwarded-allow-ips",), _networks,
    ),
    Setting(
        "secure_scheme_headers", "fields",
        ("x-forwarded-protocol=ssl", "x-forwarded-proto=https", "x-forwarded-ssl=on"), "",
        "Request fields, each with the value that means https; 400 where they disagree. off: none.",
        _ANSWERS, ("--secure-scheme-headers",),
    ),
    Setting(
        "allow_methods", "names", (), "",
        "Methods to let through that are answered 501 otherwise: CONNECT, TRACE.",
        _ANSWERS, ("--allow-methods",), _methods,
    ),
    Setting(
        "access_logfile", "file", "off", "",
        "A line for each request goes to this file; - is stdout.",
        _LOGS, ("--access-logfile", "--accesslog"), None, (("--access-log", "-"), ("--no-access-log", "off")),
    ),
    Setting(
        "access_log_format", "text", "combined", "",
        "common, combined, json, or a text with atoms like %(h)s %(r)s %(s)s.",
        _LOGS, ("--access-log-format", "--access-logformat", "--access-log-fmt"),
    ),
    Setting(
        "error_logfile", "path", "-", "",
        "Where everything else is logged; - is stderr.",
        _LOGS, ("--error-logfile", "--errorlog", "--log-file"),
    ),
    Setting(
        "log_level", "choice", "info", "",
        "The least that is logged: debug, info, warning, error or critical.",
        _LOGS, ("--log-level", "--loglevel"), _one_of("debug", "info", "warning", "error", "critical"),
    ),
)  # fmt: skip

SUPERVISED = tuple(setting.name for setting in SETTINGS if setting.group == _PROCESSES)  # ask for a supervisor
# What a Server cannot do; `workers` and `timeout` are facts about it too.
OF_THE_COMMAND = frozenset(SUPERVISED) - {"workers", "timeout"} | {"chdir", "env", "pythonpath", "warm_up"}

BY_NAME: dict[str, Setting] = {setting.name: setting for setting in SETTINGS}


class Settings:
    """Values for every setting, checked; they do not change afterwards.

    `Settings(header_timeout="5s").header_timeout` is 5.0; what is not given has its default. Each setting is an
    attribute: durations are floats in seconds, sizes ints in bytes, rates ints in bytes a second, lists tuples of str.
    `connections` and `queue` are None until `resolved` has filled them in.

    Raises:
        ConfigError: an unknown name (the nearest is named), or a wrong value ("setting: what is wrong; what to do").
    """

    __slots__ = tuple(BY_NAME)

    if TYPE_CHECKING:  # the names stand in SETTINGS alone

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, **values: object) -> None:
        for name in values:
            if name not in BY_NAME:
                raise ConfigError(f"{name}: there is no such setting{nearest(name, BY_NAME)}")
        for setting in SETTINGS:
            try:
                value = setting.parse(values.get(setting.name, setting.default))
            except ValueError as error:
                raise ConfigError(f"{setting.name}: {error}") from None
            object.__setattr__(self, setting.name, value)
        # The line and the fields are counted apart, so neither limit bounds the other; but one whole head must fit.
        head = self.limit_request_line + self.limit_request_head
        if self.limit_buffers < max(head, self.limit_pipeline):
            raise ConfigError(
                f"limit_buffers: {self.limit_buffers} bytes cannot hold one request head or the read-ahead"
                f" of one connection; give {max(head, self.limit_pipeline)} or more"
            )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings do not change; make others with replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("settings do not change")

    def replace(self, **values: object) -> "Settings":
        """A copy in which `values` are different. Raises ConfigError like the constructor."""
        return Settings(**{**self.as_dict(), **values})

    def resolved(self, file_limit: int) -> "Settings":
        """A copy in which nothing is None: `queue` and `connections` are filled in.

        Arguments:
            file_limit: the soft RLIMIT_NOFILE, in descriptors; negative for "no limit" (RLIM_INFINITY).
        """
        return self.replace(
            queue=self.concurrency if self.queue is None else self.queue,
            connections=connections_for(file_limit) if self.connections is None else self.connections,
        )

    def as_dict(self) -> dict[str, Any]:
        """Name to value, in the order of `SETTINGS`; `Settings(**d)` makes an equal one."""
        return {name: getattr(self, name) for name in BY_NAME}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self.as_dict() == other.as_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.as_dict().values()))

    def __repr__(self) -> str:
        """Only what differs from the defaults."""
        changed = (f"{n}={v!r}" for n, v in self.as_dict().items() if v != BY_NAME[n].parse(BY_NAME[n].default))
        return f"Settings({', '.join(changed)})"


def connections_for(file_limit: int) -> int:
    """How many connections a process may hold under this file limit (negative: none); at least 64."""
    if file_limit < 0 or file_limit - DESCRIPTORS_KEPT > 1_000_000:  # containers often say "a billion"
        return 1_000_000
    return max(FEWEST_CONNECTIONS, file_limit - DESCRIPTORS_KEPT)
