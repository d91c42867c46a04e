"""The application of test_server_process.py."""

import hashlib
import json
import resource
import sys
import threading
import time

BLOCK = bytes(range(256)) * 256
most = 0
running = 0
all_here = threading.Event()


def sleeping(environ, start_response):
    """Waits until as many requests run as the query says; each of them is asleep meanwhile."""
    global most, running
    running += 1
    most = max(most, running)
    if running == int(environ["QUERY_STRING"]):
        all_here.set()
    time.sleep(0.5)
    all_here.wait(60)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(most).encode()]


def download(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return (BLOCK for _ in range(int(environ["QUERY_STRING"]) * 16))  # MiB


def upload(environ, start_response):
    digest, size = hashlib.sha256(), 0
    while data := environ["wsgi.input"].read(50_000):
        digest.update(data)
        size += len(data)
    start_response("200 OK", [("Content-Type", "application/json")])
    told = {key: environ.get(key) for key in ("CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "HTTP_EXPECT")}
    return [json.dumps({"sha256": digest.hexdigest(), "size": size, **told}).encode()]


def unread(environ, start_response):
    start_response("403 Forbidden", [("Content-Type", "text/plain")])
    return [b"not for you"]


def memory(environ, start_response):
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(peak).encode()]


def told(environ, start_response):
    """Says on stderr that it runs, then answers with what it reads."""
    print("running", file=environ["wsgi.errors"], flush=True)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.input"].read()]


def interrupted(environ, start_response):
    raise KeyboardInterrupt


def path(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode("latin-1"), b" ", environ["REQUEST_METHOD"].encode()]


PATHS = {f"/{app.__name__}": app for app in (sleeping, download, upload, unread, memory, told, interrupted)}


def app(environ, start_response):
    return PATHS.get(environ["PATH_INFO"], path)(environ, start_response)
