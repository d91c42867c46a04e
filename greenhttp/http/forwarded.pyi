from typing import Any

from typing_extensions import disjoint_base

@disjoint_base
class Forwarded:
    def __init__(self, settings: Any) -> None: ...
