from collections.abc import Callable
from typing import Any

from typing_extensions import disjoint_base

@disjoint_base
class Running: ...
@disjoint_base
class Loops: ...

@disjoint_base
class Trace:
    def __new__(cls, loops: Loops, former: Callable[[str, tuple[Any, Any]], Any] | None) -> Trace: ...
    def __call__(self, event: str, between: tuple[Any, Any]) -> None: ...

CHANGES: dict[str, Callable[[Any], None]]

def install() -> None: ...
