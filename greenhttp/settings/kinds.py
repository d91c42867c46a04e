"""The kinds of settings: a value as given -> the value as kept.

A value may come as Python says it (`header_timeout=2.5`) or as a person types it (`"2s500ms"`, `"64k"`):

    kind        accepted                                            kept as
    duration    90, 1.5, "90", "90s", "1m30s", "250ms", "2h"        float, seconds
    size        65536, "65536", "64k", "1m", "1.5GiB" (of 1024)     int, bytes
    rate        like size, also "500/s"                             int, bytes a second
    count       100, "100"                                          int
    bool        True, "yes", "off", "1" ...                         bool
    text        "greenhttp"                                         str
    path        "logs/error.log", "-" where its help says so        str
    choice      "wsgi", "WSGI", False                               str, in lower case
    word        "required", 2, 1.2                                  str, in lower case
    file        "access.log", "-", "off", False                     str, or None for off
    header      "greenhttp", "off", False                           str, or None for off
    target      "/healthz", "off", False                            str, or None for off
    prefix      "/below", "/below/", "/", "", "off", False          str without the last /, or None for off
    optional    "www-data", "off", False                            str, or None for off
    field       "X-Request-Id", "off", False                        str, or None for off
    workers     4, "4", "auto"                                      int, or "auto"
    mode        "660", "0o660", 0o660, "off"                        int, or None for off
    names       ["A", "B"], "A, B"                                  tuple of str
    addresses   ["127.0.0.1:8000", "unix:/run/x,y.sock"], "a, b"    tuple of str; a list is not split at commas
    paths       ["a.pem", "b,c.pem"], "a.pem, b.pem", "off"         tuple of str; a list is not split at commas
    pairs       ["A=1", "B=2"], {"A": "1", "B": "2"}, "A=1"         tuple of str; commas belong to the value
    fields      like pairs, "off"                                   tuple of str, names in small letters
    secret      "open sesame", "file:/run/secrets/key", "off"       str, or None for off; shown nowhere
    json        {"version": 1}, '{"version": 1}', ""                 str, the JSON of an object; "" for none

A duration of 0 turns that time-out off, unless its help says otherwise. Limits are meant literally: 0 allows nothing.

Each `parse_*` raises ValueError("what is wrong; what to do").
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from greenhttp.settings.address import port_advice

LONGEST = 366 * 86400.0  # seconds. A longer time-out is a slip, and timers must be able to hold the value
LARGEST = 1 << 62  # bytes. Sizes are signed 64-bit numbers in the compiled modules, with room for one addition
MOST = (1 << 31) - 1  # counts are C ints there
MOST_RUNNING = 1 << 20  # requests; each has a line of 128 bytes on a worker's board
LARGEST_HEAD = 1 << 30  # bytes, fields. The head parser keeps offsets into line and fields in 32 bits

_DURATION = re.compile(
    r"(?:([0-9]+(?:\.[0-9]+)?)d)?(?:([0-9]+(?:\.[0-9]+)?)h)?(?:([0-9]+(?:\.[0-9]+)?)m(?!s))?"
    r"(?:([0-9]+(?:\.[0-9]+)?)s)?(?:([0-9]+(?:\.[0-9]+)?)ms)?"
)
_DURATION_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(?:([kmgt])(?:i?b)?|b)?")
_SIZE_UNITS = {None: 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_PATH = re.compile(r"/[!-\"$->@-~]*")  # neither # nor ?
_PREFIX = re.compile(r"(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]+)*/?")  # no escapes, no segments . and ..
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
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
    how = "give 0 or more"
    if isinstance(value, str):
        text = value.strip()
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"{value!r} is not a whole number; {how}")
        number = _whole(text)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise ValueError(f"{value!r} is not a whole number; {how}")
    if number < 0:
        raise ValueError(f"{value!r} is negative; {how}")
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
    """One word out of several; upper and lower case are the same. What was a switch once may be True or False.

    Nothing is a word too: the check of the setting says which there are.
    """
    if isinstance(value, str) and not value.strip():
        return ""
    return parse_text(str(value) if isinstance(value, bool) else value).lower()


def parse_word(value: object) -> str:
    """A choice among words that may look like numbers, and come as such: `tls_min = 1.2`, `ssl.CERT_REQUIRED`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(float(value)) if isinstance(value, float) else str(int(value))  # int: not the name of an enum's
    return parse_choice(value)


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
        raise ValueError(f"{value!r} is not a field value; give printable ASCII, or off")
    return value.strip()


def parse_target(value: object) -> str | None:
    """The path of a request as it is sent, or None for none: a text that begins with /, off/no/False/None."""
    if value is None or value is False or str(value).strip().lower() in _FALSE:
        return None
    if not isinstance(value, str) or not _PATH.fullmatch(value.strip()):
        raise ValueError(f"{value!r} is not a path; give one like /healthz, without a query, or off")
    return value.strip()


def parse_prefix(value: object) -> str | None:
    """What paths begin with, without a / at its end, or None for none: a text, off/no/False/None, nothing or /."""
    if value is None or value is False or str(value).strip().lower() in _FALSE:
        return None
    if not isinstance(value, str) or not _PREFIX.fullmatch(value.strip()):
        letters = "" if str(value).isascii() else ", in ASCII"
        raise ValueError(f"{value!r} is not a path prefix; give one like /below, without escapes{letters}, or off")
    return value.strip().removesuffix("/") or None


def parse_optional(value: object) -> str | None:
    """A text, or None for none: off/no/False/None."""
    if value is None or value is False or str(value).strip().lower() in ("", "off", "no", "none", "false"):
        return None
    return parse_text(str(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def parse_field(value: object) -> str | None:
    """The name of a field, or None for none: off/no/False/None. There is none that yes could mean."""
    if value is True or str(value).strip().lower() in _TRUE:
        raise ValueError(f"{value!r} is not a field name; give a name like X-Request-Id, or off")
    return parse_optional(value)


def parse_workers(value: object) -> int | str:
    """A whole number from 0 on, or `auto`."""
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    try:
        return parse_count(value)
    except ValueError as error:
        raise ValueError(str(error).replace("give 0 or more", "give 0 or more, or auto")) from None


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
    if isinstance(value, int):
        raise ValueError(f"{value} is only a number; " + port_advice(str(value), "'"))
    texts = [_text(entry).strip() for entry in _entries(value)]
    addresses = tuple(dict.fromkeys(text for text in texts if text))
    if not addresses:
        raise ValueError("no address; give one like 127.0.0.1:8000 or unix:/run/app.sock")
    return addresses


def refuse_pem(value: object) -> None:
    """Raise ValueError for what is no name of a file but its text: `keyfile="$(cat key.pem)"`. It is not quoted."""
    if isinstance(value, (bytes, bytearray)):
        value = value.decode("latin-1")
    if isinstance(value, str) and ("-----BEGIN" in value or "," not in value and "\n" in value.strip()):
        raise ValueError("this is the text of a PEM file; write it to a file and give its path")


def parse_paths(value: object) -> tuple[str, ...]:
    """A tuple of file names, from a list or a text with commas; none for off/no/False/None and for an empty list.

    In a list a comma belongs to the name. Names that are all empty are refused: a variable that is not set, say.
    """
    if value is None or value is False or str(value).strip().lower() in ("off", "no", "none", "false"):
        return ()
    refuse_pem(value)
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{value!r} is not a file name; give one, or a list of them")
    for entry in value:
        refuse_pem(entry)
    # The same may stand there twice: one key of two certificates.
    names = tuple(text for entry in value if (text := _text(entry).strip()))
    if value and not names:
        raise ValueError("empty; give a file, or leave it out")
    return names


def parse_secret(value: object) -> str | None:
    """A text, or None for none: off/no/False/None, nothing. What is wrong is not quoted."""
    if value is None or value is False or str(value).lower() in ("", "off", "no", "none", "false"):
        return None
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("it (not shown) is not a text, or has a NUL character in it; give the text, or file:/path")
    return value


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
            raise ValueError("an entry (not shown, it may be secret) is not NAME=VALUE; give NAME=VALUE")
        pairs[name.strip()] = text
    return tuple(f"{name}={text}" for name, text in pairs.items())


def parse_fields(value: object) -> tuple[str, ...]:
    """A tuple of texts name=value, from one, a list of them, or a mapping of field names to values; `off` for none."""
    if isinstance(value, list) and len(value) == 1:  # from the command line
        value = value[0]
    if value is None or value is False or isinstance(value, str) and value.strip().lower() in ("", *_FALSE):
        return ()
    fields: dict[str, str] = {}
    for pair in parse_pairs(value):
        name, _, text = pair.partition("=")
        if not TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not a field name; give names like X-Forwarded-Proto")
        if not (text.isascii() and text.isprintable()) or text != text.strip():
            raise ValueError(f"{text!r} is not a field value; give printable ASCII, no space around it")
        fields[name.lower()] = text
    return tuple(f"{name}={text}" for name, text in fields.items())


def parse_json(value: object) -> str:
    """The JSON text of an object, from a dict or from such a text; "" for nothing, and for an empty one."""
    how = "give an object, like {\"version\": 1}"
    if value is None or value == "":
        return ""
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"it is not JSON ({error}); {how}") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"{parsed!r} is not an object; {how}")
    try:
        return json.dumps(parsed) if parsed else ""
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{error}; give names of classes and streams as texts, like \"ext://sys.stderr\"") from None


KINDS: dict[str, Callable[[object], Any]] = {
    "duration": parse_duration,
    "size": parse_size,
    "rate": parse_rate,
    "count": parse_count,
    "bool": parse_bool,
    "text": parse_text,
    "path": parse_text,
    "choice": parse_choice,
    "word": parse_word,
    "file": parse_file,
    "header": parse_header,
    "target": parse_target,
    "prefix": parse_prefix,
    "optional": parse_optional,
    "field": parse_field,
    "workers": parse_workers,
    "mode": parse_mode,
    "names": parse_names,
    "addresses": parse_addresses,
    "paths": parse_paths,
    "pairs": parse_pairs,
    "secret": parse_secret,
    "json": parse_json,
    "fields": parse_fields,
}
LISTS = ("names", "addresses", "paths", "pairs", "fields")  # kinds that keep several texts
