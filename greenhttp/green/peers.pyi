from collections.abc import Sequence

from typing_extensions import disjoint_base

from greenhttp.settings.peers import EVERYBODY as EVERYBODY
from greenhttp.settings.peers import UNIX as UNIX

@disjoint_base
class Peers:
    def __init__(self, texts: Sequence[str]) -> None: ...
    @property
    def everybody(self) -> bool: ...
    @property
    def local(self) -> bool: ...
    def __contains__(self, address: str, /) -> bool: ...
