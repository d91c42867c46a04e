from typing import Any

from typing_extensions import disjoint_base

from greenhttp.errors import RequestRefused as RequestRefused
from greenhttp.green.peers import Peers
from greenhttp.wire.names import KNOWN_NAMES as KNOWN_NAMES

@disjoint_base
class Origin:
    @property
    def peer(self) -> tuple[str, int] | None: ...
    @property
    def scheme(self) -> str: ...
    @property
    def host(self) -> str | None: ...
    @property
    def root_path(self) -> str: ...
    @property
    def id(self) -> str | None: ...

@disjoint_base
class Origins:
    def __init__(self, settings: Any) -> None: ...
    @property
    def trusted(self) -> Peers: ...
    @property
    def root_path(self) -> str: ...
