"""Uploads and downloads of any size, in the memory of one piece.

    python upload_download.py [ADDRESS]

    curl -T FILE http://127.0.0.1:8000/                            its size and SHA-256
    head -c 1G /dev/zero | curl -T - http://127.0.0.1:8000/        a size nobody knows before the end
    curl http://127.0.0.1:8000/numbers/1000000 | tail -1           made while it is sent
    curl http://127.0.0.1:8000/source                              a file
"""

import greenhttp.patch  # first

import hashlib
import json
import sys


def app(request):
    name, _, argument = request.path[1:].partition("/")
    if request.method in ("PUT", "POST"):
        return upload(request)
    if name == "numbers" and argument.isascii() and argument.isdigit() and len(argument) < 19:
        return numbers(int(argument))
    if name == "source":
        # Sent by the kernel, from the file to the socket; closed by the server. Its name gives the Content-Type.
        return open(__file__, "rb")
    raise greenhttp.HTTPError(404, "PUT something, or GET /numbers/N or /source\n")


def upload(request):
    size, digest = 0, hashlib.sha256()
    for piece in request.body.iter():  # in the pieces it comes in; what has not been asked for stays with the client
        size += len(piece)
        digest.update(piece)
    # Only a complete body gets here: one that ends early or stalls raises BodyError, which is answered with 400 or 408.
    return json.dumps({"size": size, "sha256": digest.hexdigest()}) + "\n"


def numbers(count):
    """The numbers below `count`, a line each. A piece is sent before the next is made, as fast as the client reads."""
    for start in range(0, count, 1000):
        yield b"".join(b"%d\n" % number for number in range(start, min(start + 1000, count)))


if __name__ == "__main__":
    greenhttp.serve(app, bind=sys.argv[1:] or "127.0.0.1:8000", limit_request_body="10g")
