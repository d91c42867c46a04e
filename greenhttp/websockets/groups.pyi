from typing import Literal

from greenhttp.websockets.socket import WebSocket

def broadcast(
    group: str,
    message: str | bytes | bytearray | memoryview,
    *,
    exclude: WebSocket | None = None,
    slow: Literal["drop", "close"] | None = None,
) -> int: ...
