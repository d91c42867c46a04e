"""http/values.py: names to values, where a name may come more than once."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from greenhttp.http.values import Values

PAIRS = [("a", "1"), ("b", "2"), ("a", "3"), ("", "4")]


def test_a_name_has_its_first_value_and_get_all_has_every_one() -> None:
    values = Values(PAIRS)
    assert values["a"] == values.get("a") == "1"
    assert (values.get_all("a"), values.get_all("b"), values.get_all("c")) == (["1", "3"], ["2"], [])
    assert values[""] == "4"


def test_a_name_that_did_not_come() -> None:
    values = Values(PAIRS)
    assert (values.get("c"), values.get("c", 7), "c" in values) == (None, 7, False)
    with pytest.raises(KeyError, match="c"):
        _ = values["c"]


def test_it_is_a_mapping_of_names_in_the_order_they_came() -> None:
    values = Values(PAIRS)
    assert isinstance(values, Mapping)
    assert (list(values), len(values)) == (["a", "b", ""], 3)
    assert dict(values) == {"a": "1", "b": "2", "": "4"}
    assert list(values.items()) == [("a", "1"), ("b", "2"), ("", "4")]
    assert values == {"a": "1", "b": "2", "": "4"}
    assert values.pairs == tuple(PAIRS)


def test_it_does_not_change() -> None:
    pairs = list(PAIRS)
    values = Values(pairs)
    pairs.clear()
    assert len(values.pairs) == 4
    with pytest.raises(TypeError):
        values["a"] = "5"  # type: ignore[index]
    with pytest.raises(AttributeError):
        values.other = 1  # type: ignore[attr-defined]


def test_empty() -> None:
    values: Values[str] = Values()
    assert (dict(values), values.pairs, bool(values), values.get_all("a")) == ({}, (), False, [])


def test_its_repr_shows_every_pair() -> None:
    assert repr(Values(PAIRS[:2])) == "Values([('a', '1'), ('b', '2')])"
