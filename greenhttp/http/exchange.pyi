from typing_extensions import disjoint_base

from greenhttp.green.pool import Job
from greenhttp.green.stream import Stream
from greenhttp.http.service import Service
from greenhttp.tls.agreed import TLSInfo

@disjoint_base
class Entrance:
    @property
    def tls(self) -> TLSInfo | None: ...
    @property
    def secure(self) -> bool: ...

@disjoint_base
class Exchange(Job):
    @property
    def stream(self) -> Stream: ...
    @property
    def service(self) -> Service: ...
