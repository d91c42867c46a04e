"""The settings of one server: a value for each name of the table."""

from typing import TYPE_CHECKING, Any

from greenhttp.errors import ConfigError
from greenhttp.settings.table import BY_NAME, DESCRIPTORS_KEPT, SETTINGS, alias, nearest

FEWEST_CONNECTIONS = 64  # derived `connections` never falls below this, however small the file limit


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
                meant = f"; did you mean {alias(name)}?" if alias(name) else nearest(name, BY_NAME)
                raise ConfigError(f"{name}: there is no such setting{meant}")
        for setting in SETTINGS:
            try:
                value = setting.parse(values.get(setting.name, setting.default))
            except ValueError as error:
                raise ConfigError(f"{setting.name}: {error}") from None
            object.__setattr__(self, setting.name, value)
        # The line and the fields are counted apart, so neither limit bounds the other; but one whole head must fit.
        if self.keyfile and not self.certfile:
            raise ConfigError("keyfile: a key needs its certificate; give certfile too")
        head = self.limit_request_line + self.limit_request_head
        if self.limit_buffers < max(head, self.limit_pipeline):
            raise ConfigError(
                f"limit_buffers: {self.limit_buffers} bytes cannot hold one request head or the read-ahead"
                f" of one connection; give {max(head, self.limit_pipeline)} or more"
            )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings are read-only; make a changed copy with replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("settings are read-only")

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
        """Only what differs from the defaults, and no secret."""
        values = ((n, v) for n, v in self.as_dict().items() if v != BY_NAME[n].parse(BY_NAME[n].default))
        changed = (f"{n}={v!r}" if BY_NAME[n].kind != "secret" else f"{n}=***" for n, v in values)
        return f"Settings({', '.join(changed)})"


def connections_for(file_limit: int) -> int:
    """How many connections a process may hold under this file limit (negative: none); at least 64."""
    if file_limit < 0 or file_limit - DESCRIPTORS_KEPT > 1_000_000:  # containers often say "a billion"
        return 1_000_000
    return max(FEWEST_CONNECTIONS, file_limit - DESCRIPTORS_KEPT)
