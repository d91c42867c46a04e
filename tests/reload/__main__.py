"""The long run: `make reload-soak`, or `python -m tests.reload --help`."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.reload import KINDS, LOST, Program, finish, rounds, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reload", description=__doc__)
    parser.add_argument("--reloads", type=int, default=100, help="HUPs [%(default)s]")
    parser.add_argument("--upgrades", type=int, default=20, help="USR2s [%(default)s]")
    parser.add_argument("--workers", type=int, default=2, help="[%(default)s]")
    parser.add_argument("--no-tls", action="store_true", help="only clients of plain HTTP")
    parser.add_argument("--max-requests", type=int, default=2000, help="each worker leaves after [%(default)s]")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        program = Program(
            Path(where), "-w", str(given.workers), "--max-requests", str(given.max_requests),
            "--max-requests-jitter", str(given.max_requests // 2), "--drain-linger", "1",
            secure=not given.no_tls,
        )  # fmt: skip
        clients = program.clients(KINDS if program.trust is not None else KINDS * 2)
        try:
            rounds(program, given.reloads, given.upgrades, clients, lambda line: print(line, flush=True))
            finish(clients, 1000)
        finally:
            code = program.stop()
    print(table(clients))
    recycled = sum("will be replaced" in line for line in program.lines)
    print(f"{recycled} workers were recycled besides; exit code {code}")
    lost = [error for client in clients for error in client.errors]
    odd = [line for line in program.lines if " ERROR " in line or " WARNING " in line or " CRITICAL " in line]
    for line in [*lost[:20], *odd[:20]]:
        print(line.rstrip())
    if given.max_requests and not recycled:
        print("no worker was recycled: --max-requests is too many")
    few = [client for client in clients if len(client.versions) < 2]
    few += [client for client in clients if client.trust is not None and not client.keeps and len(client.shown) < 2]
    return 1 if any(client.outcomes[LOST] for client in clients) or few or code or not recycled else 0


if __name__ == "__main__":
    sys.exit(main())
