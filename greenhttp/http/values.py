"""What a handler reads by name: query parameters and form fields, where a name may come more than once."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar, overload

T = TypeVar("T")
D = TypeVar("D")


class Values(Mapping[str, T]):
    """Names to values, in the order they came; a name that came more than once has several.

    A mapping of each name to its first value: `values["a"]`, `values.get("a")`, `"a" in values`, `dict(values)`. All of
    them: `values.get_all("a")`, and `values.pairs` for every pair. Does not change.

    Arguments:
        pairs: (name, value) for each, in order.
    """

    __slots__ = ("_first", "pairs")

    def __init__(self, pairs: Iterable[tuple[str, T]] = ()) -> None:
        self.pairs = tuple(pairs)
        self._first: dict[str, T] = {}
        for name, value in self.pairs:
            self._first.setdefault(name, value)

    def __getitem__(self, name: str) -> T:
        return self._first[name]

    @overload
    def get(self, name: str, /) -> T | None: ...
    @overload
    def get(self, name: str, /, default: T | D) -> T | D: ...
    def get(self, name: str, /, default: object = None) -> object:
        """The first value of that name, or `default`."""
        return self._first.get(name, default)

    def get_all(self, name: str) -> list[T]:
        """Every value of that name, in order; an empty list if there is none."""
        return [value for key, value in self.pairs if key == name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.pairs)!r})"
