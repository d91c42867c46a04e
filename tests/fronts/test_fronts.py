"""greenhttp behind the real nginx and HAProxy, with the configurations that docs/front.md explains."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import ssl
import sys
import tempfile
import threading
from collections import Counter

import pytest

from greenhttp.settings.kinds import parse_duration, parse_size
from greenhttp.settings.values import Settings
from tests.fronts.front import DEPLOY, HAProxy, Nginx, TLSHAProxy, TLSNginx, each
from tests.reload import ANSWERED, KINDS, finish, rounds, table
from tests.system.process import needs
from tests.system.test_supervisor import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look at processes through /proc")
both = each(Nginx, HAProxy)


@pytest.fixture
def socket_path():
    """A UNIX socket's path that also another user may reach, and that is short enough for one."""
    with tempfile.TemporaryDirectory(prefix="greenhttp-") as where:
        os.chmod(where, 0o755)
        yield f"{where}/s"


class Asking(threading.Thread):
    """One request, whose answer may take its time.

    Attributes:
        status: of the answer; None while there is none.
    """

    def __init__(self, port: int, method: str, target: str) -> None:
        super().__init__(daemon=True)
        self.port, self.method, self.target = port, method, target
        self.status: int | None = None
        self.start()

    def run(self) -> None:
        self.status = ask(self.port, self.target, self.method)[0]


def ask(port: int, target: str, method: str = "GET", body=None, **fields: str) -> tuple[int, bytes]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        client.request(method, target, body, {name.replace("_", "-"): value for name, value in fields.items()})
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


def waiting(program) -> list[tuple[str, str]]:
    """Which worker, which request: what /wait has said so far."""
    return re.findall(r"waiting (\d+) (\w+)", "".join(program.lines))


def at(program) -> str:
    return f"127.0.0.1:{program.port}"


@both
def test_the_program_takes_the_configuration_without_a_warning(kind):
    it = kind("127.0.0.1:8000")
    try:
        it.check()
    finally:
        it.close()


@both
@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_reloads_and_upgrades_under_load_cost_no_request_and_no_retry_of_a_client(
    kind, way, serve, front, socket_path
):
    options = ["-b", f"unix:{socket_path}", "--socket-mode", "666"] if way == "unix" else []
    program = serve("-w", "2", "--drain-linger", "1", *options)
    it = front(kind, f"unix:{socket_path}" if way == "unix" else at(program))
    clients = [kind_of_client(it.port) for kind_of_client in KINDS]
    rounds(program, 3, 1, clients)
    finish(clients, 100)
    said = table(clients) + "".join(error for client in clients for error in client.errors) + it.said()
    assert program.stop() == 0, said
    for client in clients:
        # Not even `crossed`: a front that closes a kept connection says so in the answer before.
        assert set(client.outcomes) == {ANSWERED} and len(client.versions) >= 2, said


@both
def test_a_stream_passes_piece_by_piece(kind, serve, front, tmp_path):
    program = serve("-w", "1")
    client = http.client.HTTPConnection("127.0.0.1", front(kind, at(program)).port, timeout=60)
    try:
        client.request("GET", "/events/")
        answer = client.getresponse()
        # The application sends no more before: nothing is held back, neither with the head nor behind it.
        assert answer.readline() + answer.readline() == b"data: first\n\n"
        (tmp_path / "seen").touch()
        assert answer.readline() + answer.readline() == b"data: second\n\n"
        (tmp_path / "go").touch()
        assert answer.read() == b"data: last\n\n"
    finally:
        client.close()
    assert program.stop() == 0


@both
def test_an_upload_passes_whole_and_in_its_place_while_it_comes(kind, serve, front):
    program = serve("-w", "1")
    port = front(kind, at(program)).port
    content = bytes(range(256)) * 32_768  # 8 MiB
    digest = hashlib.sha256(content).hexdigest().encode()
    for target in ("/sum", "/uploads/sum"):
        assert ask(port, target, "POST", content) == (200, digest)
        pieces = (content[start : start + 100_000] for start in range(0, len(content), 100_000))
        # Of an unknown length, so in chunks:
        assert ask(port, target, "POST", pieces) == (200, digest)
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        client.putrequest("POST", "/uploads/first")
        client.putheader("Content-Length", "10")
        client.endheaders(b"first")
        program.wait_for("got first")  # the application has it, and the rest is not sent yet
        client.send(b"-last")
        assert client.getresponse().read() == b"5"
    finally:
        client.close()
    assert program.stop() == 0


@both
def test_what_is_too_large_is_refused_before_it_is_read(kind, serve, front):
    program = serve("-w", "1")
    port = front(kind, at(program)).port
    for target, status in (("/sum", 413), ("/uploads/sum", 200)):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            client.putrequest("POST", target)
            client.putheader("Content-Length", str(16 * 2**20 + 1))
            client.endheaders()
            if status == 200:
                client.send(b"x" * (16 * 2**20 + 1))
            assert client.getresponse().status == status
        finally:
            client.close()
    assert program.stop() == 0


@both
def test_what_a_client_claims_of_itself_does_not_come_through(kind, serve, front, tmp_path):
    program = serve("-w", "1", "--access-logfile", "access.log", "--access-log-format", "%({x-request-id}i)s %(U)s")
    port = front(kind, at(program)).port
    forged = {
        "X_Request_ID": "forged", "X_Forwarded_For": "192.0.2.1", "X_Forwarded_Proto": "https",
        "X_Forwarded_Protocol": "ssl", "X_Forwarded_Ssl": "on", "Forwarded": "for=192.0.2.1;proto=https",
    }  # fmt: skip
    seen = []
    for method, target in (("GET", "/fields"), ("POST", "/fields"), ("GET", "/fields")):
        fields = json.loads(ask(port, target, method, **forged)[1])
        assert fields["HTTP_X_FORWARDED_FOR"] == "127.0.0.1" and fields["HTTP_X_FORWARDED_PROTO"] == "http"
        assert not {"HTTP_X_FORWARDED_PROTOCOL", "HTTP_X_FORWARDED_SSL", "HTTP_FORWARDED"} & set(fields)
        seen.append(fields["HTTP_X_REQUEST_ID"])
    assert len(set(seen)) == 3 and all(len(name) >= 32 for name in seen)
    assert program.stop() == 0
    logged = [line.split()[0] for line in (tmp_path / "access.log").read_text().splitlines() if "/fields" in line]
    assert logged == seen


@needs("openssl")
@each(TLSNginx, TLSHAProxy)
@pytest.mark.parametrize(("trusted", "scheme"), [((), b"https"), (("--forwarded-allow-ips", "192.0.2.1"), b"http")])
def test_behind_a_front_that_speaks_tls_the_application_sees_https_if_that_front_is_trusted(
    kind, trusted, scheme, serve, front
):
    program = serve("-w", "1", *trusted)
    it = front(kind, at(program))
    client = http.client.HTTPSConnection(
        "127.0.0.1", it.port, timeout=60, context=ssl.create_default_context(cafile=it.certificate)
    )
    try:
        client.request("GET", "/scheme", headers={"X-Forwarded-Proto": "http", "X-Forwarded-Ssl": "off"})
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (200, scheme)
    finally:
        client.close()
    assert program.stop() == 0


@both
def test_a_killed_worker_costs_at_most_what_it_was_at_and_of_that_only_what_may_not_be_repeated(
    kind, serve, front, tmp_path
):
    program = serve("-w", "2")
    until(lambda: sum("serves, process" in line for line in program.lines) == 2)
    port = front(kind, at(program)).port
    post = Asking(port, "POST", "/wait?post")
    program.wait_for(" post")
    gets = [Asking(port, "GET", f"/wait?get{number}") for number in range(8)]
    for number in range(8):
        program.wait_for(f" get{number}")
    at_worker = {name: int(pid) for pid, name in waiting(program)}
    victim = at_worker["post"]
    lost = [name for name, pid in at_worker.items() if pid == victim and name != "post"]
    here = len(program.lines)
    os.kill(victim, signal.SIGKILL)
    post.join(60)
    assert post.status == 502
    for name in lost:
        program.wait_for(f" {name}", here)
    (tmp_path / "go").touch()
    for get in gets:
        get.join(60)
    assert [get.status for get in gets] == [200] * 8
    repeated = Counter(name for _, name in waiting(program))
    assert repeated == {"post": 1, **{f"get{n}": 1 + (f"get{n}" in lost) for n in range(8)}}
    assert program.stop() == 0


@each(HAProxy)
def test_health_checks_follow_what_the_application_says_and_what_greenhttp_does(kind, serve, front, tmp_path):
    program = serve("-w", "2", "--health-path", "/healthz")
    it = front(kind, at(program))
    until(lambda: ask(it.port, "/pid")[0] == 200)
    assert it.state() == "up"
    (tmp_path / "busy").touch()  # not ready, says the application; it serves on
    until(lambda: it.state() == "down")
    assert ask(program.port, "/pid")[0] == 200 and ask(it.port, "/pid")[0] == 503
    (tmp_path / "busy").unlink()
    until(lambda: it.state() == "up")
    running = Asking(it.port, "GET", "/wait?1")
    program.wait_for("waiting")
    program.send(signal.SIGTERM)
    until(lambda: it.state() == "down")  # while it drains
    assert running.status is None and program.process.poll() is None
    (tmp_path / "go").touch()
    running.join(60)
    assert running.status == 200 and program.process.wait(60) == 0
    # It comes back: the same address, a new process.
    again = serve("-w", "2", "-b", f"127.0.0.1:{program.port}")
    until(lambda: it.state() == "up")
    assert ask(it.port, "/pid")[0] == 200
    assert again.stop() == 0


def test_the_time_outs_of_the_fronts_fit_ours():
    """Whoever closes a kept connection should be the one who would use it: the front."""
    ours = Settings()
    nginx, haproxy = (DEPLOY / "nginx.conf").read_text(), (DEPLOY / "haproxy.cfg").read_text()
    for pattern, text in ((r"\bkeepalive_timeout (\w+);", nginx), (r"timeout http-keep-alive (\w+)", haproxy)):
        assert parse_duration(re.findall(pattern, text)[0]) < ours.keepalive_timeout
    sizes = [parse_size(size) for size in re.findall(r"client_max_body_size (\w+);", nginx)]
    assert len(sizes) == 2 and max(sizes) == ours.limit_request_body
    assert int(re.findall(r"req.body_size gt (\d+)", haproxy)[0]) == min(sizes)
