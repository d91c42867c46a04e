"""One request asks several others, side by side: it takes as long as the slowest, not as long as all together.

    python fan_out.py [ADDRESS [BACKEND-URL ...]]

    curl http://127.0.0.1:8000/                      every answer
    curl 'http://127.0.0.1:8000/?within=0.5'         those that come in half a second, and what became of the others

Without URLs it brings backends of its own, which take 0.2, 0.4 and 0.8 seconds.
"""

import greenhttp.patch  # first: this makes urllib cooperative

import json
import math
import sys
import time
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import urlopen

import gevent
from gevent.pool import Pool

LONGEST = 60.0  # seconds
LARGEST = 1_000_000  # bytes of an answer that are looked at

backends = []
pool = Pool(100)  # of all requests together: so many backend connections at most, the others wait for their turn


def ask(url, within):
    """What the backend says, or why it does not. Never raises: one that fails must not take the others with it."""
    try:
        # The time-out of urlopen would be for each wait alone; this one is for all of it, connecting included.
        with gevent.Timeout(within, TimeoutError(f"no answer within {within:g} s")), urlopen(url) as answer:
            return {"url": url, "answer": answer.read(LARGEST).decode("utf-8", "replace")}
    except HTTPError as error:  # an answer too, with a connection of its own to close
        with error:
            return {"url": url, "error": str(error)}
    except (OSError, HTTPException) as error:
        return {"url": url, "error": str(error)}


def fan_out(request):
    within = seconds(request.query.get("within", "2"))
    answers = pool.map(lambda url: ask(url, within), backends)  # a green thread each; waits for the last
    return json.dumps(answers, indent=1) + "\n"


def seconds(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= LONGEST:
        raise greenhttp.HTTPError(400, f"within: give seconds, up to {LONGEST:g}\n")
    return value


def slow(request):
    time.sleep(float(request.path[1:]))
    return "done"


if __name__ == "__main__":
    backends += sys.argv[2:]
    if not backends:
        own = greenhttp.Server(slow, bind="127.0.0.1:0")
        own.start()
        backends += [f"{own.addresses[0]}/{wait}" for wait in (0.2, 0.4, 0.8)]
    greenhttp.serve(fan_out, bind=sys.argv[1:2] or "127.0.0.1:8000")
