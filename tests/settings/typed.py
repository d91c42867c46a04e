"""Writes greenhttp/settings/typed.py from the table of settings: `python -m tests.settings.typed`."""

from pathlib import Path

from greenhttp.program.running import TOO_LATE
from greenhttp.settings.kinds import KINDS
from greenhttp.settings.table import OF_THE_COMMAND, SETTINGS, Setting

PATH = Path(__file__).parent.parent.parent / "greenhttp" / "settings" / "typed.py"

START = '''"""The settings as types, for type checkers: which names serve, serve_stream and Server take, with what.

Generated from `table` by `python -m tests.settings.typed`; a test compares. What a value means is told by
`greenhttp --help`, and what is wrong with one by ConfigError: a text is a text here, whatever stands in it.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypedDict

Off: TypeAlias = Literal[False] | None
Texts: TypeAlias = str | list[str] | tuple[str, ...] | set[str] | frozenset[str]
'''

TYPES = {
    "duration": "float | str",
    "size": "int | str",
    "rate": "int | str",
    "count": "int | str",
    "bool": "bool | str",
    "text": "str",
    "path": "str",
    "choice": "str",
    "word": "str | float",
    "file": "str | bool | None",
    "header": "str | bool | None",
    "target": "str | Off",
    "prefix": "str | Off",
    "optional": "str | int | None",
    "field": "str | Off",
    "workers": "int | str",
    "mode": "str | int | None",
    "names": "Texts",
    "addresses": "Texts",
    "paths": "str | list[str] | tuple[str, ...] | Off",
    "secret": "str | Off",
    "pairs": "Texts | Mapping[str, str]",
    "fields": "Texts | Mapping[str, str] | Off",
    "json": "str | Mapping[str, Any]",
}
assert TYPES.keys() == KINDS.keys(), "a new kind of setting needs a type here"

NOT_FOR_SERVE = {"bind"} | TOO_LATE - OF_THE_COMMAND  # `bind` is an argument by itself there
NOT_FOR_STREAMS = {"interface"}

CLASSES = (
    ("StreamSettings", "TypedDict", "What serve_stream takes, beside `bind`."),
    ("ServeSettings", "StreamSettings", "What serve takes, beside `bind`."),
    ("ServerSettings", "ServeSettings", "What Server takes, and what greenhttp.testing does."),
)


def house_of(setting: Setting) -> str | None:
    """The class in which a setting stands; None: only the command takes it."""
    if setting.name in OF_THE_COMMAND:
        return None
    if setting.name in NOT_FOR_SERVE:
        return "ServerSettings"
    return "ServeSettings" if setting.name in NOT_FOR_STREAMS else "StreamSettings"


def line_of(setting: Setting) -> str:
    kind = TYPES[setting.kind] + (" | None" if setting.default is None else "")
    return f"    {setting.name}: {kind}" + (f"  # {setting.unit}" if setting.unit else "")


def text() -> str:
    blocks = [START]
    for name, base, what in CLASSES:
        lines = [line_of(setting) for setting in SETTINGS if house_of(setting) == name]
        blocks.append("\n".join([f"class {name}({base}, total=False):", f'    """{what}"""', "", *lines, ""]))
    return "\n\n".join(blocks)


if __name__ == "__main__":
    PATH.write_text(text())
