"""Users and groups by name or number, for settings that name them. A user's mistake raises ConfigError."""

import grp
import os
import pwd

from greenhttp.errors import ConfigError

NOBODY_AT_ALL = 2**32 - 1  # (uid_t)-1: to setresuid(2) and chown(2) it means "leave it"


def user_id(text: str, setting: str = "user") -> int:
    """The number of a user. Raises ConfigError, which names the setting."""
    if text.isascii() and text.isdigit() and int(text) < NOBODY_AT_ALL:
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):  # ValueError: a zero byte
        raise ConfigError(f"{setting}: there is no user {text!r}; give an existing user name, or a number") from None


def group_id(text: str, setting: str = "group") -> int:
    """The number of a group. Raises ConfigError, which names the setting."""
    if text.isascii() and text.isdigit() and int(text) < NOBODY_AT_ALL:
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        raise ConfigError(f"{setting}: there is no group {text!r}; give an existing group name, or a number") from None


def owner_ids(text: str, setting: str) -> tuple[int, int]:
    """User and group of `user:group`, `user` or `:group`, as chown(2) takes them; -1: not named. Raises ConfigError."""
    user, colon, group = text.partition(":")
    if not user and not group:
        raise ConfigError(f"{setting}: {text!r} has no user and no group; give user:group, user or :group")
    if colon and not group:
        raise ConfigError(f"{setting}: {text!r} has no group after the colon; give user:group, user or :group")
    return user_id(user, setting) if user else -1, group_id(group, setting) if group else -1


def is_privileged() -> bool:
    """Whether this process may have rights beyond its user's: it is root, or has capabilities (capabilities(7))."""
    if os.geteuid() == 0:
        return True
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return any(line.startswith("CapEff:") and int(line.split()[1], 16) != 0 for line in file)
    except OSError:  # no Linux
        return False
