"""TLS with the clients that people use: curl, OpenSSL's s_client, Python's, Go's."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3

from tests.system.process import needs
from tests.tls.process import DEFAULT, EXACT, Files, Served, serving

TIMEOUT = 60  # seconds; only a hang takes as long
TOLD = {"scheme": "https", "content": 0}
ASK = "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
NAMES = {  # by the name that a client asks for: the certificate it is shown
    DEFAULT: DEFAULT,
    EXACT: EXACT,
    "www.shop.example": "*.shop.example",
    "a.b.shop.example": DEFAULT,  # a wildcard is one label
    "other.example": DEFAULT,
    "": DEFAULT,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def served(files: Files) -> Iterator[Served]:
    yield from serving(files)


@pytest.fixture(scope="module")
def required(files: Files) -> Iterator[Served]:
    """Clients must show a certificate."""
    yield from serving(files, "--cert-reqs", "required", "--ca-certs", files.authority)


@pytest.fixture(scope="module")
def optional(files: Files) -> Iterator[Served]:
    yield from serving(files, "--cert-reqs", "optional", "--ca-certs", files.authority)


# ---- curl


def curl(files: Files, served: Served, path: str = "/", *options: str, name: str = DEFAULT) -> tuple[int, str, str]:
    """Exit status, content, and what -v says."""
    done = subprocess.run(
        ["curl", "-sSv", "--noproxy", "*", "--cacert", files.authority, "--resolve", f"{name}:{served.port}:127.0.0.1",
         "--max-time", str(TIMEOUT), *options, f"https://{name}:{served.port}{path}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@needs("curl")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl(files: Files, served: Served, version: str) -> None:
    status, content, said = curl(files, served, "/", f"--tlsv{version}", "--tls-max", version)
    assert (status, json.loads(content)) == (0, TOLD), said
    assert f"TLSv{version}" in said
    assert "server accepted http/1.1" in said  # it offers h2 first


@needs("curl")
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_curl_gets_nothing_older(files: Files, served: Served, version: str) -> None:
    older = ("--tls-max", version, f"--tlsv{version}", "--ciphers", "DEFAULT@SECLEVEL=0")
    assert curl(files, served, "/", *older)[0] == 35


@needs("curl")
def test_curl_sends_and_takes_much_on_one_connection(files: Files, served: Served, tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    (tmp_path / "sent").write_bytes(content)
    base = f"https://127.0.0.1:{served.port}"
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--cacert", files.authority, "-w", "%{num_connects} ",
         "-T", tmp_path / "sent", "-X", "POST", "-o", tmp_path / "got", f"{base}/echo",
         "--next", "-sS", "--noproxy", "*", "--cacert", files.authority, "-w", "%{num_connects} ",
         "-o", tmp_path / "large", f"{base}/large"],
        capture_output=True, text=True, timeout=TIMEOUT, check=True,
    )  # fmt: skip
    assert done.stdout == "1 0 "
    assert (tmp_path / "got").read_bytes() == content
    assert (tmp_path / "large").read_bytes() == b"x" * (1 << 20)


@needs("curl")
def test_curl_with_http_on_the_tls_port_is_told(files: Files, served: Served) -> None:
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "-w", "%{http_code}", f"http://127.0.0.1:{served.port}/"],
        capture_output=True, text=True, timeout=TIMEOUT, check=True,
    )  # fmt: skip
    assert done.stdout.endswith("400") and "https://" in done.stdout


@needs("curl")
def test_curl_shows_its_certificate(files: Files, required: Served, optional: Served) -> None:
    mine = ("--cert", files.client[0], "--key", files.client[1])
    strangers = ("--cert", files.stranger[0], "--key", files.stranger[1])
    for version in ("1.2", "1.3"):
        only = (f"--tlsv{version}", "--tls-max", version)
        assert curl(files, required, "/", *only, *mine)[0] == 0
        assert curl(files, required, "/", *only, *strangers)[0] in (35, 55, 56)
        assert curl(files, required, "/", *only)[0] in (35, 55, 56)
        assert curl(files, optional, "/", *only, *mine)[0] == 0
        assert curl(files, optional, "/", *only)[0] == 0
        assert curl(files, optional, "/", *only, *strangers)[0] in (35, 55, 56)


# ---- openssl s_client


class SClient:
    """`openssl s_client` as a terminal has it: a line that is R, k or K is a command, anything else is sent."""

    def __init__(self, files: Files, served: Served, *options: str, name: str = DEFAULT) -> None:
        naming = ["-servername", name] if name else ["-noservername"]
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{served.port}", "-CAfile", files.authority, *naming,
             *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.said = ""

    def until(self, word: str) -> SClient:
        """Read on until it has said that."""
        at = len(self.said)
        while word not in self.said[at:]:
            piece = os.read(self.process.stdout.fileno(), 65536).decode("utf-8", "replace")
            assert piece, f"no {word!r} in {self.said}"
            self.said += piece
        return self

    def say(self, text: str) -> SClient:
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()
        return self

    def rest(self) -> str:
        """All it has said up to its end."""
        self.said += self.process.communicate(timeout=TIMEOUT)[0].decode("utf-8", "replace")
        return self.said

    def __enter__(self) -> SClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.communicate()


KEPT = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
S_CLIENT = {"1.2": "-tls1_2", "1.3": "-tls1_3"}
ANSWERED = '"content": 0}'
both = pytest.mark.parametrize("version", S_CLIENT)


@needs("openssl")
@both
@pytest.mark.parametrize(("name", "shown"), NAMES.items())
def test_s_client_is_shown_the_certificate_for_its_name(
    files: Files, served: Served, version: str, name: str, shown: str
) -> None:
    with SClient(files, served, S_CLIENT[version], "-ign_eof", name=name) as client:
        said = client.say(ASK).rest()
    assert ANSWERED in said and "Verify return code: 0 (ok)" in said
    pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", said, re.DOTALL)[0]
    expected = next(Path(cert) for cert, _ in files.pairs if names(Path(cert).read_text()) == shown)
    assert pem in expected.read_text()


def names(pem: str) -> str:
    """The first name that a certificate is for."""
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=pem, capture_output=True, text=True, check=True
    ).stdout
    return re.search(r"DNS:([^\s,]+)", text)[1]


@needs("openssl")
@both
def test_s_client_resumes_by_a_ticket(files: Files, served: Served, version: str, tmp_path: Path) -> None:
    ticket = str(tmp_path / "ticket")
    with SClient(files, served, S_CLIENT[version], "-ign_eof", "-sess_out", ticket) as client:
        said = client.say(ASK).rest()
    assert ANSWERED in said and "New, TLSv1." in said
    for _ in range(2):
        with SClient(files, served, S_CLIENT[version], "-ign_eof", "-sess_in", ticket) as client:
            said = client.say(ASK).rest()
        assert ANSWERED in said and "Reused, TLSv1." in said


@needs("openssl")
def test_s_client_may_send_no_early_data(files: Files, served: Served, tmp_path: Path) -> None:
    ticket, early = str(tmp_path / "ticket"), tmp_path / "early"
    early.write_text(KEPT)
    with SClient(files, served, "-tls1_3", "-ign_eof", "-sess_out", ticket) as client:
        assert "Max Early Data: 0" in client.say(ASK).rest()
    with SClient(files, served, "-tls1_3", "-ign_eof", "-sess_in", ticket, "-early_data", str(early)) as client:
        said = client.say(ASK).rest()
    assert said.count(ANSWERED) == 1  # the early one is not


@needs("openssl")
@pytest.mark.parametrize("command", ["k", "K"])
def test_s_client_updates_its_keys(files: Files, served: Served, command: str) -> None:
    """K asks the server to do the same."""
    with SClient(files, served, "-tls1_3") as client:
        client.until("Verify return code: 0").say(KEPT).until(ANSWERED)
        for _ in range(3):
            client.say(f"{command}\n").until("KEYUPDATE").say(KEPT).until(ANSWERED)


@needs("openssl")
def test_s_client_may_not_renegotiate(files: Files, served: Served) -> None:
    with SClient(files, served, "-tls1_2") as client:
        client.until("Verify return code: 0").say(KEPT).until(ANSWERED).say("R\n").until("RENEGOTIATING")
        assert re.search("no.renegotiation", client.rest())
    assert requests.get(served.url, verify=files.authority, timeout=TIMEOUT).json() == TOLD


@needs("openssl")
@both
def test_s_client_shows_its_certificate(files: Files, required: Served, optional: Served, version: str) -> None:
    mine = ("-cert", files.client[0], "-key", files.client[1])
    strangers = ("-cert", files.stranger[0], "-key", files.stranger[1])
    for server, options, answered in (
        (required, mine, True), (required, (), False), (required, strangers, False),
        (optional, mine, True), (optional, (), True), (optional, strangers, False),
    ):  # fmt: skip
        with SClient(files, server, S_CLIENT[version], "-ign_eof", *options) as client:
            try:
                client.say(ASK)
            except BrokenPipeError:  # it has given up already
                assert not answered
            assert (ANSWERED in client.rest()) is answered, client.said


# ---- Python


def context(files: Files, **attributes: Any) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=files.authority)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_http_client(files: Files, served: Served, version: ssl.TLSVersion) -> None:
    only = context(files, minimum_version=version, maximum_version=version)
    connection = http.client.HTTPSConnection("127.0.0.1", served.port, timeout=TIMEOUT, context=only)
    for _ in range(3):  # on one connection
        connection.request("POST", "/", b"x" * 100_000)
        assert json.load(connection.getresponse()) == {"scheme": "https", "content": 100_000}
    connection.close()


def test_requests(files: Files, served: Served, required: Served) -> None:
    with requests.Session() as session:
        session.trust_env, session.verify = False, files.authority
        for _ in range(3):
            assert session.get(served.url, timeout=TIMEOUT).json() == TOLD
        assert session.get(required.url, cert=files.client, timeout=TIMEOUT).json() == TOLD
        with pytest.raises(requests.ConnectionError):
            session.get(required.url, timeout=TIMEOUT)
        with pytest.raises(requests.exceptions.SSLError):
            session.get(served.url, verify=True, timeout=TIMEOUT)  # of an authority nobody else knows


def test_urllib3(files: Files, served: Served) -> None:
    with urllib3.PoolManager(ca_certs=files.authority, retries=False, timeout=TIMEOUT) as pool:
        for _ in range(3):
            assert pool.request("GET", served.url).json() == TOLD
        answer = pool.request("GET", f"{served.url}/large", preload_content=False)
        assert sum(map(len, answer.stream(1000))) == 1 << 20
        assert pool.connection_from_url(served.url).num_connections == 1


def test_python_resumes_by_a_ticket(files: Files, served: Served) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        made, session = context(files, minimum_version=version, maximum_version=version), None
        for again in (False, True, True):
            connection = http.client.HTTPSConnection("127.0.0.1", served.port, timeout=TIMEOUT, context=made)
            connection.sock = made.wrap_socket(
                connection._create_connection(("127.0.0.1", served.port)), server_hostname="127.0.0.1", session=session
            )
            assert connection.sock.session_reused is again
            connection.request("GET", "/")
            assert json.load(connection.getresponse()) == TOLD
            session = connection.sock.session
            connection.close()


# ---- Go


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    if not shutil.which("go"):
        return lambda *arguments: []
    target = tmp_path_factory.mktemp("go") / "get"
    environ = {**os.environ, "GO111MODULE": "off", "GOFLAGS": ""}  # one file, whatever is set outside
    source = Path(__file__).parent / "clients" / "get.go"
    subprocess.run(["go", "build", "-o", target, source], env=environ, check=True, timeout=600)

    def get(*arguments: str) -> list[str]:
        return subprocess.run(
            [target, *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=True
        ).stdout.splitlines()

    return get


@needs("go")
def test_go(files: Files, served: Served, required: Served, go: Callable[..., list[str]]) -> None:
    first, *more = go(f"{served.url}/large", files.authority, DEFAULT, "3")
    assert first == "304 false HTTP/1.1 200 1048576"  # 304: TLS 1.3
    assert more == ["304 true HTTP/1.1 200 1048576"] * 2
    assert go(f"{served.url}/", files.authority, EXACT, "1")[0].startswith("304 false HTTP/1.1 200 ")
    assert "certificate is valid for" in go(f"{served.url}/", files.authority, "other.example", "1")[0]
    assert go(f"{required.url}/", files.authority, DEFAULT, "1", *files.client)[0].startswith("304 false HTTP/1.1 200 ")
    assert "certificate required" in go(f"{required.url}/", files.authority, DEFAULT, "1")[0]
