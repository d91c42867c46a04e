"""gunicorn with TLS: greenhttp's worker beside gunicorn's own for gevent."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.doors.test_worker import Gunicorn

pytest.importorskip("gunicorn")
certificates = pytest.importorskip("tests.tls.certificates")

APP = """
import json
import os

PASSWORD = os.environ.get("GREENHTTP_KEYFILE_PASSWORD", "hidden")

def app(environ, start_response):
    environ["password"] = PASSWORD
    told = {key: value for key, value in environ.items() if isinstance(value, str)}
    start_response("200 OK", [("Content-Length", str(len(json.dumps(told))))])
    return [json.dumps(told).encode()]
"""
OURS, GEVENTS = "greenhttp.gunicorn.Worker", "gevent"


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    certfile, keyfile = certificates.leaf("localhost").write(tmp_path)
    return ["--certfile", certfile, "--keyfile", keyfile]


class Secured(Gunicorn):
    """gunicorn with that class of workers, an application that tells its environ, and TLS."""

    def __init__(self, directory: Path, worker: str, *options: str, config: str = "", **environ: str) -> None:
        super().__init__(directory, "-k", worker, *options, config=config, **environ)

    @property
    def port(self) -> int:
        return int(re.search(r"Listening at: https://127\.0\.0\.1:(\d+)", self.said("Listening at"))[1])

    def environ(self, *lines: str, **attributes: Any) -> tuple[dict[str, str], ssl.SSLSocket]:
        context = ssl.create_default_context(cadata=certificates.authority().authorities().decode())
        for name, value in attributes.items():
            setattr(context, name, value)
        return self.asked(context, *lines)

    def asked(self, context: ssl.SSLContext, *lines: str) -> tuple[dict[str, str], ssl.SSLSocket]:
        with (
            socket.create_connection(("127.0.0.1", self.port), 30) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            head = "".join(f"{line}\r\n" for line in lines)
            sock.sendall(f"GET /a?b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n".encode())
            answer = sock.makefile("rb").read()
            return json.loads(answer.partition(b"\r\n\r\n")[2]), sock


@pytest.fixture(autouse=True)
def telling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.doors.test_worker.APP", APP)


DIFFERENT = {"SERVER_SOFTWARE", "SERVER_PORT", "REMOTE_PORT"}


def test_the_environ_is_that_of_gunicorns_worker_and_has_more_about_tls(tmp_path, options):
    told = []
    lines = ["X: y", "X-Forwarded-Proto: http", "X-Forwarded-Proto: https"]
    for worker in (GEVENTS, OURS):
        (tmp_path / worker).mkdir()
        with Secured(tmp_path / worker, worker, *options) as gunicorn:
            environs = [gunicorn.environ(line)[0] for line in lines]
            told.append([{key: environ[key] for key in environ.keys() - DIFFERENT} for environ in environs])
    for theirs, ours in zip(*told, strict=True):
        more = {key for key in ours if key.startswith(("SSL_", "HTTPS"))}
        assert more >= {"SSL_PROTOCOL", "SSL_CIPHER", "SSL_CLIENT_VERIFY"}
        assert {key: value for key, value in ours.items() if key not in more} == theirs
    assert [theirs["wsgi.url_scheme"] for theirs in told[0]] == ["https", "http", "https"]


def test_the_certificate_of_a_client(tmp_path, options):
    ca_certs = certificates.put(tmp_path / "ca.pem", certificates.authority().authorities())
    with Secured(tmp_path, OURS, *options, "--ca-certs", ca_certs, "--cert-reqs", "2") as gunicorn:
        context = ssl.create_default_context(cafile=ca_certs)
        context.load_cert_chain(*certificates.client("alice").write(tmp_path, "alice"))
        environ, _ = gunicorn.asked(context)
        assert (environ["SSL_CLIENT_VERIFY"], environ["SSL_CLIENT_S_DN_CN"]) == ("SUCCESS", "alice")
        with pytest.raises(OSError):  # noqa: PT011  what a client sees of a refusal differs
            gunicorn.environ()


HOOK = """
def ssl_context(conf, default_ssl_context_factory):
    import ssl
    context = default_ssl_context_factory()
    assert conf.certfile.endswith(".pem")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context
"""


@pytest.mark.parametrize("worker", [OURS, GEVENTS])
def test_the_hook_makes_the_context(tmp_path, options, worker):
    with Secured(tmp_path, worker, *options, config=HOOK) as gunicorn:
        _, sock = gunicorn.environ()
        assert sock.version() in ("TLSv1.2", None)
        with pytest.raises(ssl.SSLError, match="(?i)version"):
            gunicorn.environ(minimum_version=ssl.TLSVersion.TLSv1_3)


@pytest.mark.parametrize(("config", "said"), [
    ("def ssl_context(conf, factory): 1 / 0", "ZeroDivisionError"),
    ("def ssl_context(conf, factory): return None", "ssl_context returned NoneType; an ssl.SSLContext is needed"),
])  # fmt: skip
def test_a_hook_that_makes_none_ends_the_start(tmp_path, options, config, said):
    with Secured(tmp_path, OURS, *options, config=config) as gunicorn:
        assert gunicorn.ended() == 3
        assert said in "".join(gunicorn.lines)


OWN_CHAIN = """
def ssl_context(conf, default_ssl_context_factory):
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(conf.certfile, conf.keyfile, "sesame")
    return context
"""


@pytest.mark.parametrize("way", ["variable", "hook"])
def test_an_encrypted_key_needs_the_variable_or_a_hook(tmp_path, way):
    certfile, keyfile = certificates.leaf("localhost").encrypted().write(tmp_path)
    given = {"GREENHTTP_KEYFILE_PASSWORD": "sesame"} if way == "variable" else {"config": OWN_CHAIN}
    with Secured(tmp_path, OURS, "--certfile", certfile, "--keyfile", keyfile, **given) as gunicorn:
        told = gunicorn.environ()[0]
        assert told["wsgi.url_scheme"] == "https" and told["password"] == "hidden"


def test_a_hook_that_asks_for_the_usual_context_of_an_encrypted_key_is_told_why_there_is_none(tmp_path):
    certfile, keyfile = certificates.leaf("localhost").encrypted().write(tmp_path)
    with Secured(tmp_path, OURS, "--certfile", certfile, "--keyfile", keyfile, config=HOOK) as gunicorn:
        assert gunicorn.ended() == 3
        assert f"{keyfile}: the key is encrypted, and there is no password for it" in "".join(gunicorn.lines)


@pytest.mark.parametrize(("options", "said"), [
    (["--certfile", "conf.py"], r"certfile: \S*conf\.py: it is "),
    (["--keyfile", "conf.py"], "keyfile: there is no certificate; give certfile too"),
])  # fmt: skip
def test_files_that_cannot_be_used_end_the_start_in_one_line(tmp_path, options, said):
    with Secured(tmp_path, OURS, *options) as gunicorn:
        assert gunicorn.ended() == 3
        assert re.search(said, "".join(gunicorn.lines))
        assert "Traceback" not in "".join(gunicorn.lines)


def test_a_reload_takes_the_new_certificate(tmp_path, options):
    with Secured(tmp_path, OURS, *options) as gunicorn:
        gunicorn.environ()
        fresh = certificates.authority().leaf("localhost", "fresh.example")
        fresh.write(tmp_path)
        gunicorn.send_signal(signal.SIGHUP)
        gunicorn.said("Booting worker", 2)
        context = ssl.create_default_context(cadata=certificates.authority().authorities().decode())

        def shown() -> bytes:
            with (
                socket.create_connection(("127.0.0.1", gunicorn.port), 30) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as sock,
            ):
                return sock.getpeercert(True)

        wanted = ssl.PEM_cert_to_DER_cert(fresh.chain.decode())
        while shown() != wanted:  # the old worker may still take one
            pass


def test_changed_files_are_seen_without_a_reload(tmp_path, options):
    """gunicorn's own workers read them for each connection."""
    look = "import greenhttp.doors.worker\ngreenhttp.doors.worker.EVERY = 0\n"
    with Secured(tmp_path, OURS, *options, config=look) as gunicorn:
        gunicorn.environ()
        certificates.authority().leaf("localhost", "fresh.example").write(tmp_path)
        gunicorn.said("new certificates: localhost and 1 more")
        gunicorn.environ()
