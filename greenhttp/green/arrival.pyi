from collections.abc import Callable, Sequence
from typing import Any

from typing_extensions import disjoint_base

from greenhttp.green.deadline import Phase
from greenhttp.green.peers import Peers
from greenhttp.green.pool import Job, Pool
from greenhttp.green.stream import Stream
from greenhttp.green.tls import Certificates

@disjoint_base
class Arrivals:
    def __init__(
        self, pool: Pool, phase: Phase, allowed: Sequence[str], read: Callable[[bytes], Any] | None,
        noise: Callable[..., None], handshaking: Phase | None = None,
        retort: Callable[[bytes], tuple[bytes, str] | None] | None = None,
    ) -> None: ...
    @property
    def phase(self) -> Phase: ...
    @property
    def allowed(self) -> Peers: ...
    @property
    def handshaking(self) -> Phase | None: ...
    certificates: Certificates | None

@disjoint_base
class Arrival(Job):
    @property
    def stream(self) -> Stream: ...
    @property
    def heir(self) -> Job | None: ...
    @property
    def over(self) -> bool: ...
    def retire(self) -> None: ...
    def cut(self) -> None: ...
    def unfinished(self) -> None: ...
