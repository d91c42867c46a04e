"""Lines to say of settings that can be, and that somebody may not have meant.

    remarks(settings, won)      of all that were given somewhere
    open_lists(settings)        of lists of proxies that let everybody in, also where nobody reads the others

A setting that has no effect is named only if it was given, and is not the default: a file may have them all.
"""

from collections.abc import Iterator

from greenhttp.errors import ConfigError
from greenhttp.settings.address import parse_address
from greenhttp.settings.peers import EVERYBODY, UNIX, parse_network
from greenhttp.settings.sources import Source, named
from greenhttp.settings.table import BY_NAME
from greenhttp.settings.values import Settings

TRUSTED, ALLOWED = "forwarded_allow_ips", "proxy_allow_from"
WITHOUT_PROTOCOL = (ALLOWED, "proxy_timeout")  # what has no effect without `proxy_protocol`
OF_X_FORWARDED = ("forwarded_host", "secure_scheme_headers")
OF_TLS = ("keyfile_password", "ca_certs", "cert_reqs", "tls_min", "ciphers", "tls_timeout", "https_redirect")
OF_TRUSTED = ("forwarded_field", *OF_X_FORWARDED, "root_path_header")  # what has none where nobody is trusted


def remarks(settings: Settings, won: Source) -> list[str]:
    """A line for each.

    Arguments:
        won: what `sources.settled` has returned with them.
    """
    names = {name: named(name, given.origin) for name, given in won.items()}
    return [*open_lists(settings, names), *_over_unix(settings, names), *_idle(settings, won, names),
            *_tls(settings, won, names), *_dropped(settings, names), *_interfaces(settings, names)]  # fmt: skip


def open_lists(settings: Settings, names: dict[str, str] | None = None) -> Iterator[str]:
    """Lists that let any client say who it is.

    Arguments:
        names: what each setting that was given is called; None: by its name.
    """
    protocol = settings.proxy_protocol != "off"
    if settings.forwarded_field != "none" and settings.interface != "stream":
        for text in _everybody(settings.forwarded_allow_ips):
            name = TRUSTED if names is None else names.get(TRUSTED, TRUSTED)
            yield f"{name}: {text} lets any client forge its address and scheme; name the proxies instead"
    if protocol:
        for text in _everybody(settings.proxy_allow_from):
            name = ALLOWED if names is None else names.get(ALLOWED, ALLOWED)
            yield f"{name}: {text} lets any client forge its address by a PROXY header; name the proxies instead"


def _everybody(texts: list[str]) -> Iterator[str]:
    for text in texts:
        network = parse_network(text)
        if text == EVERYBODY or (network is not None and network.bits == 0):
            yield text


def _over_unix(settings: Settings, names: dict[str, str]) -> Iterator[str]:
    sockets = [text for text in settings.bind if text.removeprefix("https://").removeprefix("http://")[:5] == "unix:"]
    if not sockets:
        return
    trusted, allowed = settings.forwarded_allow_ips, settings.proxy_allow_from
    if settings.proxy_protocol != "off" and UNIX not in allowed and EVERYBODY not in allowed:
        name = names.get(ALLOWED, names.get("proxy_protocol", ALLOWED))
        yield f"{name}: nobody can connect to {sockets[0]}; add unix to {BY_NAME[ALLOWED].flag}"
    if TRUSTED in names and trusted and UNIX not in trusted and EVERYBODY not in trusted:
        yield f"{names[TRUSTED]}: a proxy that connects to {sockets[0]} is not trusted; add unix to the list"


def _idle(settings: Settings, won: Source, names: dict[str, str]) -> Iterator[str]:
    """What was given, is not the default, and has no effect."""
    if settings.proxy_protocol == "off":
        protocol = won.get("proxy_protocol")
        for name in _changed(settings, won, WITHOUT_PROTOCOL):
            if protocol is None or won[name].origin != protocol.origin:  # else it was derived: a file of gunicorn's
                yield f"{names[name]}: no effect without {BY_NAME['proxy_protocol'].flag}"
    for name in _changed(settings, won, OF_TRUSTED):
        if name in OF_X_FORWARDED and settings.forwarded_field != "x-forwarded":
            yield f"{names[name]}: no effect with {BY_NAME['forwarded_field'].flag} {settings.forwarded_field}"
        elif not settings.forwarded_allow_ips:
            yield f"{names[name]}: no effect, since {BY_NAME[TRUSTED].flag} is empty"


def _tls(settings: Settings, won: Source, names: dict[str, str]) -> Iterator[str]:
    """What has no effect on TLS, and a password that others see."""
    certfile = BY_NAME["certfile"].flag
    given = list(_changed(settings, won, OF_TLS))
    secret = "keyfile_password"
    if secret in given and names[secret].startswith("--") and not settings.keyfile_password.startswith("file:"):
        variable = BY_NAME[secret].variable
        yield f"{names[secret]}: other users can see it on the command line; give file:/path, or {variable}"
    if not settings.certfile:
        for name in given:
            refused = name == "https_redirect" or (name, settings.cert_reqs) == ("cert_reqs", "required")
            if not refused:
                yield f"{names[name]}: no effect without {certfile}"
        return
    schemes = [parse_address(text).scheme for text in settings.bind if _is_address(text)]
    if schemes and all(scheme == "http" for scheme in schemes):
        yield f"{names.get('certfile', 'certfile')}: no effect, since every address of --bind begins with http://"
    if "ca_certs" in given and settings.cert_reqs == "none":
        yield f"{names['ca_certs']}: no effect without {BY_NAME['cert_reqs'].flag} optional or required"
    if "ciphers" in given and settings.tls_min == "1.3":
        yield f"{names['ciphers']}: no effect with {BY_NAME['tls_min'].flag} 1.3, whose cipher suites are OpenSSL's"
    if "https_redirect" in given and "http" not in schemes:
        yield f"{names['https_redirect']}: no effect without an address like http://:80 in --bind"


def _is_address(text: str) -> bool:
    try:
        return bool(parse_address(text))
    except ConfigError:  # it is told later
        return False


def _changed(settings: Settings, won: Source, names: tuple[str, ...]) -> Iterator[str]:
    usual = Settings()
    for name in names:
        value = getattr(settings, name)
        if name in won and value not in (getattr(usual, name), (), "none"):  # the last two take something away
            yield name


def _dropped(settings: Settings, names: dict[str, str]) -> Iterator[str]:
    """Fields that are dropped from requests before anybody looks at them."""
    schemes = [pair.partition("=")[0] for pair in settings.secure_scheme_headers]
    for name, fields in (
        ("root_path_header", [settings.root_path_header]),
        ("request_id_header", [settings.request_id_header]),
        ("secure_scheme_headers", schemes),
    ):
        for field in fields:
            if name in names and field and "_" in field and field.lower() not in settings.allow_headers:
                yield f"{names[name]}: {field} is dropped, as names with _ are; write - or give --allow-headers {field}"


def _interfaces(settings: Settings, names: dict[str, str]) -> Iterator[str]:
    """Interfaces that are not there: an entry with one of these matches nobody."""
    for name in (TRUSTED, ALLOWED) if settings.proxy_protocol != "off" else (TRUSTED,):
        for text in getattr(settings, name) if name in names else ():
            network = parse_network(text)
            if network is not None and network.zone and not _is_interface(network.zone):
                yield f"{names[name]}: {text}: there is no interface {network.zone} on this machine"


def _is_interface(zone: str) -> bool:
    from _socket import if_indextoname, if_nametoindex  # socket itself must come after the patch

    try:
        return bool(if_indextoname(int(zone)) if zone.isdigit() else if_nametoindex(zone))
    except (OSError, OverflowError, ValueError):
        return False
