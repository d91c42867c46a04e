"""Request IDs of real processes: no two are equal, whichever worker, fork or start has made them."""

import json
import os
import subprocess
import sys

import pytest

from tests.system.served import Local, serve  # noqa: F401

APP = """
import os
def app(request):
    if request.path == "/forks":                # a child of the application, which ends by itself
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            from greenhttp.process.ids import new_id
            os.write(writing, f"{request.id} {new_id()}".encode())
            os._exit(0)
        child = os.read(reading, 200).decode()
        os.waitpid(pid, 0)
        return f"{request.id} {child}"
    if request.path == "/fail":
        request.id
        raise LookupError("no such shelf")
    return f"{os.getpid()} {request.id}"
"""


def begun(start, *options):
    served = start(*options, app=APP)
    while not served.socket.exists():
        assert served.process.poll() is None
    return served


def asked(served, name="/", fields=()):
    client = Local(served.socket)
    try:
        client.request("GET", name, headers=dict(fields))
        answer = client.getresponse()
        return answer.getheader("X-Request-Id"), answer.read().decode()
    finally:
        client.close()


def ids_of(served, processes):
    """The IDs of requests to as many processes."""
    pids, ids = set(), []
    while len(pids) < processes or len(ids) < 50:
        header, content = asked(served)
        pid, id = content.split()
        assert header == id
        pids.add(pid)
        ids.append(id)
    return ids


OPTIONS = "--request-id-header", "X-Request-Id"


@pytest.mark.parametrize("preload", [(), ("--preload",)])
def test_workers_and_their_successors_make_ids_of_their_own(serve, preload):  # noqa: F811
    served = begun(serve, subprocess.DEVNULL, "-w", "2", *OPTIONS, *preload)
    before = {id[:16] for id in ids_of(served, 2)}
    assert len(before) == 2, "one half for each process"
    served.send("HUP")
    while not (later := {id[:16] for id in ids_of(served, 1)}) - before:
        pass
    assert served.stop() == 0
    served = begun(serve, subprocess.DEVNULL, "-w", "2", *OPTIONS, *preload)
    again = {id[:16] for id in ids_of(served, 2)}
    assert not again & (before | later)
    assert served.stop() == 0


@pytest.mark.skipif(sys.platform == "darwin", reason="system libraries of macOS do not survive a fork")
def test_a_child_of_the_application_goes_on_with_the_request_s_and_makes_others(serve):  # noqa: F811
    served = begun(serve, subprocess.DEVNULL, *OPTIONS)
    header, content = asked(served, "/forks")
    own, in_child, of_child = content.split()
    assert header == own == in_child and of_child[:16] != own[:16]
    assert served.stop() == 0


def test_answer_access_log_and_error_log_agree(serve, tmp_path):  # noqa: F811
    access, errors = tmp_path / "access", tmp_path / "errors"
    logs = ("--access-logfile", str(access), "--access-log-format", "json", "--log-format", "json")
    served = begun(serve, subprocess.DEVNULL, "-w", "1", *OPTIONS, *logs, "--error-logfile", str(errors))
    header, _ = asked(served, "/fail")
    given, _ = asked(served, "/fail", {"X-Request-Id": "Root=1-2"}.items())
    assert served.stop() == 0
    entries = [json.loads(line) for line in access.read_text().splitlines()]
    failed = [entry for entry in map(json.loads, errors.read_text().splitlines()) if entry["exception"]]
    assert given == "Root=1-2" and header != given
    assert [entry["request_id"] for entry in entries] == [header, given]
    assert [(entry["request_id"], entry["request"]) for entry in failed] == [
        (header, "GET /fail"), (given, "GET /fail"),
    ]  # fmt: skip
    assert failed[0]["peer"] == f"a UNIX peer (process {os.getpid()})"
