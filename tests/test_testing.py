"""greenhttp/testing.py."""

from __future__ import annotations

import pytest

from greenhttp.testing import every_split


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", [[]]),
        (b"a", [[b"a"]]),
        (b"abc", [[b"abc"], [b"a", b"b", b"c"], [b"a", b"bc"], [b"ab", b"c"]]),
    ],
)
def test_every_split_gives_whole_bytewise_and_every_cut(data: bytes, expected: list[list[bytes]]) -> None:
    assert list(every_split(data)) == expected
