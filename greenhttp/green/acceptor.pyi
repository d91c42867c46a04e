import socket
from collections.abc import Callable
from typing import Any

from typing_extensions import disjoint_base

from greenhttp.green.transport import SocketStream

@disjoint_base
class Acceptor:
    def __init__(self, loop: Any, sock: socket.socket, log: Callable[[str], object], batch: int = 256) -> None: ...
    @property
    def sock(self) -> socket.socket: ...
    @property
    def paused(self) -> bool: ...
    @property
    def backing_off(self) -> bool: ...
    @property
    def accepted(self) -> int: ...
    @property
    def batch(self) -> int: ...
    def start(self) -> None: ...
    def back_off(self) -> None: ...
    def go_on(self) -> None: ...
    def stop(self) -> None: ...

@disjoint_base
class StreamAcceptor(Acceptor):
    def __init__(
        self,
        loop: Any,
        sock: socket.socket,
        log: Callable[[str], object],
        take: Callable[[SocketStream], object],
        room: Callable[[], bool] | None = None,
        batch: int = 256,
    ) -> None: ...
