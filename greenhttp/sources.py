"""Where settings come from, and which source wins.

    default < PORT, WEB_CONCURRENCY < the file < GREENHTTP_<NAME> < the command line

A source is a `Source`: raw values by the setting's name, each with its origin as a person would call it (`--flag`,
`GREENHTTP_NAME`, `file:line`). Only the values that win are read, so a command line can replace what is wrong, or not
there yet, in a file. The application's name, `app`, travels with them; it is no setting.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from greenhttp.config import BY_NAME, SETTINGS, Settings, nearest
from greenhttp.errors import ConfigError

APP = "app"
PLACES = ("host", "port", "uds", "fd")  # other servers' parts of an address; they become addresses of `bind`


class Given(NamedTuple):
    """A value as it was given, and where."""

    value: Any
    origin: str


Source = dict[str, Given]


def from_platform(environ: Mapping[str, str]) -> Source:
    """PORT and WEB_CONCURRENCY, as platforms set them. Raises ConfigError."""
    found: Source = {}
    if port := environ.get("PORT"):
        found["bind"] = Given(f"0.0.0.0:{_port('PORT', port)}", "PORT")
    if workers := environ.get("WEB_CONCURRENCY"):
        found["workers"] = Given(workers, "WEB_CONCURRENCY")
    return found


def from_environment(environ: Mapping[str, str]) -> Source:
    """GREENHTTP_<NAME>; an empty variable is none."""
    variables = {setting.name: setting.variable for setting in SETTINGS}
    return {name: Given(environ[key], key) for name, key in variables.items() if environ.get(key)}


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """A line for each variable that was probably meant for us. Others, like those Kubernetes makes up, are not ours."""
    known = [setting.variable for setting in SETTINGS] + ["GREENHTTP_CONFIG"]
    unknown = sorted(name for name in environ if name.startswith("GREENHTTP_") and name not in known)
    return [f"{name} is ignored{near}" for name in unknown if (near := nearest(name, known, cutoff=0.9))]


def gather_addresses(source: Source, environ: Mapping[str, str]) -> None:
    """Turn host, port, uds and fd of one source into addresses of its `bind`. Raises ConfigError.

    A host without a port takes PORT's, else 8000; a port without a host is that of 127.0.0.1.
    """
    parts = {name: source.pop(name) for name in PLACES if name in source}
    if not parts:
        return
    addresses: list[Any] = []
    if "bind" in source:
        value = source["bind"].value
        addresses.extend((value,) if isinstance(value, str) else value)
    host, port = parts.get("host"), parts.get("port")
    if host or port:
        name = str(host.value).strip("[]") if host else "127.0.0.1"
        number = _port(*reversed(port)) if port else _port("PORT", environ.get("PORT") or 8000)
        addresses.append(f"[{name}]:{number}" if ":" in name else f"{name}:{number}")
    if "uds" in parts:
        addresses.append(f"unix:{parts['uds'].value}")
    if "fd" in parts:
        addresses.append(f"fd://{parts['fd'].value}")
    origins = [given.origin for given in (*([source["bind"]] if "bind" in source else ()), *parts.values())]
    source["bind"] = Given(addresses, ", ".join(origins))


def _port(origin: str, value: object) -> int:
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ConfigError(f"{origin}: {value!r} is not a port; give 0 to 65535, or use --bind")
    return int(text)


def settled(*sources: Source) -> tuple[Settings, Source]:
    """The settings, and what was given for them where; a later source wins. Raises ConfigError, naming the origin."""
    won: Source = {}
    for source in sources:
        won.update(source)
    values: dict[str, Any] = {}
    for name, given in won.items():
        if name == APP:
            continue
        try:
            values[name] = BY_NAME[name].parse(given.value)
        except ValueError as error:
            raise ConfigError(f"{_named(name, given.origin)}: {error}") from None
    return Settings(**values), won


def _named(name: str, origin: str) -> str:
    """The origin alone where it contains the name, as a flag and a variable do; a place in a file does not."""
    return origin if origin.startswith("--") or origin.isupper() else f"{origin}: {name}"
