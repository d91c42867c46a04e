from typing_extensions import disjoint_base

from greenhttp.green.deadline import Timed

LOST: str
OVER: str

@disjoint_base
class Turn:
    def __call__(self) -> None: ...

@disjoint_base
class Wait(Timed): ...

@disjoint_base
class Waiting:
    @property
    def timeout(self) -> float | None: ...
    @timeout.setter
    def timeout(self, seconds: float | None) -> None: ...
