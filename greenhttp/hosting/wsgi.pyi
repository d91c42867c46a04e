from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from typing_extensions import Self, disjoint_base

from greenhttp.hosting.errors import Errors
from greenhttp.http.application import App
from greenhttp.http.response import Delivery
from greenhttp.settings.values import Settings
from greenhttp.wire.names import KNOWN_NAMES as KNOWN_NAMES

_After: TypeAlias = Callable[[int, int, bytes], object]
_Hooks: TypeAlias = Callable[[dict[str, Any]], _After]

class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...

class FileWrapper:
    def __init__(self, filelike: _Readable, blksize: int = 65536) -> None: ...
    def __getattr__(self, name: str) -> Any: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> bytes: ...

@disjoint_base
class Base: ...

@disjoint_base
class WSGIDelivery(Delivery):
    def __call__(self, status: Any, headers: Any = None, exc_info: Any = None) -> Any: ...

@disjoint_base
class Ending:
    def close(self) -> None: ...

def source_of(green: object) -> tuple[str, str] | None: ...
@disjoint_base
class WSGI(App):
    @property
    def errors(self) -> Errors: ...
    def __init__(
        self,
        app: Callable[..., Any],
        settings: Settings,
        hooks: _Hooks | None = None,
        keeps_environ: bool = False,
    ) -> None: ...
