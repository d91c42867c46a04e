"""What can be found wrong before anything serves: what needs files, sockets or users to be told.

Imports nothing that the patch would come too late for: all else is imported inside functions.
"""

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from greenhttp.errors import ConfigError
from greenhttp.settings.values import Settings

if TYPE_CHECKING:
    from greenhttp.server import Server
    from greenhttp.settings.address import Address


EVERY = "0.0.0.0" if sys.platform.startswith("linux") else ""  # on BSD it may have a port beside one of its addresses


def check_settings(settings: Settings) -> None:
    """What is misspelt is said before a long import. Raises ConfigError."""
    from greenhttp.logs.config import read
    from greenhttp.observe.atoms import parse
    from greenhttp.process.accounts import group_id, owner_ids, user_id
    from greenhttp.settings.address import check_tls, parse_address

    addresses = [parse_address(text) for text in settings.bind]
    check_tls(settings, bool(settings.certfile), addresses)
    taken: dict[Address, Address] = {}
    for address in addresses:  # http:// and https:// of one port, say
        other = taken.setdefault(address.place, address)
        if other is not address and not (address.kind == "tcp" and (address.port == 0 or settings.reuse_port)):
            raise ConfigError(f"{address}: {other} in the same bind takes it already; leave one of them out")
    if settings.user is not None:
        user_id(settings.user)
    if settings.group is not None:
        group_id(settings.group)
    if settings.socket_owner is not None:
        owner_ids(settings.socket_owner, "socket_owner")
    parse(settings.access_log_format)
    read(settings)
    for path in settings.pythonpath:
        if not _is_there(path):
            raise ConfigError(f"pythonpath: {path}: there is no such directory or archive")


def check_certificates(settings: Settings, started: bool = False) -> list[tuple[str, bool]]:
    """A line for each certificate: what it is for, who has issued it, until when; and whether there is a doubt.

    Arguments:
        started: whether somebody serves with them already, who may have read what this user may not.

    Raises ConfigError for what nobody could serve with.
    """
    if not settings.certfile:
        return []
    import time

    from greenhttp.tls.files import Unreadable
    from greenhttp.tls.material import read

    try:
        material = read(settings)
    except Unreadable as error:
        if started:
            return [(str(error), True)]
        raise
    now = time.time()
    return [
        (described.told(pair.certfile, now), described.doubt(now) != "") for pair, described in material.described()
    ]


def _is_there(path: str) -> bool:
    """Whether Python could import from it: a directory, an archive, or a directory in an archive."""
    while path and not os.path.exists(path):
        path = os.path.dirname(path)
        if os.path.isdir(path):
            return False
    return bool(path)


def check_addresses(settings: Settings, addresses: "Iterable[Address]") -> None:
    """Whether all of these could be listened on; they may be in use by others. Raises ConfigError."""
    from greenhttp.green.listener import check

    taken: list[tuple[str, int, Address]] = []
    wanted = list(addresses)
    for address in wanted:
        host, port = check(address, socket_owner(settings), wanted)
        for other_host, other_port, other in taken:
            same = host == other_host or EVERY in (host, other_host) and ":" not in host + other_host
            if port == other_port and port != 0 and same and not (settings.reuse_port and port > 0):
                raise ConfigError(f"{address}: {other} in the same bind takes it already; leave one of them out")
        taken.append((host, port, address))


def check_files(server: "Server") -> None:
    """Whether the logs could be opened; makes no files. Raises ConfigError."""
    from greenhttp.hosting.interface import STREAM
    from greenhttp.logs import setup as logs

    logs.check("error_logfile", server.settings.error_logfile)
    if server.interface != STREAM:
        logs.check("access_logfile", server.settings.access_logfile)


def socket_owner(settings: Settings) -> str | None:
    """Who is to have the file of a Unix socket: by default the user and group that the workers run as."""
    user, group = settings.user, settings.group
    if settings.socket_owner is not None or (user, group) == (None, None):
        return settings.socket_owner  # type: ignore[no-any-return]
    return f"{user or ''}{f':{group}' if group is not None else ''}"
