"""Repositories of git below the directory ROOT: served by dulwich, and by git's own CGI program."""

import os
import shutil
import subprocess

from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import make_wsgi_chain

ROOT = os.environ["ROOT"]
PIECE = 64 * 1024

dulwich = make_wsgi_chain(DictBackend({f"/{name}": Repo(os.path.join(ROOT, name)) for name in os.listdir(ROOT)}))


def http_backend(environ, start_response):
    """`git http-backend` for each request, its content piece by piece as it comes."""
    told = {key: value for key, value in environ.items() if isinstance(value, str) and "." not in key}
    told |= {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": ROOT, "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": "anna"}
    backend = subprocess.Popen(["git", "http-backend"], env=told, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with backend:
        try:
            shutil.copyfileobj(environ["wsgi.input"], backend.stdin, PIECE)
            backend.stdin.close()
        except BrokenPipeError:
            pass  # it has answered without reading
        fields = {}
        while line := backend.stdout.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            fields[name] = value.strip()
        start_response(fields.pop("Status", "200 OK"), list(fields.items()))
        while piece := backend.stdout.read(PIECE):
            yield piece
