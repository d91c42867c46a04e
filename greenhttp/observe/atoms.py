"""A format of the access log, from its text to what an entry is made of.

Atoms are gunicorn's, `%(h)s`, and mean the same; `%%` is a percent sign. What an environ says by name, in any case, is
taken from the request itself where that tells it, `%({REMOTE_ADDR}e)s`: only for other names the environ is kept.
"""

import difflib
import json
import re
from typing import NamedTuple

from greenhttp.errors import ConfigError

COMMON = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s'
NAMED = {"common": COMMON, "combined": f'{COMMON} "%(f)s" "%(a)s"'}
JSON = "json"

ATOMS = {  # name -> what people may have called it instead
    "h": "host address peer remote_addr client",
    "l": "logname",
    "u": "user remote_user",
    "t": "time date",
    "r": "request request_line",
    "s": "status code",
    "b": "size length",
    "B": "bytes content_length sent",
    "f": "referer referrer",
    "a": "agent user_agent",
    "m": "method",
    "U": "path url uri",
    "q": "query query_string",
    "H": "protocol version",
    "T": "seconds request_time",
    "M": "milliseconds",
    "D": "duration microseconds",
    "L": "decimal_seconds",
    "p": "pid process",
    "c": "cut",
    "id": "request_id x_request_id",
}
FIELDS = {"f": "referer", "a": "user-agent"}
ENVIRON = {  # key -> atom; HTTP_* and CONTENT_* are request fields
    "REMOTE_ADDR": "h",
    "REMOTE_PORT": "port",
    "REQUEST_METHOD": "m",
    "RAW_URI": "target",
    "PATH_INFO": "U",
    "QUERY_STRING": "q",
    "SERVER_PROTOCOL": "H",
    "SSL_PROTOCOL": "tls",
}
KEYS = {  # of json -> what stands there
    "time": "iso",
    "peer": "h",
    "method": "m",
    "target": "target",
    "version": "H",
    "tls": "tls",
    "status": "s",
    "bytes": "B",
    "duration": "L",
    "complete": "complete",
    "cut": "c",
    "referer": "f",
    "user_agent": "a",
    "request_id": "id",
}
_ALIASES = {alias: atom for atom, aliases in ATOMS.items() for alias in aliases.split()}
_ATOM = re.compile(r"%(?:%|\(([^)]*)\)(.?)|(.?))", re.DOTALL)
_NAMED_ATOM = re.compile(r"\{([^}]*)\}([ioe])")


class Step(NamedTuple):
    """One part of an entry.

    Attributes:
        atom: a name of `ATOMS`, "port", "target", "tls", "iso", "complete", "i" (request field), "o" (response field),
            "e" (what an environ says), or "text".
        text: the text itself, the field's name in lower case, or a name in the environ; "" for the other atoms.
    """

    atom: str
    text: str = ""


def parse(form: str) -> list[Step]:
    """The steps of a format: "common", "combined", "json", or a text with atoms.

    Raises ConfigError for an atom that does not exist, naming the nearest, and for a text in which there is none.
    """
    if form == JSON:
        return _json()
    text = NAMED.get(form, form)
    if not all(character.isprintable() or character == "\t" for character in text):
        raise _wrong(f"{form!r} has a control character; give a text of one line")
    steps: list[Step] = []
    end = 0
    for match in _ATOM.finditer(text):
        steps.append(Step("text", text[end : match.start()]))
        steps.append(_step(match))
        end = match.end()
    steps.append(Step("text", text[end:]))
    if all(step.atom == "text" for step in steps):
        near = difflib.get_close_matches(form.lower(), [*NAMED, JSON], 1)
        ways = "; give combined, common, json or atoms like %(h)s"
        raise _wrong(f"{form!r} has no atoms" + _meant(*near) + ways)
    return _joined(steps)


def _json() -> list[Step]:
    steps: list[Step] = []
    for key, atom in KEYS.items():
        steps.append(Step("text", ("," if steps else "{") + json.dumps(key) + ":"))
        steps.append(Step("i", FIELDS[atom]) if atom in FIELDS else Step(atom))
    return [*steps, Step("text", "}")]


def _step(match: re.Match[str]) -> Step:
    name, kind, bare = match.groups()
    if match[0] == "%%":
        return Step("text", "%")
    if name is None:  # Apache's way of saying it
        near = [bare] if bare in ATOMS else []
        raise _wrong(f"{match[0]!r} is not an atom" + _meant(*near) + "; write a percent sign as %%")
    if kind == "s":
        if name in FIELDS:
            return Step("i", FIELDS[name])
        if name in ATOMS:
            return Step(name)
        if named := _NAMED_ATOM.fullmatch(name):
            return _by_name(*named.groups())
    near = _nearest(name)
    there = "" if near else "; the atoms are " + " ".join(ATOMS)
    raise _wrong(f"there is no atom {match[0]}" + _meant(*near) + there)


def _by_name(name: str, kind: str) -> Step:
    if kind != "e":
        return Step(kind, name.lower())
    key = name.upper()
    if key in ENVIRON:
        return Step(ENVIRON[key])
    if key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        return Step("i", key.removeprefix("HTTP_").replace("_", "-").lower())
    return Step("e", name)


def _nearest(name: str) -> list[str]:
    if name in ATOMS:
        return [name]  # what is wrong is the letter behind it
    if name.startswith("{"):
        return ["{" + name[1:].partition("}")[0] + "}i"]
    near = difflib.get_close_matches(name.lower(), _ALIASES, 1)
    return [_ALIASES[near[0]]] if near else [atom for atom in (name[:1].swapcase(), name[:1]) if atom in ATOMS][:1]


def _meant(near: str = "") -> str:
    if near in (*NAMED, JSON):
        return f"; did you mean {near}?"
    return f"; did you mean %({near})s?" if near else ""


def _joined(steps: list[Step]) -> list[Step]:
    """Neighbouring texts as one."""
    joined: list[Step] = []
    for step in steps:
        if step.atom == "text" and joined and joined[-1].atom == "text":
            joined[-1] = Step("text", joined[-1].text + step.text)
        elif step != Step("text"):
            joined.append(step)
    return joined


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"access_log_format: {what}")
