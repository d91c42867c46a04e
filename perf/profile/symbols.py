"""Whose code it is, and what it is called. Pure."""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from perf.tools.results import Table

PACKAGES = {"greenhttp": "greenhttp", "gevent": "gevent, greenlet", "greenlet": "gevent, greenlet"}
LIBC = ("libc.", "libc-", "libpthread", "ld-linux", "ld-", "libm.", "librt", "[vdso]")
TOP = 25
"""Functions that are shown."""

Symbol = tuple[str, str]
"""(object, function) as the tools call them."""


def group(path: str) -> str:
    """kernel, CPython, greenhttp, "gevent, greenlet", libc or other, from the object that code is in."""
    name = PurePath(path).name
    if name.startswith(LIBC):
        return "libc"
    if path.startswith("[") and path != "[unknown]":
        return "kernel"  # [kernel.kallsyms], or one of its modules
    # From the file upwards: the project's own directory may be called like one of the packages, too.
    for folder in reversed(PurePath(path).parts[:-1]):
        if folder in PACKAGES:
            return PACKAGES[folder]
        if folder == "lib-dynload":
            return "CPython"
    return "CPython" if re.match(r"(lib)?python3?[.\d]*", name) else "other"


def readable(symbol: str) -> str:
    """Cython's names as they stand in the source: __pyx_f_9greenhttp_4wire_4head_parse -> greenhttp.wire.head.parse."""
    symbol = symbol.partition("@")[0]  # the version that glibc's symbols carry
    found = re.match(r"__pyx_(?:f|fuse_\d+|pf|pw|tp_\w+?|getprop|setprop|specialmethod_+pyx_pw)_(?=\d)", symbol)
    if not found:
        return symbol
    rest, parts = symbol[found.end() :], []
    while size := re.match(r"\d+", rest):
        end = size.end() + int(size[0])
        if end >= len(rest) or rest[end] != "_":
            break
        parts.append(rest[size.end() : end])
        rest = rest[end + 1 :]
    # The last part has no length; a method that Python can see has its number in the class.
    return ".".join([*parts, re.sub(r"^\d+_?(?=[a-zA-Z_])", "", rest)]) if parts else symbol


def tables(costs: Mapping[Symbol, float], unit: str, per_request: float | None, title: str) -> list[Table]:
    """Self costs by group and by function, as shares and, where the sum `per_request` is known, in units."""
    total = sum(costs.values())
    if not total:
        return []

    def line(name: str, cost: float, *more: str) -> tuple[str, ...]:
        share = cost / total
        return (name, *more, f"{share:.1%}", *([f"{per_request * share:,.2f}"] if per_request else []))

    groups: dict[str, float] = {}
    for (path, _), cost in costs.items():
        groups[group(path)] = groups.get(group(path), 0) + cost
    head = ("share", *([f"{unit}/request"] if per_request else []))
    return [
        Table(f"{title}, by whose code it is", ("", *head), [line(*each) for each in _largest(groups.items())]),
        Table(
            f"{title}, by function (its own, without what it calls)",
            ("function", "of", *head),
            [
                line(readable(symbol)[:70], cost, group(path))
                for (path, symbol), cost in _largest(costs.items())[:TOP]
            ],
        ),
    ]  # fmt: skip


def _largest(costs: Iterable[tuple]) -> list[tuple]:
    return sorted(costs, key=lambda each: -each[1])
