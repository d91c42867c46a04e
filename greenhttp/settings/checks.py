"""What a setting's value must be beyond its kind.

Each check takes the value that its kind has produced, and returns the one to keep or raises ValueError("what is wrong;
what to do").
"""

import re
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Any

from greenhttp.settings.kinds import LARGEST, TOKEN, refuse_pem
from greenhttp.settings.peers import parse_network


def at_least(least: int, why: str = "", most: int = LARGEST) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value < least:
            raise ValueError(f"{value} is too small; give {least} or more" + (f" ({why})" if why else ""))
        if value > most:
            raise ValueError(f"{value} is too large; give {most} or less")
        return value

    return check


def not_too_many(value: int | str) -> int | str:
    if value != "auto" and int(value) > 1000:
        raise ValueError(f"{value} is too large; give 1000 or less")
    return value


def one_of(*choices: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is not known; give {', '.join(choices[:-1])} or {choices[-1]}")
        return value

    return check


def field_names(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if not TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not a field name; give names like X_Forwarded_For")
    return tuple(dict.fromkeys(name.lower() for name in value))


def networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for text in value:
        parse_network(text)
    return value


def methods(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if name not in ("CONNECT", "TRACE"):
            raise ValueError(f"{name!r} is not a method to allow here; give CONNECT or TRACE, in capitals")
    return value


def root_path_header(value: str | None) -> str | None:
    return _field_name(value, "X-Forwarded-Prefix")


def request_id_header(value: str | None) -> str | None:
    if value is not None and value.lower() in _OURS:
        raise ValueError(f"{value} is set by the server itself; give a name like X-Request-Id, or off")
    return _field_name(value, "X-Request-Id")


def _field_name(value: str | None, like: str) -> str | None:
    if value is not None and not TOKEN.fullmatch(value):
        raise ValueError(f"{value!r} is not a field name; give a name like {like}, or off")
    if value is not None and (value.lower() in _OURS or _MEANT.fullmatch(value.lower())):
        raise ValueError(f"{value} has a meaning of its own; give a name like {like}, or off")
    return value


_OURS = {  # fields of an answer that tell how it is framed or whose it is
    "connection", "content-length", "date", "keep-alive", "proxy-connection", "server", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
_MEANT = re.compile(  # fields of a request or an answer that others read (RFC 9110 to 9112, 6265, 6797, 7239, 9651)
    r"host|expect|from|referer|user-agent|origin|range|prefer|priority|cookie2?|set-cookie2?|via|max-forwards|warning"
    r"|(?:proxy-|www-)?(?:authorization|authenticate|authentication-info)|proxy|upgrade.*|pragma|cache-control|age|expires|vary|etag|last-modified|location"
    r"|retry-after|allow|refresh|link|alt-svc|server-timing|strict-transport-security|x-frame-options"
    r"|(?:accept|content|if|sec|access-control|x-content)-.*|accept"
    r"|forwarded|x-forwarded-(?:for|proto|protocol|ssl|scheme|host|port)|x-real-ip|x-http-method-override"
)
_HOST = re.compile(r"\.?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\*")


def hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or len(value) == 1 and value[0].lower() in ("off", "no", "none", "false"):
        return ("*",)
    return tuple(dict.fromkeys(_host(text) for text in value))


def _host(text: str) -> str:
    """In the form that is compared: small letters, no dot at the end, IPv6 addresses as short as can be."""
    name = text.lower().removesuffix(".")
    if name.startswith("[") and name.endswith("]") and "%" not in name:
        try:
            return f"[{IPv6Address(name[1:-1]).compressed}]"
        except ValueError:
            pass
    elif _HOST.fullmatch(name):
        return name
    if not name.isascii():  # which of the forms a browser sends depends on its version of IDNA
        how = "write it as it is sent, in the xn-- form"
    elif name.startswith("*."):
        how = f"give {name[1:]} for all below it"
    else:
        how = "give names like example.com, .example.com or [::1], without a port"
    raise ValueError(f"{text!r} is not a host; {how}")


def pem_file(value: str | None) -> str | None:
    refuse_pem(value)
    return value


def cert_reqs(value: str) -> str:
    """The word, from the numbers and names that the module ssl and other servers have for it."""
    words = {"0": "none", "1": "optional", "2": "required", "off": "none", "no": "none", "false": "none"}
    word = value.removeprefix("verifymode.").removeprefix("cert_")
    return one_of("none", "optional", "required")(words.get(word, word))


def tls_min(value: str) -> str:
    """The number, from the names that other servers have for it: TLSv1.2, tls1.2, TLSv1_2."""
    number = value.removeprefix("tls").removeprefix("v").replace("_", ".")
    if number in ("1.0", "1.1", "1", "ssl3", "sslv3"):
        raise ValueError(f"{value} is not safe any more (RFC 8996); give 1.2 or 1.3")
    return one_of("1.2", "1.3")(number)


def proxy_protocol(value: str) -> str:
    words = {"auto": "any", "true": "any", "yes": "any", "on": "any", "false": "off", "no": "off"}  # gunicorn's too
    return one_of("off", "v1", "v2", "any")(words.get(value, value))
