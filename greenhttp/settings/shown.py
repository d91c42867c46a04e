"""Settings as TOML, for --print-config."""

from typing import Any

from greenhttp import __version__
from greenhttp.settings.console import paint
from greenhttp.settings.sources import APP, Source
from greenhttp.settings.table import SETTINGS, Setting
from greenhttp.settings.values import Settings


def as_toml(settings: Settings, origins: Source, colours: bool) -> str:
    """Every setting as a line of TOML, the origin as its comment, so that the output can be a file of settings.

    All but the values of `env`, `log_config_dict` and `keyfile_password`, where people keep secrets: the output is
    what they paste into a question.
    """
    rows = [("", APP, _toml(str(origins[APP].value)), origins[APP].origin)] if APP in origins else []
    for setting in SETTINGS:
        origin = origins[setting.name].origin if setting.name in origins else "default"
        rows.append((setting.group, *_shown(setting, getattr(settings, setting.name)), origin))
    names, values = max(len(row[1]) for row in rows), max(min(len(row[2]), 30) for row in rows)
    lines = [paint(f"# greenhttp {__version__}", "dim", on=colours)]
    heading = ""
    for group, name, value, origin in rows:
        if group != heading:
            lines.append(paint(f"\n# {group}", "bold", on=colours))
            heading = group
        comment = paint(f"# {origin}", *(["dim"] if origin == "default" else ["cyan"]), on=colours)
        lines.append(f"{name:{names}} = {value:{values}}  {comment}")
    return "\n".join(lines)


def changed(settings: Settings) -> str:
    """What differs from the defaults, in one line: `workers = 2, timeout = "60s"`. Secrets are hidden."""
    different = [
        f"{name} = {value}"
        for setting in SETTINGS
        if getattr(settings, setting.name) != setting.parse(setting.default)
        for name, value in [_shown(setting, getattr(settings, setting.name))]
    ]
    return ", ".join(entry.removeprefix("# ").partition("  # ")[0] for entry in different) or "all as by default"


def _shown(setting: Setting, value: Any) -> tuple[str, str]:
    """Name and value of a setting; what may be a secret is hidden, in a line that is not read again."""
    if setting.kind == "pairs" and value:
        hidden = [f"{pair.partition('=')[0]}=***" for pair in value]
        return f"# {setting.name}", f"{_toml(hidden)}  # values are not shown"
    secret = setting.kind == "secret" and value and (not value.startswith("file:") or "\n" in value)
    if setting.kind == "json" and value or secret:
        return f"# {setting.name}", '"***"  # it is not shown'
    return setting.name, _toml(setting.typed(value))


def _toml(value: str | int | bool | list[str]) -> str:
    """The value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
