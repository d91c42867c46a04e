from collections.abc import Iterable
from enum import IntEnum

from typing_extensions import disjoint_base

REASONS: dict[int, str]

class Transfer(IntEnum):
    EMPTY = 0
    SIZED = 1
    CHUNKS = 2
    UNTIL_CLOSE = 3

@disjoint_base
class ResponseHead:
    @property
    def status(self) -> int: ...
    @property
    def content_length(self) -> int: ...
    @property
    def transfer(self) -> int: ...
    @property
    def fields(self) -> list[tuple[str, str]]: ...
    @property
    def keep_alive(self) -> bool: ...
    def compose(
        self,
        status: str,
        fields: Iterable[tuple[str, str]] = (),
        *,
        is_head: bool = False,
        minor: int = 1,
        keep_alive: bool = True,
        known: int = -1,
        date: bytes = b"Date: now\r\n",
        server: bytes = b"Server: greenhttp\r\n",
    ) -> tuple[bytes, Transfer]: ...
