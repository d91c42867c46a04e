"""One heavy client: asks again as soon as it is answered. Says `ready` after the first answer, in the end how many."""

import sys
import time

from perf.tools import clients


def main(port: int, path: str, seconds: float) -> None:
    client = clients.connect(port)
    client.settimeout(60)
    answered = 0
    until = None
    while until is None or time.monotonic() < until:
        status, body = clients.ask(client, path)
        if status != 200:
            sys.exit(f"{path}: {status} {body[:100]!r}")
        if until is None:
            print("ready", flush=True)
            until = time.monotonic() + seconds
        else:
            answered += 1
    print(answered)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
