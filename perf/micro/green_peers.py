"""What it costs to look an address up in a list of trusted networks: none of them is it."""

from greenhttp.green.peers import Peers
from perf.micro import best_of


def run() -> list[tuple[str, float]]:
    measured = []
    for count in (2, 20, 200):
        peers = Peers([f"10.{i}.0.0/16" for i in range(count)])

        def look(times: int, peers: Peers = peers) -> None:
            for _ in range(times):
                peers.__contains__("192.0.2.1")

        measured.append((f"{count} networks", best_of(look, 10_000)))
    return measured
