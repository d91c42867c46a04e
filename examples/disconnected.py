"""A long calculation that stops when nobody waits for it any more. End curl by Ctrl-C to see it:

    python disconnected.py [ADDRESS]
    curl http://127.0.0.1:8000/
"""

import greenhttp.patch  # first

import sys
import time

import greenhttp

PARTS = 100
PAUSE = 0.1  # seconds that a part of the work takes


def app(request):
    for done in range(PARTS):
        if request.disconnected:
            print(f"nobody waits any more; stopped after {done} of {PARTS} parts", flush=True)
            return ""
        time.sleep(PAUSE)  # a part of the work: a query, say
    return "done\n"


if __name__ == "__main__":
    greenhttp.serve(app, bind=sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8000")
