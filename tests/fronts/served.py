"""What stands behind the fronts: tests/fronts copies it to web.py beside the supervisor it starts."""

import hashlib
import json
import os
import subprocess
import time
from pathlib import Path

VERSION = Path("version.txt").read_text().strip() if Path("version.txt").exists() else ""


def until(name):
    while not os.path.exists(name):
        time.sleep(0.01)


def say(line):
    os.write(2, f"{line}\n".encode())  # in one piece, for several workers have the same pipe


def app(environ, start_response):
    path, read = environ["PATH_INFO"], environ["wsgi.input"].read
    if path == "/healthz":
        ready = not os.path.exists("busy")
        if "greenhttp.proxied" in environ:
            say(f"checked by {environ['PROXY_PROTOCOL']}")
        start_response("200 OK" if ready else "503 Service Unavailable", [("Content-Length", "0")])
        return []
    if path == "/events/":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return events()
    if path == "/wait":
        say(f"waiting {os.getpid()} {environ['QUERY_STRING']}")
        until("go")
    elif path == "/slow":
        time.sleep(0.05)
    if path == "/fields":
        body = json.dumps({name: value for name, value in environ.items() if name.startswith("HTTP_")}).encode()
    elif path == "/uploads/first":
        say(f"got {read(5).decode()}")
        body = str(len(read())).encode()
    elif path in ("/sum", "/uploads/sum"):
        body = hashlib.sha256(read()).hexdigest().encode()
    elif path == "/orphan":
        script = "(while [ ! -e go ]; do sleep 0.02; done) >&- 2>&- & echo $!"
        body = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=True).stdout
    elif path == "/scheme":
        body = environ["wsgi.url_scheme"].encode()
    elif path == "/proxied":
        names = ("REMOTE_ADDR", "REMOTE_PORT", "PROXY_PROTOCOL", "PROXY_ADDR", "PROXY_PORT", "wsgi.url_scheme")
        told = {name: environ.get(name) for name in names}
        proxied = environ["greenhttp.proxied"]
        told.update(version=proxied.version, authority=proxied.authority, alpn=proxied.alpn and proxied.alpn.decode())
        told.update(unique_id=proxied.unique_id and proxied.unique_id.decode())
        if proxied.tls is not None:
            sub = ("version", "cipher", "common_name", "signature", "key", "client", "verified")
            told["tls"] = {name: getattr(proxied.tls, name) for name in sub}
        body = json.dumps(told).encode()
    elif path == "/pid":
        body = f"{os.getpid()} {os.getppid()}".encode()
    else:  # as the clients of tests/reload expect it
        body = f"{VERSION} {environ['QUERY_STRING']} {len(read())}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def events():
    yield b"data: first\n\n"
    until("seen")
    yield b"data: second\n\n"
    until("go")
    yield b"data: last\n\n"
