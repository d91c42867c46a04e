from enum import IntEnum

from typing_extensions import disjoint_base

__all__ = ["ChunkedDecoder", "Step", "chunk_head", "last_chunk"]

FORBIDDEN_TRAILERS: tuple[str, ...]

class Step(IntEnum):
    MORE = 0
    DATA = 1
    END = 2

@disjoint_base
class ChunkedDecoder:
    def __init__(
        self,
        *,
        limit_request_body: int = 1073741824,
        limit_chunk_extensions: int = 4096,
        limit_trailers: int = 8192,
    ) -> None: ...
    @property
    def received(self) -> int: ...
    @property
    def done(self) -> bool: ...
    @property
    def leftover(self) -> int: ...
    @property
    def trailers(self) -> list[tuple[str, str]]: ...
    def feed(self, data: bytes) -> bytes: ...
    def clear(self) -> None: ...
    def _bench_decode(self, data: bytes, n: int) -> int: ...

def chunk_head(size: int) -> bytes: ...
def last_chunk() -> bytes: ...
