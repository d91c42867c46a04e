from typing import final

from typing_extensions import disjoint_base

@final
@disjoint_base
class Inflater:
    def __init__(self, bits: int) -> None: ...

@final
@disjoint_base
class Deflater:
    def __init__(self, bits: int, mem_level: int) -> None: ...

@final
@disjoint_base
class Compression:
    def __init__(
        self, out_bits: int = 15, in_bits: int = 15, out_takeover: bool = False, in_takeover: bool = False
    ) -> None: ...
    @property
    def out_bits(self) -> int: ...
    @property
    def in_bits(self) -> int: ...
    @property
    def out_takeover(self) -> bool: ...
    @property
    def in_takeover(self) -> bool: ...

def available() -> bool: ...
def memory() -> int: ...
