import socket
from enum import IntEnum

from typing_extensions import disjoint_base

from greenhttp.green.acceptor import Acceptor
from greenhttp.green.arrival import Arrival, Arrivals
from greenhttp.green.pool import Worker
from greenhttp.green.tls import Certificates
from greenhttp.green.transport import MemoryStream
from greenhttp.http.exchange import Exchange
from greenhttp.http.service import Service

class State(IntEnum):
    HEAD = 0
    RUNNING = 1
    FLUSH = 2
    DRAIN = 3
    LINGER = 4
    CLOSED = 5

@disjoint_base
class Connection(Exchange):
    @property
    def state(self) -> State: ...
    def retire(self) -> None: ...
    def cut(self) -> None: ...
    def unfinished(self) -> tuple[str, str, float, Worker | None, str] | None: ...

@disjoint_base
class ServiceArrivals(Arrivals): ...

@disjoint_base
class Door(Acceptor):
    def __init__(self, service: Service, sock: socket.socket, batch: int = 256, secure: bool = False) -> None: ...
    @property
    def secure(self) -> bool: ...
    def say(self, line: str) -> None: ...

def connect_memory(service: Service, stream: MemoryStream) -> Connection: ...
def arrive_memory(service: Service, stream: MemoryStream) -> Connection | Arrival: ...
def expect_prefaces(service: Service, certificates: Certificates | None = None) -> None: ...
