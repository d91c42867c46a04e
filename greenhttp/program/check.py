"""What can be found wrong before anything serves: what needs files, sockets or users to be told.

Imports nothing that the patch would come too late for: all else is imported inside functions.
"""

from typing import TYPE_CHECKING

from greenhttp.settings.values import Settings

if TYPE_CHECKING:
    from greenhttp.server import Server


def check_settings(settings: Settings) -> None:
    """What is misspelt is said before a long import. Raises ConfigError."""
    from greenhttp.logs.config import read
    from greenhttp.observe.atoms import parse
    from greenhttp.process.accounts import group_id, owner_ids, user_id
    from greenhttp.settings.address import parse_address

    for text in settings.bind:
        parse_address(text)
    if settings.user is not None:
        user_id(settings.user)
    if settings.group is not None:
        group_id(settings.group)
    if settings.socket_owner is not None:
        owner_ids(settings.socket_owner, "socket_owner")
    parse(settings.access_log_format)
    read(settings)


def check_files(server: "Server") -> None:
    """Whether the logs could be opened; makes no files. Raises ConfigError."""
    from greenhttp.hosting.interface import STREAM
    from greenhttp.logs import setup as logs

    logs.check("error_logfile", server.settings.error_logfile)
    if server.interface != STREAM:
        logs.check("access_logfile", server.settings.access_logfile)
