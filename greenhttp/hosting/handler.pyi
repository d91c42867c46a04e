from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, TypeAlias

from typing_extensions import Buffer, Self, disjoint_base

from greenhttp.http.application import App
from greenhttp.http.request import Request
from greenhttp.http.response import Delivery

_Body: TypeAlias = str | Buffer | dict[Any, Any] | list[Any] | Iterable[bytes | bytearray | memoryview] | IO[bytes]
_Headers: TypeAlias = Mapping[str, str | Sequence[str]] | Iterable[tuple[str, str]]

@disjoint_base
class Response:
    body: _Body
    status: int | str
    def __init__(self, body: _Body = b"", status: int | str = 200, headers: _Headers = ()) -> None: ...
    @classmethod
    def json(cls, value: Any, status: int | str = 200, headers: _Headers = ()) -> Self: ...
    @property
    def headers(self) -> list[tuple[str, str]]: ...
    @headers.setter
    def headers(self, headers: _Headers) -> None: ...

class HandlerDelivery(Delivery): ...

@disjoint_base
class Handler(App):
    def __init__(self, handler: Callable[[Request], Any]) -> None: ...

def blocks_of(file: IO[bytes]) -> Iterator[bytes]: ...
