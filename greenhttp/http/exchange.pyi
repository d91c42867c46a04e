from typing_extensions import disjoint_base

from greenhttp.green.pool import Job
from greenhttp.green.stream import Stream
from greenhttp.http.service import Service

@disjoint_base
class Exchange(Job):
    @property
    def stream(self) -> Stream: ...
    @property
    def service(self) -> Service: ...
