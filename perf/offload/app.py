"""The application: `/` at once, `/WORK/WAY` after some tens of milliseconds of work."""

import hashlib

from greenhttp import HTTPError, offload

TURNS = 600_000


def hashed():
    return hashlib.scrypt(b"password", salt=b"salt", n=2**14, r=8, p=1).hex()


def python():
    total = 0
    for number in range(TURNS):
        total += number * number
    return str(total)


def handle(request):
    if request.path == "/":
        return "fast"
    work = {"hash": hashed, "python": python}.get(request.path.split("/")[1])
    way = request.path.rpartition("/")[2]
    if work is None or way not in ("inline", "thread", "process"):
        raise HTTPError(404)
    return work() if way == "inline" else offload(work, process=way == "process")
