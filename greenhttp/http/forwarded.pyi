from typing import Any

from typing_extensions import disjoint_base

from greenhttp.wire.names import KNOWN_NAMES as KNOWN_NAMES

@disjoint_base
class Forwarded:
    def __init__(self, settings: Any) -> None: ...
