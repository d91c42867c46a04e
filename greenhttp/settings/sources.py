"""Where settings come from, and which source wins.

    default < PORT, WEB_CONCURRENCY, FORWARDED_ALLOW_IPS, SCRIPT_NAME < the file < GREENHTTP_<NAME> < the command line

A source is a `Source`: raw values by the setting's name, each with its origin as a person would call it (`--flag`,
`GREENHTTP_NAME`, `file:line`). Only the values that win are read, so a command line can replace what is wrong, or not
there yet, in a file. The application's name, `app`, and the names of a file's hooks travel with them; they are no
settings.

Where to listen is one question: the last source that says anything about it (bind, host, port, uds, fd) answers it.
Only a host without a port, or a port without a host, is completed from the sources before.

SCRIPT_NAME among the variables that are set for the application (`env`) counts as if it had come from outside.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from greenhttp.errors import ConfigError
from greenhttp.settings.table import BY_NAME, SETTINGS, alias, nearest
from greenhttp.settings.values import Settings

APP = "app"
HOOKS = "hooks"  # a tuple of names, see program/hooks.py
PLACES = ("host", "port", "uds", "fd")  # other servers' parts of an address; they become addresses of `bind`


class Given(NamedTuple):
    """A value as it was given, and where."""

    value: Any
    origin: str


Source = dict[str, Given]

TRUSTED = "FORWARDED_ALLOW_IPS"
SCRIPT = "SCRIPT_NAME"

PLATFORM = {"PORT": "port", "WEB_CONCURRENCY": "workers", TRUSTED: "forwarded_allow_ips", SCRIPT: "root_path"}


def from_platform(environ: Mapping[str, str]) -> Source:
    """PORT, WEB_CONCURRENCY, FORWARDED_ALLOW_IPS and SCRIPT_NAME, as platforms set them.

    An empty variable is none, but that of whom to trust then says: nobody.
    """
    given = {key: environ[key] for key in PLATFORM if key in environ and (key == TRUSTED or environ[key].strip())}
    return {PLATFORM[key]: Given(text, key) for key, text in given.items()}


def from_environment(environ: Mapping[str, str]) -> Source:
    """GREENHTTP_<NAME>; an empty variable is none, but a certificate's is a mistake: it would be http in plain text."""
    variables = {setting.name: setting.variable for setting in SETTINGS}
    return {
        name: Given(environ[key], key)
        for name, key in variables.items()
        if environ.get(key) or name == "certfile" and key in environ
    }


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """A line for each variable that was probably meant for us. Others, like those Kubernetes makes up, are not ours."""
    known = [setting.variable for setting in SETTINGS] + ["GREENHTTP_CONFIG"]
    lines = []
    for name in sorted(name for name in environ if name.startswith("GREENHTTP_") and name not in known):
        if setting := alias(name.removeprefix("GREENHTTP_").lower()):
            lines.append(f"{name} is ignored; did you mean {BY_NAME[setting].variable}?")
        elif near := nearest(name, known, cutoff=0.9):
            lines.append(f"{name} is ignored{near}")
    return lines


def _addresses(sources: Sequence[Source]) -> Given | None:
    """What all sources together say for `bind`. Raises ConfigError for a part that counts and cannot be."""
    saying = [source for source in sources if not source.keys().isdisjoint(("bind", *PLACES))]
    last = saying[-1] if saying else {}
    if last.keys().isdisjoint(PLACES):
        return last.get("bind")
    used: list[Given] = []
    addresses: list[str] = []
    if bind := last.get("bind"):
        used.append(bind)
        addresses.extend(_parsed("bind", bind))
    if "host" in last or "port" in last:
        host, port = (next((s[name] for s in reversed(sources) if name in s), None) for name in ("host", "port"))
        used.extend(part for part in (host, port) if part)
        addresses.append(_address(host, port))
    for place, scheme in (("uds", "unix:"), ("fd", "fd://")):
        if place in last:
            used.append(last[place])
            addresses.append(f"{scheme}{last[place].value}")
    return Given(addresses, ", ".join(part.origin for part in used))


def _address(host: Given | None, port: Given | None) -> str:
    """A port alone is that of 127.0.0.1, but PORT that of every address: a platform's router must reach it."""
    name = _host(host) if host else "0.0.0.0" if port and port.origin == "PORT" else "127.0.0.1"
    number = _port(port) if port else 8000
    return f"[{name}]:{number}" if ":" in name else f"{name}:{number}"


def _host(given: Given) -> str:
    name = str(given.value).strip()
    name = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    if not name or name.count(":") == 1 or any(c in ",/[]" or c.isspace() or not c.isprintable() for c in name):
        said = f"{given.value!r} is not a host; give one name or IP address, or use --bind"
        raise ConfigError(f"{named('host', given.origin)}: {said}")
    return name


def _port(given: Given) -> int:
    text = str(given.value).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        said = f"{given.value!r} is not a port; give 0 to 65535, or use --bind"
        raise ConfigError(f"{named('port', given.origin)}: {said}")
    return int(text)


def _script_name(won: Source) -> Given | None:
    """SCRIPT_NAME among the variables for the application, where that counts; an empty one takes away that of outside.

    Raises ConfigError for variables that cannot be.
    """
    if "env" in won and ("root_path" not in won or won["root_path"].origin == SCRIPT):
        for pair in _parsed("env", won["env"]):
            name, _, value = pair.partition("=")
            if name == SCRIPT:
                origin = won["env"].origin
                return Given(value, f"{origin} {SCRIPT}" if _tells_name(origin) else f"{origin}: env: {SCRIPT}")
    return None


def settled(*sources: Source) -> tuple[Settings, Source]:
    """The settings, and what was given for them where; a later source wins.

    Raises ConfigError, a line for each value that is wrong, naming the origin.
    """
    won: Source = {}
    for source in sources:
        won.update((name, given) for name, given in source.items() if name not in PLACES)
    if where := _addresses(sources):
        won["bind"] = where
    values, wrong = {}, []
    with suppress(ConfigError):  # which is said below
        if given := _script_name(won):
            won["root_path"] = given
    if "root_path" in won and _is_script_name(won["root_path"]) and not str(won["root_path"].value).strip():
        del won["root_path"]
    for name, given in won.items():
        if name in BY_NAME:
            try:
                values[name] = _parsed(name, given)
            except ConfigError as error:
                wrong.append(str(error))
    if wrong:
        raise ConfigError("\n".join(wrong))
    return Settings(**values), won


def _parsed(name: str, given: Given) -> Any:
    try:
        if _is_script_name(given) and not str(given.value).startswith("/"):  # like `off`, which is for flags
            raise ValueError(f"{given.value!r} is not a path prefix; give one like /below")
        return BY_NAME[name].parse(given.value)
    except ValueError as error:
        if _is_script_name(given):
            why = str(error).removesuffix(", or off")  # which is for flags
            raise ConfigError(f"{given.origin}: {why}; or give --root-path, which wins") from None
        bare = BY_NAME[name].bare
        how = f"; before the application, write {given.origin}={bare}" if bare and given.origin.startswith("--") else ""
        raise ConfigError(f"{named(name, given.origin)}: {error}{how}") from None


def _is_script_name(given: Given) -> bool:
    return given.origin.endswith(SCRIPT)


def named(name: str, origin: str) -> str:
    """The origin alone where it contains the name, as a flag and a variable do; a place in a file does not."""
    return origin if _tells_name(origin) else f"{origin}: {name}"


def _tells_name(origin: str) -> bool:
    return origin.startswith("--") or origin.isupper()
