"""What it costs to ask a service for its counts: the metrics of a busy process ask every second."""

import resource

from greenhttp.http.service import Service
from greenhttp.settings.values import Settings
from perf.micro import best_of


def run() -> list[tuple[str, float]]:
    settings = Settings().resolved(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    service = Service(settings, settings.connections, print)

    def statistics(times: int) -> None:
        for _ in range(times):
            service.statistics()

    return [("statistics()", best_of(statistics, 20_000))]
