"""Work that would stop every other request, put where it does not: on a thread, or in a process.

    python heavy.py [ADDRESS]

    curl 'http://127.0.0.1:8000/hash?password=x'     scrypt, in C that lets others run: on a thread
    curl 'http://127.0.0.1:8000/primes?below=3000000'    Python that computes: in a process, for 20 s at most
    curl http://127.0.0.1:8000/                      answered at once, whatever the two are at

The process needs cloudpickle: pip install greenhttp[processes]
"""


import hashlib
import sys

from greenhttp import HTTPError, OffloadTimeout, offload, offloaded, serve

MOST = 100_000_000


@offloaded(process=True, timeout=20)
def primes(below):
    """How many there are. Written as if it were called here."""
    sieve = bytearray([1]) * below
    for number in range(2, int(below**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, below, number)))
    return max(0, sum(sieve) - 2)


def handle(request):
    if request.path == "/":
        return "here\n"
    if request.path == "/hash":
        password = request.query.get("password", "").encode()
        digest = offload(hashlib.scrypt, password, salt=b"not for production", n=2**14, r=8, p=1, timeout=10)
        return digest.hex() + "\n"
    if request.path == "/primes":
        below = request.query.get("below", "1000000")
        if not below.isdecimal() or int(below) > MOST:
            raise HTTPError(400, f"below: give a number up to {MOST}\n")
        try:
            return f"{primes(int(below))}\n"
        except OffloadTimeout:  # its process has been ended
            raise HTTPError(503, "that takes too long\n") from None
    raise HTTPError(404)


if __name__ == "__main__":
    serve(handle, bind=sys.argv[1:] or "127.0.0.1:8000")
