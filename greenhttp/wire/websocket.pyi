from enum import IntEnum
from typing import Any, final

from typing_extensions import disjoint_base

from greenhttp.wire.deflate import Compression
from greenhttp.wire.handshake import Deflate

class Event(IntEnum):
    NOTHING = 0
    TEXT = 1
    BINARY = 2
    PING = 3
    PONG = 4
    CLOSE = 5
    FAILED = 6

class Opcode(IntEnum):
    OP_CONTINUATION = 0
    OP_TEXT = 1
    OP_BINARY = 2
    OP_CLOSE = 8
    OP_PING = 9
    OP_PONG = 10

@final
@disjoint_base
class Codec:
    def __init__(
        self,
        *,
        max_frame: int = 1048576,
        max_message: int = 16777216,
        client: bool = False,
        compression: Deflate | None = None,
    ) -> None: ...
    @property
    def code(self) -> int: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def max_frame(self) -> int: ...
    @property
    def max_message(self) -> int: ...
    @property
    def compression(self) -> Compression | None: ...
    @property
    def is_idle(self) -> bool: ...
    def receive(self, data: bytes) -> list[tuple[Event, Any]]: ...
    def outgoing(self, data: str | bytes) -> tuple[bytes, bool]: ...

def frame(
    opcode: int, payload: bytes, *, mask: bytes | None = None, compressed: bool = False, last: bool = True
) -> bytes: ...
def closing(code: int, reason: str = "") -> bytes: ...
