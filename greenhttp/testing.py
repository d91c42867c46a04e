"""Helpers for tests of greenhttp and of applications that speak bytes. Public: kept stable like the rest."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["every_split"]


def every_split(data: bytes) -> Iterator[list[bytes]]:
    """All the ways to cut `data` that find what depends on how bytes arrive.

    Yields lists of non-empty pieces which join to `data`: it whole; byte by byte; and in two parts, cut at every
    position. A parser is right when all of them lead to the same end:

        for pieces in every_split(request):
            assert parse(pieces) == expected

    That is len(data) + 1 lists for two or more bytes. For no bytes it is the one empty list.
    """
    if not data:
        yield []
        return
    yield [data]
    if len(data) == 1:
        return
    yield [data[i : i + 1] for i in range(len(data))]
    for cut in range(1, len(data)):
        yield [data[:cut], data[cut:]]
