from collections.abc import Iterable

from typing_extensions import disjoint_base

from greenhttp.green.stream import _HasFileno
from greenhttp.wire.response import ResponseHead

@disjoint_base
class FileBody:
    def __init__(self, file: _HasFileno, offset: int, size: int) -> None: ...
    @property
    def file(self) -> _HasFileno: ...
    @property
    def offset(self) -> int: ...
    @property
    def size(self) -> int: ...

@disjoint_base
class Delivery(ResponseHead):
    def inform(self, status: str, fields: Iterable[tuple[str, str]] = ()) -> None: ...
    def add_trailer(self, name: str, value: str) -> None: ...
