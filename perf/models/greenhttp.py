"""greenhttp: a green thread per running request, none for a connection that has nothing to do.

A handler as its users write one, run by its command. Unlike the others it does all of HTTP/1.1, has a deadline for each
phase, says Date and Server, and checks what it is sent.
"""

import os
import sys
import time

from greenhttp import HTTPError
from perf.models import tiny

COMMAND = (
    *("--backlog", str(tiny.BACKLOG)),
    # Its default is 1,000 requests at a time, which would allow 20,000 waits of 50 ms a second, whatever it can do.
    *("--concurrency", "3000"),
    "perf.models.greenhttp:app",
)
TEXTS = {path.decode(): body for path, body in tiny.BODIES.items()}


def app(request):
    if request.path not in TEXTS:
        raise HTTPError(404)
    if request.path == "/wait":
        time.sleep(tiny.WAIT)  # cooperative: the command has patched `time`
    elif request.path == "/cpu":
        tiny.compute()
    return TEXTS[request.path]


def main() -> None:
    port = tiny.port_from_arguments()
    os.execv(sys.executable, [sys.executable, "-m", "greenhttp", "--bind", f"127.0.0.1:{port}", *COMMAND])


if __name__ == "__main__":
    main()
