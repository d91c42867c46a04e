from typing_extensions import disjoint_base

from greenhttp.green.deadline import Phase

@disjoint_base
class Lingering(Phase):
    @property
    def total(self) -> float: ...
    @property
    def most(self) -> int: ...
    @property
    def crowd(self) -> int: ...
    @property
    def crowded(self) -> str: ...
